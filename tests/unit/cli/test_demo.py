"""What the demo says of a moment, and that its books only balance when they do."""

import argparse
import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.cli import demo
from pipeline.cli.demo import closing, folder, summary, view, watch
from pipeline.cli.demo.watch import Lane, Moment
from pipeline.core.outcome import OutcomeRow
from pipeline.model import Outcome

SEEN = {"requests": 0, "statuses": {}, "resets": 0, "bad_signatures": 0, "without_id": 0, "ids": {}}


def row(delivery="d-1", outcome=Outcome.DELIVERED, *, event="e-1", attempts=1, hop=0, reason="", destination="crm"):
    return OutcomeRow(
        "j", "hash", "s", destination, "op", event, "cart.abandoned", delivery, "ref", "t", 0, 0, 0, 0, 1, "t",
        outcome, reason, 204, attempts, 0, 0, hop, 0, (),
    )  # fmt: skip


def lane(name="mail", *, waiting=0, breaker="closed", up=True, delivered=0):
    return Lane(name, 0, 0, delivered, waiting, 0, 0, 0, breaker, up)


def tally(*rows):
    made = watch.Tally()
    for each in rows:
        made.outcome(each)
    return made


# ------------------------------------------------------------------------------------------------------ the tally


def test_a_final_outcome_beats_retrying_whatever_comes_first():
    waits, done = row(outcome=Outcome.RETRYING), row(attempts=2, hop=1)
    for rows in ((waits, done), (done, waits)):
        assert tally(*rows).counts() == {"crm": Counter(delivered=1)}


def test_of_two_hand_overs_the_later_counts():
    first, second = row(outcome=Outcome.RETRYING, hop=0), row(outcome=Outcome.RETRYING, hop=1)
    for rows in ((first, second), (second, first)):
        assert tally(*rows).deliveries["d-1"].hop == 1


def test_a_report_tells_of_breakers_and_a_goodbye_of_nothing():
    made = watch.Tally()
    made.report(b'{"lanes": {"mail": {"state": "open"}}}')
    made.report(None)
    assert made.breakers == {"mail": "open"}


def test_the_event_shown_met_trouble_and_made_it():
    dull = row("d-1", event="e-1")
    retried = row("d-2", event="e-2", attempts=2)
    parked = row("d-3", event="e-3", attempts=2, hop=2)
    lost = row("d-4", Outcome.REJECTED, event="e-4", attempts=3, hop=2)
    long = row("d-5", event="e-5", attempts=9, hop=3)
    assert tally(dull).worth_showing() == ""
    assert tally(dull, retried).worth_showing() == "e-2"
    assert tally(dull, retried, parked, lost, long).worth_showing() == "e-3"


def test_requests_in_flight_are_those_not_answered():
    seen = {**SEEN, "requests": 9, "statuses": {"204": 5, "503": 1}, "resets": 1}
    made = watch.lane("crm", Counter(delivered=5, retrying=2), seen, "", up=True)
    assert (made.in_flight, made.delivered, made.waiting, made.breaker) == (2, 5, 2, "closed")


# ---------------------------------------------------------------------------------------------- what is happening


@pytest.mark.parametrize(
    ("sent", "lanes", "settled", "said"),
    [
        (1, (lane(up=False),), False, "mail is down; the worker has not met it often enough"),
        (1, (lane("crm"), lane(up=False, breaker="open", waiting=7)), False, "7 deliveries wait on retry topics"),
        (1, (lane(breaker="open"),), False, "mail is up again; its breaker is open until"),
        (1, (lane(breaker="half-open"),), False, "half-open: one request may try"),
        (1, (lane(waiting=3),), False, "all destinations are up; 3 deliveries wait"),
        (9, (lane(waiting=3),), False, "all events are sent; 3 deliveries wait"),
        (9, (lane(),), False, "the last ones are being settled"),
        (9, (lane(),), True, "everything is settled"),
    ],
)  # fmt: skip
def test_a_sentence_says_what_is_happening(sent, lanes, settled, said):
    assert said in watch.happening(Moment(1.0, sent, 9, lanes, settled))


def test_lines_come_when_due_or_when_something_else_happens():
    out = io.StringIO()
    with view.view(Console(file=out, width=200)) as shown:
        shown.show(Moment(0.0, 1, 9, (lane(waiting=1),)))
        shown.show(Moment(0.5, 2, 9, (lane(waiting=2),)))
        shown.show(Moment(1.0, 3, 9, (lane(breaker="open"),)))
        shown.show(Moment(3.5, 3, 9, (lane(breaker="open"),)))
    said = [line.split("  ", 1)[1] for line in out.getvalue().splitlines()]
    assert said == [
        "0.0 s  all destinations are up; 1 deliveries wait for their retry",
        "0.0 s  1 of 9 sent | mail 0 delivered, 1 waiting",
        "1.0 s  mail is up again; its breaker is open until its time is up",
        "1.0 s  3 of 9 sent | mail 0 delivered, breaker open", "3.5 s  3 of 9 sent | mail 0 delivered, breaker open",
    ]  # fmt: skip


