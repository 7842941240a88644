"""`hookline plan` compares folders and Git revisions, and asks for a review by its exit code."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess

import pytest

from pipeline.cli import main, plan
from pipeline.cli.backlog import WaitingStep
from pipeline.config.difference import Change, Difference, Kind
from pipeline.config.load import load

CDNOW = pathlib.Path("tests/data/config/cdnow")
NOTHING = Kind((), (), {})


@pytest.fixture
def old(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(CDNOW, tmp_path / "repository" / "config"))


@pytest.fixture
def new(old: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(old, tmp_path / "new"))


def change(file: pathlib.Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def send_the_address(folder: pathlib.Path) -> None:
    change(folder / "destinations/crm.yaml", "receives: [identifier]", "receives: [identifier, contact]")
    change(
        folder / "journeys/purchase_thanks.yaml", "quantity: ${", "mail: ${event.customer.email}\n      quantity: ${"
    )


def test_nothing(old: pathlib.Path, new: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(old), str(new)]) == 0
    assert capsys.readouterr().out == "nothing differs\n"


def test_a_change_in_words(old: pathlib.Path, new: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    send_the_address(new)
    change(new / "destinations/crm.yaml", "timeout: 5s", "timeout: 7s")
    assert main(["plan", str(old), str(new)]) == 1
    out = capsys.readouterr().out
    assert "~ destinations/crm: timeout: 5s → 7s\n" in out
    assert '~ destinations/crm: receives: ["identifier"] → ["identifier","contact"]\n' in out
    [row] = [
        line for line in out.splitlines() if "event.customer.email" in line and "contact" in line and "~" not in line
    ]
    assert row.split() == [
        "crm.record_purchase", "mail", "event.customer.email", "contact", "purchase_thanks.crm",
        "personal", "data", "it", "did", "not", "get", "before",
    ]  # fmt: skip
    assert out.endswith("destinations affected: crm\n")


def test_topics_that_are_needed_and_copies_that_begin(
    old: pathlib.Path, new: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(new / "journeys/purchase_thanks.yaml", "trigger:\n", 'trigger:\n  once: {key: "${event.id}", per: 1d}\n')
    group = load(new, None).group
    assert main(["plan", str(old), str(new)]) == 0
    out = capsys.readouterr().out
    assert f"needs topics: {group}.memory; hookline topics create makes them\n" in out
    assert "copied" not in out
    change(new / "hookline.yaml", "    record: ", "    rekey: true\n    record: ")
    main(["plan", str(old), str(new)])
    out = capsys.readouterr().out.replace("\n", " ")
    assert (
        f"events are copied into {group}.events under their customers' IDs from now on, and journeys run there" in out
    )
    assert f"needs topics: {group}.memory, {group}.events; hookline topics create makes them" in out
    main(["plan", str(new), str(old), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (said["topics_needed"], said["copies"]) == ([], {"before": f"{group}.events", "after": ""})


def test_a_git_revision(old: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is in the folder now against what was committed; the folder is not the top of its repository."""

    def git(*args: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(old.parent), *name, *args], check=True, capture_output=True, timeout=60)

    git("init", "--initial-branch=main")
    git("add", ".")
    git("commit", "-m", "first")
    send_the_address(old)
    assert main(["plan", "main", str(old), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["review"] is True
    assert [(each["source"], each["destination"], each["flagged"]) for each in said["newly_sent"]] == [
        ("event.customer.email", "crm", True)
    ]
    assert said["in_flight"] is None
    git("add", ".")
    git("commit", "-m", "second")
    assert main(["plan", "main", str(old)]) == 0
    assert main(["plan", "main~1", str(old)]) == 1


@pytest.mark.parametrize("revision", ["no-such-branch", "../nowhere"])
def test_what_is_neither_a_folder_nor_a_revision(
    old: pathlib.Path, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", revision, str(old)]) == 2
    assert "is neither a folder nor a Git revision" in capsys.readouterr().err


def test_a_new_side_that_is_not_fit_is_refused_with_all_problems(
    old: pathlib.Path, new: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(new / "destinations/crm.yaml", "timeout: 5s", "timeout: 5")
    change(new / "journeys/purchase_thanks.yaml", "status: live", "status: on")
    assert main(["plan", str(old), str(new)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_an_old_side_with_problems_is_compared_as_far_as_it_goes(
    old: pathlib.Path, new: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(old / "destinations/crm.yaml", "timeout: 5s", "timeout: 5")
    assert main(["plan", str(old), str(new)]) == 0
    assert "~ destinations/crm: timeout: 5 → 5s" in capsys.readouterr().out


def waits(journey: str, topic: str, event: str) -> WaitingStep:
    return WaitingStep(topic, 0, 0, 0, event, f"{event}/{journey}", journey, "a", "crm.note", "timeout", 1, 1)


def test_runs_that_wait_are_counted_where_a_change_touches_them() -> None:
    changed = Kind((), ("gone",), {"other": (Change("goal", "a", "b"),)})
    found = Difference(changed, NOTHING, (), NOTHING, NOTHING, (), (), {}, ())
    waiting = [
        waits("gone", "g.retry.1m", "e1"), waits("gone", "g.retry.1m", "e1"), waits("gone", "g.retry.1h", "e2"),
        waits("other", "g.retry.1m", "e1"), waits("same", "g.retry.1m", "e1"),
    ]  # fmt: skip
    gone, other = (
        {"what": "removed", "why": ["journey gone removed"]},
        {"what": "changed", "why": ["journey other changed"]},
    )
    assert plan.touched(waiting, found, load(CDNOW, None)) == [
        {"journey": "gone", **gone, "tier": "g.retry.1h", "runs": 1, "deliveries": 1},
        {"journey": "gone", **gone, "tier": "g.retry.1m", "runs": 1, "deliveries": 2},
        {"journey": "other", **other, "tier": "g.retry.1m", "runs": 1, "deliveries": 1},
    ]
