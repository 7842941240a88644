"""cli/backlog: what of a log is not over, in its newest state."""

from __future__ import annotations

from pipeline.cli.backlog import unfinished
from pipeline.core import runstate
from tests.support.logs import Log, state


async def test_entries_that_are_not_over_are_found_in_their_newest_state() -> None:
    log = Log()
    for number, customer in enumerate("abcd"):
        log.event(customer, number)
    log.event("a", 0)  # a copy
    log.note(0, state(0, hop=3))
    log.note(0, state(0, hop=2))  # of a worker that had lost the partition
    log.note(1)
    log.note(99)  # about what was committed before
    log.note(2, bytes((runstate.STATE_VERSION + 1,)) + state(2, hop=2)[1:])  # of a later release: it is not over
    log.note(3, state(3, hop=2))
    log.note(3, b"\x02damaged")
    found = unfinished(log.records)
    assert [(each.source[2], each.hop) for _, each in found] == [(0, 3), (2, 1), (3, 2)]
    assert [record.offset for record, _ in found] == [5, 2, 10]
