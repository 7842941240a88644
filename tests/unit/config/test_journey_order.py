"""What `ordering` may say, and what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config import topics

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

FILE = "journeys/welcome.yaml"
SECOND = """\
  - step: second
    call: crm.note
    kind: {kind}
    payload: {{}}
    ordering: {ordering}
"""


@pytest.mark.parametrize("at", ["    ordering: key\n", "ordering: key\n"])
def test_a_journey_keeps_order_if_it_or_a_step_says_so(folder: Folder, at: str) -> None:
    journey = folder.add(FILE, at).load()
    assert journey.journeys["welcome"].ordered
    assert topics.logs(journey) == {"welcome": f"{journey.group}.ordered.welcome"}
    assert f"{journey.group}.ordered.welcome" in topics.own(journey)


def test_by_default_and_as_a_draft_it_has_no_log(folder: Folder) -> None:
    assert topics.logs(folder.load()) == {}
    folder.change(FILE, "status: live", "status: draft")
    assert topics.logs(folder.add(FILE, "ordering: key\n").load()) == {}


def test_a_journey_that_was_renamed_keeps_its_log(folder: Folder) -> None:
    config = folder.add(FILE, "ordering: key\nformerly: [hello]\n").load()
    assert topics.logs(config) == {"welcome": f"{config.group}.ordered.hello"}


def test_logs_of_journeys_that_are_gone_are_found(folder: Folder) -> None:
    config = folder.add(FILE, "ordering: key\n").load()
    group = config.group
    known = [f"{group}.ordered.{name}" for name in ("welcome", "gone", "b.other")] + [f"{group}.orderedness", "x"]
    assert topics.removed_logs(config, known) == (f"{group}.ordered.gone",)


def test_a_step_that_says_otherwise_is_refused(folder: Folder) -> None:
    folder.add(FILE, SECOND.format(kind="update", ordering="none")).add(FILE, "ordering: key\n")
    assert "keeps order, but step second says `ordering: none`: a run has its turn as a whole" in folder.problem()


def test_a_record_waits_for_nobody_and_nobody_for_it(folder: Folder) -> None:
    folder.add(FILE, SECOND.format(kind="record", ordering="none")).add(FILE, "ordering: key\n").load()
    folder.change(FILE, "ordering: none", "ordering: key")
    assert "has `ordering: key`, but nothing waits for a record" in folder.problem()
