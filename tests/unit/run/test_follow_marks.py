"""run/follow: a step that marks is delivered once what it wrote is durable."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.model import ConsentSaid, FailureClass, Kind, Refused, Suppress, Unsuppress
from pipeline.testing.fakes import FakeTables
from pipeline.testing.marks import FakeMarks
from tests.support.followed import after
from tests.unit.run.conftest import REF, step, until

SUPPRESS = Suppress("ticket:1", "category", "promotional", "ticket.closed", "h", 0)


def marks(name, mark, *parents):
    made = after(name, *parents, kind=Kind.MARK)
    return dataclasses.replace(made, mark=lambda *_: mark, destination="", operation="")


@pytest.fixture
def tables():
    return FakeTables()


@pytest.mark.parametrize("mark", [SUPPRESS, Unsuppress("ticket:1"), ConsentSaid("email", granted=False, at_ms=1)])
async def test_a_mark_is_delivered_once_it_is_durable(workers, tables, mark) -> None:
    port = FakeMarks(tables)
    port.holding = True
    worker = workers(step("a"), marks("note", mark, "a"), after("then", "note"), marks=port)
    worker.take()
    await until(lambda: port.written == [("c", mark)])
    assert "then" not in worker.sent
    assert worker.world.tracker.watermark() == 0
    port.ack()
    await worker.settled()
    assert worker.ended() == {"a": "delivered", "note": "delivered", "then": "delivered"}


async def test_a_mark_that_cannot_be_made_or_written_is_dead(workers, tables) -> None:
    worker = workers(
        marks("unmade", Refused(FailureClass.MISSING_FIELD, "mark.suppress.id")),
        marks("unwritten", dataclasses.replace(SUPPRESS, id="")), after("then", ("unwritten", "dead")),
        marks=FakeMarks(tables),
    )  # fmt: skip
    worker.take()
    await worker.settled()
    assert worker.ended() == {"unmade": "dead(missing_field)", "unwritten": "dead(invalid_identifier)",
                              "then": "delivered"}  # fmt: skip


async def test_without_tables_a_mark_is_dead(workers) -> None:
    worker = workers(marks("note", SUPPRESS))
    worker.take()
    await worker.settled()
    assert worker.ended() == {"note": "dead(config)"}


async def test_a_refused_write_leaves_the_position_open(workers, tables) -> None:
    port = FakeMarks(tables)
    port.holding = True
    worker = workers(marks("note", SUPPRESS), marks=port)
    worker.take()
    port._unacked.pop()("no", None)
    assert worker.world.producer.refusals == ["no"]
    assert (worker.world.settlement.unsettled(), worker.world.outcomes()) == (1, [])


async def test_a_shadow_journey_marks_nothing(workers, tables) -> None:
    port = FakeMarks(tables)
    worker = workers(marks("note", SUPPRESS), marks=port)
    plan = worker.process.reading.plans["in", REF]
    route = dataclasses.replace(plan.routes["signup"][0], status="shadow")
    worker.process.reading.plans["in", REF] = dataclasses.replace(plan, routes={"signup": (route,)})
    worker.take()
    await worker.settled()
    assert (worker.ended(), port.written) == ({"note": "skipped(shadow)"}, [])
