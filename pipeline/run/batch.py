"""Batches: deliveries of operations that take many at once, gathered in front of their lane.

To the lane a batch is one delivery: queue, rate, breaker, window, parking and drains are the lane's as ever. What the
lane says of a batch is said here of each of its deliveries. A batch holds deliveries of one partition only, so that
whatever is decided about a partition (drained, lost, aborted) is decided about whole batches.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.core import batch, verdict
from pipeline.core.payload import batch_id
from pipeline.model import (
    Answer,
    Attempt,
    BatchPolicy,
    Delivery,
    Failure,
    FailureClass,
    Gate,
    Hold,
    Outcome,
    SkipReason,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.core.offsets import Tracker
    from pipeline.ports import Clock, Dice, Settler

HISTORY_MAX: Final = 32
"""Attempts kept per delivery and hop; as in run/seat."""


@dataclass(slots=True, eq=False)
class Batch(Delivery):
    """Deliveries that share a request. Its `run` is its first member's. Owner: the lane until it is settled."""

    members: list[Delivery] = field(default_factory=list)


class Onward(Protocol):
    """What batches are handed to: their lane."""

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery over. Never waits."""


def why_held(held: Callable[[Step], str], delivery: Delivery) -> str:
    """Return why a delivery is held back by hand, or "": a batch is if one of its deliveries is."""
    if type(delivery) is not Batch:
        return held(delivery.step)
    return next(filter(None, (held(each.step) for each in delivery.members)), "")


def halves(delivery: Delivery) -> bool:
    """Whether what was just rejected is a batch that is asked again in halves: nobody's rejection so far."""
    return type(delivery) is Batch and batch.splits(Answer(delivery.status), len(delivery.members))


class _Group:
    """What is gathered of one operation in one partition. `limit` is what its most-tried member may go with."""

    __slots__ = ("bytes", "limit", "members", "timer")

    def __init__(self, limit: int) -> None:
        self.members: list[Delivery] = []
        self.bytes = 0
        self.limit = limit
        self.timer: asyncio.TimerHandle | None = None


