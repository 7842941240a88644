"""Stuck customers beyond one bound: who passes them, and who does not until they go on."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict

import pytest

from pipeline.run.holder import HELD_RECORDS
from tests.support.onstage import LOG, PARTITIONS, Fleet, number_of, on_stage, partition_of

NAMES = [f"c-{number}" for number in range(400)]
OTHERS = NAMES[100:]


def of_partition(number: int) -> str:
    return next(name for name in NAMES[:100] if partition_of(name) == number)


class Stuck:
    """A fleet of one worker, of which some customers get nowhere until it is mended."""

    def __init__(self, tmp_path, loop, events: dict[str, int]) -> None:
        """`events`: how many each stuck customer has, among those of the others."""
        self.fleet = Fleet(tmp_path, loop)
        self.mended = False
        self.whose: list[str] = []
        self.stuck = events
        left = dict(events)
        others = iter(OTHERS)
        while any(left.values()):
            for customer in [name for name in left if left[name]]:
                left[customer] -= 1
                self.publish(customer)
            if len(self.whose) % 7 == 0:
                self.publish(next(others, OTHERS[0]))
        for customer in OTHERS:
            self.publish(customer)
        self.fleet.status = lambda request: 503 if not self.mended and self.whose[number_of(request)] in events else 204
        self.worker = self.fleet.worker()

    def publish(self, customer: str) -> None:
        self.fleet.publish(len(self.whose), customer)
        self.whose.append(customer)

    def waits(self) -> set[str]:
        """Whose events are not all delivered."""
        left: dict[str, set[int]] = defaultdict(set)
        for number, customer in enumerate(self.whose):
            left[customer].add(number)
        for row in self.worker.outcomes():
            if row.step == "two" and row.outcome == "delivered":
                number = uuid.UUID(row.event_id).int
                left[self.whose[number]].discard(number)
        return {customer for customer, numbers in left.items() if numbers}

    async def mend(self) -> None:
        self.mended = True
        await self.worker.settled()
        assert self.waits() == set()
        came: dict[str, list[int]] = defaultdict(list)
        for request in self.worker.requests:
            if (number := number_of(request)) not in came[self.whose[number]]:
                came[self.whose[number]].append(number)
        assert all(numbers == sorted(numbers) for numbers in came.values())
        await self.worker.stop()
        assert self.worker.errors == []


@pytest.mark.timeout(120)
def test_stuck_customers_of_more_events_than_a_bound_hold_nobody_else_back_while_no_partition_has_so_many(
    tmp_path,
) -> None:
    async def main(loop) -> None:
        each = HELD_RECORDS * 6 // 10
        stuck = {of_partition(number): each for number in range(PARTITIONS)}
        assert sum(stuck.values()) > 2 * HELD_RECORDS
        one = Stuck(tmp_path, loop, stuck)
        await asyncio.sleep(60)
        assert one.waits() == stuck.keys()
        assert one.worker.turns.stuck() == {}
        assert one.worker.turns.held() == sum(stuck.values())
        await one.mend()

    on_stage(main)


@pytest.mark.timeout(120)
def test_a_partition_that_holds_its_bound_waits_alone_and_all_of_it_goes_on_once_its_customer_does(tmp_path) -> None:
    async def main(loop) -> None:
        one = Stuck(tmp_path, loop, {of_partition(2): HELD_RECORDS * 2})
        await asyncio.sleep(60)
        assert one.worker.turns.stuck().keys() == {(LOG, 2)}
        assert {partition_of(customer) for customer in one.waits()} == {2}, "others pass in all other partitions"
        assert len(one.waits()) > 1
        await one.mend()

    on_stage(main)
