"""A fleet whose journey keeps order: few customers with many events each, and who of them was overtaken."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.core import runstate
from pipeline.core.runstate import STATE_HEADER, RunState
from tests.support.conditions import eventually
from tests.support.fleet import READY_S, SLACK_S, Fleet
from tests.support.repeats import Accepted
from tests.support.system import event, step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.testing.receiver import Receiver, Seen
    from tests.support.repeats import Attribution
    from tests.support.system import System

JOURNEY = "welcome"
CUSTOMERS = 20
IN_A_ROW = 2
"""Events a customer has one right after the other, so that the second has to wait."""


@dataclass(frozen=True)
class Attempted:
    """A request as it came: whose, of that customer's which event, and when it was answered 2xx, if it was."""

    customer: str
    number: int
    came_s: float
    accepted_s: float = float("inf")


def overtaken(attempts: Iterable[Attempted]) -> list[Attempted]:
    """Return those that came, in this order, before their turn.

    An event has its turn once the one before it of its customer was accepted. After it has come, none of those before
    it comes again.
    """
    latest: dict[str, int] = {}
    turn_s: dict[str, float] = {}
    found = []
    for each in attempts:
        last = latest.get(each.customer, -1)
        if each.number == last:
            turn_s[each.customer] = min(turn_s[each.customer], each.accepted_s)
        elif each.number == last + 1 and turn_s.get(each.customer, 0.0) <= each.came_s:
            latest[each.customer], turn_s[each.customer] = each.number, each.accepted_s
        else:
            found.append(each)
    return found


class OrderedFleet(Fleet):
    """Speaks of the partitions of the journey's log, where an event is until its run is over."""

    role = "ordered"

    def __init__(self, system: System, receiver: Receiver) -> None:
        super().__init__(system, receiver)
        payload = {"customer_id": "${event.customer.id}", "n": "${event.properties.n}"}
        system.journey(JOURNEY, step("crm", "crm.upsert", payload=payload), ordering="key")

    @property
    def reads(self) -> tuple[str, str]:
        """The group and the topic of the log."""
        return f"{self.system.group}.ordered", f"{self.system.group}.ordered.{JOURNEY}"

    def _event(self, number: int) -> dict[str, Any]:
        """Of the customers in turn, each numbered within its customer."""
        turn, within = divmod(number, IN_A_ROW)
        again, customer = divmod(turn, CUSTOMERS)
        return event(customer, properties={"plan": "pro", "n": again * IN_A_ROW + within})

    def entries(self) -> dict[str, tuple[int, int]]:
        """The position of each event ID in the log: of the first, if a crash put it there twice."""
        found: dict[str, tuple[int, int]] = {}
        for record in self.system.broker.records(self.reads[1]):
            state = runstate.decode(dict(record.headers).get(STATE_HEADER)) if record.value is not None else None
            if isinstance(state, RunState):
                found.setdefault(state.event_id, (record.partition, record.offset))
        return found

    def accepted(self) -> list[Accepted]:
        """Every request that was answered 2xx, by the event's position in the log."""
        return self._accepted(tuple(self.receiver.seen))

    def _accepted(self, requests: Iterable[Seen]) -> list[Accepted]:
        entries = self.entries()  # after the requests: what was sent lies in the log
        return [
            Accepted(seen.delivery_id, self._sender(seen), seen.at_s, *entries[seen.headers["hookline-event-id"]])
            for seen in requests if 200 <= seen.status < 300
        ]  # fmt: skip

    async def recovered(self) -> None:
        """Wait until what is accepted by now is committed in the log."""
        until: dict[int, int] = {}
        for each in await asyncio.to_thread(self._accepted, tuple(self.receiver.seen)):
            until[each.partition] = max(until.get(each.partition, 0), each.offset + 1)

        def committed() -> bool:
            found = self.committed()
            return all(found.get(partition, 0) >= offset for partition, offset in until.items())

        await eventually(lambda: asyncio.to_thread(committed), 2 * READY_S, "commits go on")

    def overtaken(self) -> list[Attempted]:
        """Return the requests that came before their turn."""
        whole = [(json.loads(seen.body), seen) for seen in self.receiver.seen]
        return overtaken(
            Attempted(body["customer_id"], body["n"], seen.came_s, seen.at_s)
            if 200 <= seen.status < 300
            else Attempted(body["customer_id"], body["n"], seen.came_s)
            for body, seen in whole
        )

    def judge_turns(self, found: Attribution) -> None:
        """Hold the repeats to what order promises: of each customer the one event that was under way, once a fault.

        The log says that an event is over before the customer's next one starts, and that waits for no commit.
        """
        whose = {seen.delivery_id: json.loads(seen.body)["customer_id"] for seen in self.receiver.seen}
        for blame in found.blames:
            times = Counter(whose[each.delivery_id] for each in blame.firsts)
            assert max(times.values(), default=0) <= 1, f"{blame.fault}: {times}"
            assert blame.oldest_s <= SLACK_S, found.table()