class Batching:
    """In front of one lane: gathers what it is offered, and settles members when the lane settles their batch.

    Implements ports.Settler towards the lane. All calls on the loop; none blocks.
    """

    def __init__(
        self,
        settler: Settler,
        clock: Clock,
        dice: Dice,
        again: Callable[[Delivery, int], Gate],
    ) -> None:
        """`again` asks the gates about a delivery at a time (Unix ns): when its batch closes."""
        self._settler = settler
        self._clock = clock
        self._dice = dice
        self._gates = again
        self._loop = asyncio.get_running_loop()
        self._lane: Onward | None = None
        self._groups: dict[tuple[BatchPolicy, Tracker], _Group] = {}
        self._waiting: dict[Delivery, asyncio.TimerHandle] = {}  # not due yet
        self._draining = False

    def attach(self, lane: Onward) -> None:
        """Stand in front of this lane: once, before anything is offered."""
        self._lane = lane

    # ----------------------------------------------------------------------------------------- gathering

    def offer(self, delivery: Delivery, policy: BatchPolicy) -> None:
        """Take a delivery over until its batch closes. Never waits."""
        now_ms = self._clock() // 1_000_000
        if self._draining:
            self._settler.later(delivery, max(delivery.due_ms, now_ms), delivery.last_cls, parked=False)
        elif delivery.due_ms > now_ms:
            wait_s = (delivery.due_ms - now_ms) / 1_000
            self._waiting[delivery] = self._loop.call_later(wait_s, self._due, delivery, policy)
        else:
            self._gather(delivery, policy)

    def _due(self, delivery: Delivery, policy: BatchPolicy) -> None:
        del self._waiting[delivery]
        delivery.due_ms = 0
        self._gather(delivery, policy)

    def _gather(self, delivery: Delivery, policy: BatchPolicy) -> None:
        key = policy, delivery.run.flight.tracker
        limit = batch.company(delivery.attempts, policy.events_max)
        group = self._groups.get(key)
        size = len(delivery.body) + 1  # and the comma or newline after it
        while group is not None and (group.bytes + size > policy.bytes_max or len(group.members) >= limit):
            self._close(key)
            group = self._groups.get(key)  # what ended as it closed may have let a later step begin another
        if group is None:
            group = self._groups[key] = _Group(limit)
            group.timer = self._loop.call_later(policy.wait_ms / 1_000, self._close, key)
        group.members.append(delivery)
        group.bytes += size
        group.limit = min(group.limit, limit)
        if len(group.members) >= group.limit:
            self._close(key)

    def _close(self, key: tuple[BatchPolicy, Tracker]) -> None:
        """Ask the gates again, then hand what may still go to the lane as one delivery."""
        group = self._groups.pop(key)
        if group.timer is not None:
            group.timer.cancel()
        now_ns = self._clock()
        members: list[Delivery] = []
        for each in group.members:
            gate = self._gates(each, now_ns)
            if now_ns // 1_000_000 >= each.expires_ms:
                self._settler.finish(each, Outcome.DEAD, FailureClass.EXPIRED, "waited_for_a_batch")
            elif gate is None:
                members.append(each)
            else:
                self._refuse(each, gate)
        if members:
            self._send(members, key[0])

    def _refuse(self, each: Delivery, gate: SkipReason | Hold) -> None:
        if isinstance(gate, Hold):
            self._settler.later(each, gate.until_ms, gate.why, parked=False)
        else:
            self._settler.finish(each, Outcome.SKIPPED, gate, "")

    def passes(self, waited: Batch, now_ns: int) -> bool:
        """Ask the gates about each delivery of a batch that waited; if one may not go, the others are gathered anew."""
        gates = [self._gates(each, now_ns) for each in waited.members]
        waited.asked_ns = now_ns
        if not any(gates):
            return True
        if waited.attempts:
            self._tell(waited)
        policy = waited.members[0].step.batch
        assert policy is not None
        for each, gate in zip(waited.members, gates, strict=True):
            if gate is not None:
                self._refuse(each, gate)
            elif each.run.flight.tracker.leaving:  # nothing new is started for it
                self._settler.later(each, now_ns // 1_000_000, each.last_cls, parked=False)
            else:
                self.offer(each, policy)
        return False

    def _send(self, members: list[Delivery], policy: BatchPolicy) -> None:
        # One whose trace is kept goes first: the request carries its trace, and the attempt is remembered.
        members.sort(key=lambda each: not each.run.flight.trace.sampled)
        first = members[0]
        body = batch.body([each.body for each in members], lines=policy.lines)
        made = Batch(
            batch_id([each.id for each in members]), policy.step, first.run, body,
            b"hookline-batch-size: %d\r\n" % len(members), max(each.expires_ms for each in members), members=members,
            asked_ns=min(each.asked_ns for each in members),
        )  # fmt: skip
        assert self._lane is not None
        self._lane.offer(made)

    # ---------------------------------------------------------------------------- what the lane says of it

    def finish(self, delivery: Delivery, outcome: Outcome, cls: str, detail: str) -> None:
        """See ports.Settler. What is no batch is passed on."""
        if type(delivery) is not Batch:
            self._settler.finish(delivery, outcome, cls, detail)
            return
        if outcome is Outcome.REJECTED and halves(delivery):
            self._halve(delivery)
            return
        self._tell(delivery)
        if outcome is Outcome.DELIVERED:
            self._delivered(delivery, cls, detail)
            return
        now_ms = self._clock() // 1_000_000
        for each in delivery.members:
            if outcome is Outcome.DEAD and delivery.attempts == 0 and now_ms < each.expires_ms:
                self._settler.later(each, now_ms, each.last_cls, parked=True)  # the batch was too old, not this one
            else:
                self._settler.finish(each, outcome, cls, detail)

    def later(self, delivery: Delivery, due_ms: int, cls: str, *, parked: bool) -> None:
        """See ports.Settler. Each delivery waits for itself: it comes back in smaller company."""
        if type(delivery) is not Batch:
            self._settler.later(delivery, due_ms, cls, parked=parked)
            return
        self._tell(delivery)
        now_ms = self._clock() // 1_000_000
        for each in delivery.members:
            if parked or delivery.attempts == 0:
                self._settler.later(each, due_ms, cls, parked=parked)
            else:
                self._again(each, due_ms, now_ms, cls)

    def _again(self, each: Delivery, due_ms: int, now_ms: int, cls: str) -> None:
        retry = each.step.retry
        due_ms = max(due_ms, now_ms + verdict.wait_ms(each.attempts, retry, 0, self._dice.random()))
        if each.attempts >= retry.max_attempts or due_ms >= each.expires_ms:
            self._settler.finish(each, Outcome.DEAD, cls, "in_a_batch")
        else:
            self._settler.later(each, due_ms, cls, parked=False)

    def _halve(self, refused: Batch) -> None:
        """Find the item at fault: the request was refused as a whole, so no delivery used an attempt."""
        policy = refused.members[0].step.batch
        assert policy is not None
        tracker = refused.run.flight.tracker
        if tracker.closed:
            return  # another worker's by now, who starts from the position
        if tracker.leaving:  # nothing new is started for it
            now_ms = self._clock() // 1_000_000
            for each in refused.members:
                self._settler.later(each, now_ms, each.last_cls, parked=False)
            return
        middle = len(refused.members) // 2
        members = iter(refused.members)
        for half in (list(islice(members, middle)), list(members)):
            self._send(half, policy)

    def _delivered(self, taken: Batch, cls: str, detail: str) -> None:
        policy = taken.members[0].step.batch
        assert policy is not None
        answer = (taken.response or {}).get("answer", Answer(taken.status))
        assert isinstance(answer, Answer)
        now_ms = self._clock() // 1_000_000
        results = batch.each(answer, [each.id for each in taken.members], policy.read)
        for each, result in zip(taken.members, results, strict=True):
            each.status = result.status if isinstance(result, Answer) else answer.status
            each.ambiguous = each.ambiguous or (isinstance(result, Failure) and result.sent)
            ruling = verdict.judge(result, each.attempts, each.step.retry, now_ms, each.expires_ms, self._dice.random())
            match ruling:
                case verdict.Delivered():
                    self._settler.finish(each, Outcome.DELIVERED, cls, detail)
                case verdict.Rejected():
                    self._settler.finish(each, Outcome.REJECTED, ruling.cls, f"item_{each.status}")
                case verdict.Dead():
                    self._settler.finish(each, Outcome.DEAD, ruling.cls, f"item_{each.status}")
                case verdict.RetryAt():
                    self._settler.later(each, ruling.due_ms, ruling.cls, parked=False)
                case verdict.Hold():
                    each.attempts -= 1
                    # The breaker is closed: without a time to wait for it would come back at once, without end.
                    due_ms = now_ms + each.step.retry.tiers_ms[0]
                    self._settler.later(each, due_ms, ruling.cls, parked=True)

    @staticmethod
    def _tell(ended: Batch) -> None:
        """Let each delivery know of the attempt it was part of."""
        for each in ended.members:
            each.attempts += ended.attempts
            each.status = ended.status
            each.last_cls = ended.last_cls or each.last_cls
            each.first_ns = each.first_ns or ended.first_ns
            each.last_ns = ended.last_ns or each.last_ns
            each.excerpt = ended.excerpt
            each.ambiguous = each.ambiguous or ended.ambiguous
            for attempt in ended.history or ():
                each.history = each.history or []
                if len(each.history) < HISTORY_MAX:
                    each.history.append(
                        Attempt(each.attempts, attempt.span_id, attempt.started_ns, attempt.ended_ns, attempt.status,
                                attempt.cls)
                    )  # fmt: skip

    # ------------------------------------------------------------------------------------------ draining

    def take_all(self, chosen: Callable[[Delivery], bool]) -> Iterable[Delivery]:
        """Take out all that waits here and that `chosen` picks: what was not handed to the lane yet."""
        taken = [each for each in self._waiting if chosen(each)]
        for each in taken:
            self._waiting.pop(each).cancel()
        for key, group in list(self._groups.items()):
            taken += [each for each in group.members if chosen(each)]
            group.members = [each for each in group.members if not chosen(each)]
            group.bytes = sum(len(each.body) + 1 for each in group.members)
            if not group.members:
                del self._groups[key]
                if group.timer is not None:
                    group.timer.cancel()
        return taken

    def release(self, chosen: Callable[[Delivery], bool]) -> None:
        """Hand over all that waits here and that `chosen` picks."""
        now_ms = self._clock() // 1_000_000
        for each in self.take_all(chosen):
            self._settler.later(each, each.due_ms or now_ms, each.last_cls, parked=False)

    def drain(self) -> None:
        """Gather nothing any more."""
        self._draining = True
        self.release(lambda _: True)
