"""What becomes of an attempt that ended: settled, waiting here, handed over, or parked; and what the lane learns."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.core import verdict
from pipeline.model import Answer, Delivery, Failure, FailureClass, Outcome
from pipeline.ports import LATENCY_BUCKETS_MS
from pipeline.run.seat import keep_response, remember

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ports import Clock, Dice, LaneStats, Settler
    from pipeline.run.backlog import Backlog
    from pipeline.run.health import Health
    from pipeline.run.pace import Pace

IN_PROCESS_MAX_MS: Final = 2_000
"""Waits up to this are spent in the lane; longer ones on a retry tier."""
_UNAVAILABLE: Final = 503


class Refilled(Protocol):
    """What is asked of the lane."""

    def fill(self) -> None:
        """Start what waits, as far as there are slots."""

    def rouse(self) -> None:
        """Look after what waits for its time."""

    def disable(self, delivery: Delivery) -> None:
        """Tell the fleet that the delivery's operation is gone."""


class Aftermath:
    """Performs verdicts for one lane. Calls the settler exactly once for each delivery it does not put back."""

    def __init__(
        self,
        lane: Refilled,
        backlog: Backlog,
        health: Health,
        pace: Pace,
        settler: Settler,
        stats: LaneStats,
        clock: Clock,
        dice: Dice,
        halves: Callable[[Delivery], bool],
    ) -> None:
        """`halves` says whether what was just rejected is asked again in halves."""
        self.draining = False
        self._lane = lane
        self._backlog = backlog
        self._health = health
        self._breaker = health.breaker
        self._pace = pace
        self._settler = settler
        self._stats = stats
        self._clock = clock
        self._dice = dice
        self._halves = halves

    def judge(self, delivery: Delivery, span_id: str, result: Answer | Failure) -> None:
        """Say what the attempt means and act on it: settle, wait here, hand over, park."""
        now_ns = self._clock()
        pace, backlog = self._pace, self._backlog
        pace.completed += 1
        latest_ms = pace.latest_ms = (now_ns - delivery.last_ns) / 1_000_000
        self._stats.attempt_ms[bisect_left(LATENCY_BUCKETS_MS, latest_ms)] += 1
        if backlog.retrying:
            backlog.retrying.discard(delivery)
        status = result.status if type(result) is Answer else 0
        delivery.status = status
        ruling = verdict.judge(
            result, delivery.attempts, delivery.step.retry, now_ns // 1_000_000, delivery.expires_ms,
            self._dice.random(),
        )  # fmt: skip
        if ruling is verdict.DELIVERED:
            if self._breaker.state == "closed":
                self._breaker.succeeded()
            else:
                self._health.succeeded(delivery)
            if (window := pace.window) is not None:
                wanted = bool(backlog.firsts) or bool(backlog.retries)
                window.answered((now_ns - delivery.sent_ns) / 1_000_000, wanted=wanted)
                if window.limit != pace.limit and pace.adapt():
                    self._lane.fill()
            self._stats.last_good_ns = now_ns
            cls, flaw = ("", "") if delivery.step.response is None else keep_response(delivery, result, self._stats)
            if cls or delivery.run.flight.trace.sampled or delivery.history:
                remember(delivery, span_id, now_ns, status, cls)
            self._settler.finish(delivery, Outcome.DELIVERED, cls, flaw)
            return
        self._failed(delivery, span_id, now_ns, result, ruling)

    def _failed(
        self, delivery: Delivery, span_id: str, now_ns: int, result: Answer | Failure, ruling: verdict.Verdict
    ) -> None:
        assert not isinstance(ruling, verdict.Delivered)
        cls = ruling.cls
        self._health.noted(delivery, cls)
        self._narrow(cls, delivery.status)
        remember(delivery, span_id, now_ns, delivery.status, cls)
        delivery.last_cls = cls
        if isinstance(result, Failure) and result.sent:
            delivery.ambiguous = True
        delivery.excerpt = result.body[: delivery.step.excerpt_bytes] if isinstance(result, Answer) else b""
        detail = result.detail if isinstance(result, Failure) else f"http_{result.status}"
        now_ms = now_ns // 1_000_000
        match ruling:
            case verdict.Rejected():
                if self._halves(delivery):  # says nothing yet: its halves are judged, and one of them is the next probe
                    self._health.abandoned(delivery)
                elif self._health.rejected(delivery):
                    self.park_queue()
                self._settler.finish(delivery, Outcome.REJECTED, cls, detail)
                if ruling.disables:
                    self._lane.disable(delivery)
            case verdict.Hold():
                delivery.attempts -= 1  # the sender was refused, not this delivery: no attempt is used
                self._health.refused(delivery)
                self.park(delivery, now_ms)
                if self._breaker.state == "open":
                    self.park_queue()
            case verdict.Dead():
                self._unhealthy(delivery)
                self._settler.finish(delivery, Outcome.DEAD, cls, detail)
            case verdict.RetryAt():
                self._unhealthy(delivery)
                self._again(delivery, ruling.due_ms, now_ms, cls)

    def _narrow(self, cls: FailureClass, status: int) -> None:
        """Let an adaptive lane know; what says that there was too much at once narrows it."""
        if (window := self._pace.window) is not None:
            throttled = cls in (FailureClass.RATE_LIMITED, FailureClass.TIMEOUT) or status == _UNAVAILABLE
            window.failed(throttled=throttled)
            if self._pace.adapt():
                self._lane.fill()

    def _unhealthy(self, delivery: Delivery) -> None:
        if self._health.failed(delivery):
            self.park_queue()

    def _again(self, delivery: Delivery, due_ms: int, now_ms: int, cls: FailureClass) -> None:
        """Wait here for what is due soon, hand over the rest."""
        tracker = delivery.run.flight.tracker
        if tracker.closed:
            return  # another worker's by now, who does it from the start: to send it again from here is forbidden
        here = due_ms - now_ms <= IN_PROCESS_MAX_MS and self._breaker.state != "open"
        here = here and bool(delivery.step.retry.in_process_ms)
        if delivery.deadline_ms:  # else it is over, which handing over finds out
            here = here and due_ms < delivery.deadline_ms
        if here and not self.draining and not tracker.leaving:
            delivery.due_ms = due_ms
            self._backlog.delay(delivery, due_ms)
            self._lane.rouse()
        else:
            self._settler.later(delivery, due_ms, cls, parked=False)

    # ------------------------------------------------------------------------------------------- parking

    def park(self, delivery: Delivery, now_ms: int) -> None:
        """Put a delivery off to a retry tier without using an attempt; past its age it is dead."""
        self._stats.parked += 1
        if now_ms >= delivery.expires_ms:
            self._settler.finish(delivery, Outcome.DEAD, FailureClass.EXPIRED, "parked_until_max_age")
            return
        cls = delivery.last_cls or self._stats.last_class or FailureClass.TIMEOUT
        self._settler.later(delivery, now_ms, cls, parked=True)

    def hold(self, delivery: Delivery, due_ms: int, why: str, now_ms: int) -> None:
        """Put a delivery off that is held back by hand: as parking, for a reason of its own."""
        self._stats.parked += 1
        if now_ms >= delivery.expires_ms:
            self._settler.finish(delivery, Outcome.DEAD, FailureClass.EXPIRED, why)
        else:
            self._settler.later(delivery, max(due_ms, now_ms), why, parked=True)

    def park_queue(self) -> None:
        """Park all that waits for its turn; what waits for its time goes on to."""
        now_ms = self._clock() // 1_000_000
        for delivery, _ in self._backlog.take_all(lambda _: True, delayed=False):
            self.park(delivery, now_ms)
