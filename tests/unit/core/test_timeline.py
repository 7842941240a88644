"""The timeline of one event, out of outcome records and dead letters in any order."""

from itertools import permutations

from pipeline.core import timeline
from pipeline.core.outcome import AttemptRow, OutcomeRow
from pipeline.core.timeline import Letter
from pipeline.model import Outcome

T0 = 1_790_000_000_000
SOURCE = ("lifecycle.events", 3, 1234)


def row(outcome, **changed):
    fields = {
        "journey": "cart_recovery", "journey_hash": "h", "step": "push", "destination": "crm", "operation": "set_stage",
        "event_id": "e-1", "event_type": "cart.abandoned", "delivery_id": "d-1", "customer_ref": "r",
        "topic": SOURCE[0], "partition": SOURCE[1], "offset": SOURCE[2], "record_time_ms": T0,
        "event_time_ms": T0 - 100, "deliveries": 1, "trace_id": "t" * 32, "outcome": outcome, "reason": "",
        "status": 200, "attempts": 1, "first_attempt_at_ms": T0 + 10, "settled_at_ms": T0 + 30, "hop": 0, "due_ms": 0,
        "history": (),
    }  # fmt: skip
    return OutcomeRow(**{**fields, **changed})


def kept(number, after_ms, status=503, cls="server_error"):
    return AttemptRow(number, (T0 + after_ms) * 1_000, 20_000, status, cls, f"{number:016x}")


def letter(position=("hookline.dead", 0, 7), after_ms=31, **says):
    fields = {"source-topic": SOURCE[0], "source-partition": str(SOURCE[1]), "source-offset": str(SOURCE[2]), **says}
    return Letter(position, T0 + after_ms, fields)


def whats(line):
    return [(moment.what, moment.at_ms - T0) for moment in line.moments]


RETRIED = (
    row(Outcome.RETRYING, reason="server_error", status=503, attempts=2, settled_at_ms=T0 + 300, due_ms=T0 + 10_300,
        history=(kept(1, 10), kept(2, 260))),
    row(Outcome.RETRYING, reason="timeout", status=0, attempts=3, settled_at_ms=T0 + 20_400, hop=1, due_ms=T0 + 80_400,
        history=(kept(3, 10_400, 0, "timeout"),)),
    row(Outcome.DELIVERED, attempts=4, settled_at_ms=T0 + 80_450, hop=2, history=(kept(4, 80_420, 200, ""),)),
)  # fmt: skip


def test_attempts_hand_overs_and_the_end_come_in_order_whatever_the_order_of_the_records():
    for rows in permutations(RETRIED):
        (found,) = timeline.build(rows, ())
        (line,) = found.deliveries
        assert (line.outcome, line.attempts, line.repeats) == (Outcome.DELIVERED, 4, 0)
        assert whats(line) == [
            ("attempt", 10), ("attempt", 260), ("handed_over", 300), ("attempt", 10_400), ("handed_over", 20_400),
            ("attempt", 80_420), ("settled", 80_450),
        ]  # fmt: skip
        assert [m.hop for m in line.moments if m.what == "handed_over"] == [1, 2]
        assert line.moments[0].duration_ms == 20


def test_the_event_is_told_with_its_position_times_and_trace():
    (found,) = timeline.build([row(Outcome.DELIVERED, deliveries=3)], ())
    assert (found.event_id, found.event_type, found.trace_id) == ("e-1", "cart.abandoned", "t" * 32)
    assert (found.position, found.event_time_ms, found.arrived_ms) == (SOURCE, T0 - 100, T0)
    assert (found.expected, len(found.deliveries)) == (3, 1)


def test_the_last_attempt_that_was_not_kept_is_rebuilt_and_marked():
    (found,) = timeline.build([row(Outcome.DELIVERED)], ())
    first, settled = found.deliveries[0].moments
    assert (first.what, first.number, first.status, first.cls, first.kept) == ("attempt", 1, 200, "", False)
    assert (first.at_ms, first.duration_ms) == (T0 + 10, 20.0)
    assert settled.what == "settled"

    (found,) = timeline.build([row(Outcome.DELIVERED, attempts=2, history=(kept(1, 10),))], ())
    _, second, _ = found.deliveries[0].moments
    assert (second.number, second.kept, second.at_ms, second.duration_ms) == (2, False, T0 + 30, None)


def test_a_parked_hop_adds_no_attempt():
    rows = (
        row(Outcome.RETRYING, reason="timeout", history=(kept(1, 10, 0, "timeout"),)),
        row(Outcome.RETRYING, reason="auth", hop=1, settled_at_ms=T0 + 11_000),
    )
    (found,) = timeline.build(rows, ())
    assert [what for what, _ in whats(found.deliveries[0])] == ["attempt", "handed_over", "handed_over"]


def test_a_skip_has_no_attempt():
    skipped = row(Outcome.SKIPPED, reason="consent", attempts=0, status=0, first_attempt_at_ms=0)
    (found,) = timeline.build([skipped], ())
    (only,) = found.deliveries[0].moments
    assert (only.what, only.detail, only.cls) == ("settled", "skipped", "consent")


def test_delivered_beats_all_then_the_later_hop_and_in_one_hop_a_final_outcome_beats_retrying():
    rejected = row(Outcome.REJECTED, settled_at_ms=T0 + 90, hop=1)
    retrying = row(Outcome.RETRYING, settled_at_ms=T0 + 95, hop=1)
    replayed = row(Outcome.RETRYING, settled_at_ms=T0 + 95, hop=1, reason="replayed")
    delivered = row(Outcome.DELIVERED, settled_at_ms=T0 + 20)
    for rows in permutations((rejected, retrying)):
        assert timeline.build(rows, ())[0].deliveries[0].outcome is Outcome.REJECTED
    for rows in permutations((rejected, replayed)):
        assert timeline.build(rows, ())[0].deliveries[0].outcome is Outcome.RETRYING
    for rows in permutations((rejected, replayed, delivered)):
        assert timeline.build(rows, ())[0].deliveries[0].outcome is Outcome.DELIVERED


def test_repeats_after_a_crash_are_counted_apart():
    rows = (row(Outcome.DELIVERED), row(Outcome.DELIVERED, settled_at_ms=T0 + 900))
    (found,) = timeline.build(rows, ())
    assert found.deliveries[0].repeats == 1


def test_a_dead_letter_closes_its_delivery():
    dead = row(Outcome.DEAD, reason="expired", attempts=0)
    (found,) = timeline.build([dead], [letter(**{"delivery-id": "d-1", "class": "expired", "detail": "max_age"})])
    last = found.deliveries[0].moments[-1]
    assert (last.what, last.place, last.detail) == ("dead_letter", ("hookline.dead", 0, 7), "max_age")
    assert found.letters == ()


def test_a_record_that_was_no_event_is_a_timeline_of_its_letter():
    (found,) = timeline.build((), [letter(**{"class": "undecodable", "trace-id": "t" * 32})])
    assert (found.position, found.trace_id, found.event_id, found.deliveries) == (SOURCE, "t" * 32, "", ())
    assert len(found.letters) == 1


def test_an_event_that_arrived_twice_is_two_timelines_in_order():
    later = row(Outcome.DELIVERED, offset=99, record_time_ms=T0 + 5_000)
    found = timeline.build([later, row(Outcome.DELIVERED)], ())
    assert [each.position[2] for each in found] == [1234, 99]


def test_a_letter_that_tells_no_position_is_passed_over():
    assert (
        timeline.build((), [Letter(("hookline.dead", 0, 7), T0, {"source-topic": "a", "source-partition": "x"})]) == ()
    )