def test_the_picture_has_a_row_a_destination():
    out = io.StringIO()
    with view.view(Console(file=out, force_terminal=True, width=120, color_system=None)) as shown:
        shown.show(Moment(3.0, 4, 9, (lane("crm", delivered=1_234), lane(up=False, breaker="open"))))
    assert "1,234" in out.getvalue()
    assert "open (it is down)" in out.getvalue()
    assert "4 of 9 sent" in out.getvalue()


# ------------------------------------------------------------------------------------------------------- the books


def evidence(**over):
    report = {
        "positions": 3, "events": 2, "ledger": {"undecodable": 1}, "balanced": True, "waiting": 0, "beyond": 0,
        "outside": 0, "missing_count": 0, "deliveries": {"delivered": 1, "rejected": 1},
        "reasons": {"rejected": {"client_error": 1}}, "trigger_p50_ms": 12, "trigger_p95_ms": 8_000,
    }  # fmt: skip
    seen = {"crm": {**SEEN, "requests": 3, "ids": {"d-1": [2, 1], "d-2": [1, 0]}}, "mail": SEEN}
    given = {
        "sent": 3, "report": report | over.pop("report", {}), "seen": seen, "worker_code": 0,
        "tally": tally(row("d-1", attempts=2), row("d-2", Outcome.REJECTED, reason="client_error")),
        "letters": Counter(undecodable=1, client_error=1),
    } | over  # fmt: skip
    return summary.Evidence(**given)


def test_books_that_balance():
    found = summary.checks(evidence())
    assert [check.text for check in found if not check.good] == []
    assert "1 repeated after a failure, under the same ID; 0 accepted more than once" in found[3].text


@pytest.mark.parametrize(
    ("over", "place"),
    [
        ({"sent": 4}, 0),
        ({"report": {"events": 1}}, 0),
        ({"report": {"balanced": False, "missing_count": 1}}, 1),
        ({"report": {"waiting": 1}}, 1),
        ({"seen": {"crm": {**SEEN, "requests": 2, "ids": {"d-1": [1, 0], "d-2": [1, 0]}}}}, 2),
        ({"seen": {"crm": {**SEEN, "requests": 1, "ids": {"d-1": [1, 1]}}}}, 3),
        ({"seen": {"crm": {**SEEN, "requests": 3, "ids": {"d-1": [1, 1], "d-2": [1, 0], "d-9": [1, 0]}}}}, 3),
        ({"letters": Counter(undecodable=1)}, 4),
        ({"seen": {"crm": {**SEEN, "requests": 2, "ids": {"d-1": [1, 1], "d-2": [1, 0]}, "bad_signatures": 1}}}, 5),
        ({"worker_code": 1}, 6),
    ],
)
def test_books_that_do_not(over, place):
    found = summary.checks(evidence(**over))
    assert [number for number, check in enumerate(found) if not check.good] == [place]


def test_a_worker_that_still_runs_has_no_exit_code_to_check():
    assert len(summary.checks(evidence(worker_code=None))) == 6


def test_the_account_says_so_when_it_does_not_balance():
    out = io.StringIO()
    assert closing.account(Console(file=out, width=200), evidence()) is True
    assert "rejected: client_error" in out.getvalue()
    assert closing.account(Console(file=out, width=200), evidence(sent=4)) is False
    assert "does not balance" in out.getvalue()


# --------------------------------------------------------------------------------------------- folder and arguments


def test_hookline_yaml_gets_the_group_and_its_topic():
    text = (Path(folder.__file__).parent / "configuration" / "hookline.yaml").read_text()
    named = folder.named(text, "demo-1a2b")
    assert "\ngroup: demo-1a2b\n" in named
    assert "  - topic: demo-1a2b.events\n" in named


def test_a_folder_is_left_alone_unless_it_is_spent(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for spent in (True, False):
        made = folder.Folder(spent=spent)
        made.write(
            Path(folder.__file__).parent / "configuration", "demo", "127.0.0.1:9", {"crm": "http://127.0.0.1:1"}, "crm"
        )
        assert (made.config / "journeys" / "welcome.yaml").exists()
        assert oct((made.config / "secrets" / "crm").stat().st_mode)[-3:] == "600"
        made.leave()
        assert made.path.exists() is not spent


def test_commands_are_said_as_one_would_type_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    assert closing.program(tmp_path / "bin" / "python") == "bin/python -m pipeline"
    (tmp_path / "bin" / "hookline").touch()
    assert closing.program(tmp_path / "bin" / "python") == "bin/hookline"
    assert closing.program(Path("/elsewhere/python")) == "/elsewhere/python -m pipeline"


@pytest.mark.parametrize("text", ["99", "20001", "many"])
def test_the_number_of_events_is_bounded(text, capsys):
    parser = argparse.ArgumentParser()
    demo.register(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["demo", "--events", text])
    assert "--events" in capsys.readouterr().err
