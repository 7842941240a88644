"""Dispatches: one lane per destination, one task per open connection ("seat"), none per delivery.

A seat takes a delivery the lane admits, writes the request, awaits the answer, asks core/verdict what it means, tells
run/settle, and takes the next. A lane that is open-circuited or too slow parks what it is offered, so that it neither
delays other lanes nor stops a partition.
"""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_left
from collections import deque
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

from pipeline.core import verdict
from pipeline.core.admission import Breaker, Bucket
from pipeline.core.tracecontext import format as format_traceparent
from pipeline.errors import Bug
from pipeline.model import Answer, Delivery, Destination, Failure, FailureClass, Outcome
from pipeline.ports import LATENCY_BUCKETS_MS, LaneStats
from pipeline.run.lease import Lease
from pipeline.run.seat import Seat, keep_response, remember

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ports import Clock, Dice, Sender, Settler, Telemetry

SWEEP_S: Final = 0.1
"""How often deadlines of attempts are looked at; an attempt ends at most this long after its deadline."""
RATE_MIN_PER_S: Final = 0.1
"""What a lane with a rate sends while its worker has no share of it: never nothing, and never without limit."""
DRAIN_BOUND_S: Final = 10.0
"""A full queue that drains within this holds consumption back; a slower one parks what comes on top."""
IN_PROCESS_MAX_MS: Final = 2_000
"""Waits up to this are spent in the lane; longer ones on a retry tier."""


class Lane:
    """One destination in one worker: queue, connections, rate, concurrency, breaker. All calls on the loop.

    Owner of its Deliveries from `offer` until it calls the settler, exactly once for each.
    """

    def __init__(
        self,
        destination: Destination,
        sender: Sender,
        settler: Settler,
        telemetry: Telemetry,
        stats: LaneStats,
        clock: Clock,
        dice: Dice,
        fatal: Callable[[BaseException], None],
        share: Callable[[], float],
    ) -> None:
        self.destination = destination
        self.stats = stats
        self._sender = sender
        self._settler = settler
        self._telemetry = telemetry
        self._clock = clock
        self._dice = dice
        self._fatal = fatal
        self._share = share
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Delivery] = deque()
        self._delayed: list[tuple[int, int, Delivery]] = []  # heap by due time
        self._tie = count()
        self._seats: set[Seat] = set()
        self._idle: list[Seat] = []
        self._breaker = Breaker(destination.breaker)
        self._bucket = Bucket(self._rate(), self._loop.time())
        self._rate_timer: asyncio.TimerHandle | None = None
        self._lease = Lease()
        self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)
        self._draining = False
        self._slow = False
        self._completed = 0
        self._per_s = 0.0
        self._full_since_s = 0.0
        self._state_noted = self._breaker.state

    # ------------------------------------------------------------------------------------------- in

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery over. Never waits: it is queued, kept until due, or parked."""
        # The commonest case first, asking nothing: calls are what the hot path is made of.
        if delivery.due_ms == 0 and self._breaker.state == "closed" and not self._slow and not self._draining:
            self._queue.append(delivery)
            self._pump()
            return
        now_ms = self._clock() // 1_000_000
        if self._draining:
            self._settler.later(delivery, max(delivery.due_ms, now_ms), delivery.last_cls, parked=False)
        elif delivery.due_ms > now_ms:
            heapq.heappush(self._delayed, (delivery.due_ms, next(self._tie), delivery))
        elif not self._breaker.admits(self._loop.time()) or (self._slow and self.full()):
            self._park(delivery, now_ms)
        else:
            self._queue.append(delivery)
            self._pump()

    def full(self) -> bool:
        """Whether the queue is at its bound."""
        return len(self._queue) >= self.destination.queue

    def holds(self) -> bool:
        """Whether consumption should wait: the queue is full, but drains soon enough."""
        return not self._slow and len(self._queue) >= self.destination.queue

    # -------------------------------------------------------------------------------------- draining

    def release(self, chosen: Callable[[Delivery], bool]) -> None:
        """Hand over all not yet started deliveries that `chosen` picks: revoked partitions, or all at a stop."""
        now_ms = self._clock() // 1_000_000
        queued, self._queue = self._queue, deque()
        delayed, self._delayed = self._delayed, []
        for delivery in queued:
            if chosen(delivery):
                self._settler.later(delivery, now_ms, delivery.last_cls, parked=False)
            else:
                self._queue.append(delivery)
        for entry in delayed:
            if chosen(entry[2]):
                self._settler.later(entry[2], entry[0], entry[2].last_cls, parked=False)
            else:
                heapq.heappush(self._delayed, entry)

    def discard(self, chosen: Callable[[Delivery], bool]) -> None:
        """Drop deliveries of partitions that are another worker's by now: nothing of them is sent or settled here."""
        self._queue = deque(each for each in self._queue if not chosen(each))
        self._delayed = [entry for entry in self._delayed if not chosen(entry[2])]
        heapq.heapify(self._delayed)

    def drain(self) -> None:
        """Start nothing new from now on; attempts under way go on."""
        self._draining = True
        self.release(lambda _: True)

    def abort(self, chosen: Callable[[Delivery], bool]) -> None:
        """End the attempts under way that `chosen` picks: the drain budget is spent. They are judged as timeouts."""
        for seat in tuple(self._seats):
            if seat.delivery is not None and chosen(seat.delivery):
                seat.abort(FailureClass.TIMEOUT)

    async def close(self) -> None:
        """Close all connections; idempotent. What is still in the lane is dropped unsettled and uncommitted."""
        self._draining = True
        self._sweep_timer.cancel()
        if self._rate_timer is not None:
            self._rate_timer.cancel()
        tasks = [seat.task for seat in self._seats]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()

    # ------------------------------------------------------------------------------------------ seats

    def _pump(self) -> None:
        """Wake an idle seat, or open one more."""
        if self._idle:
            self._idle.pop().wake()
        elif len(self._seats) < self.destination.concurrency:
            self._seats.add(Seat(self, self._sender, self._loop))

    def take(self) -> Delivery | None:
        """Return the next admitted delivery, or None: nothing queued, rate spent, or the breaker in the way."""
        if not self._queue:
            return None
        limited = self._bucket.rate > 0
        if (limited or self._breaker.state != "closed") and not self._admitted():
            return None
        delivery = self._queue.popleft()
        if limited and self._queue:
            self._pump()  # a refilled bucket wakes one seat; that one wakes the next while tokens last
        return delivery

    def _admitted(self) -> bool:
        """Ask breaker and rate; what is admitted must be started."""
        now_s = self._loop.time()
        if not self._breaker.admits(now_s):
            if self._breaker.state == "open":
                self._park_queue()
            return False
        wait_s = self._bucket.take(now_s)
        if wait_s > 0:
            if self._rate_timer is None:
                self._rate_timer = self._loop.call_later(wait_s, self._rate_refilled)
            return False
        if self._breaker.state != "closed":
            self._breaker.started()
        return True

    def _rate_refilled(self) -> None:
        self._rate_timer = None
        if self._queue:
            self._pump()

    def idle(self, seat: Seat) -> None:
        """Note a seat that waits for work."""
        self._idle.append(seat)

    def gone(self, seat: Seat, error: BaseException | None) -> None:
        """Forget a seat whose task ended; an unexpected error stops the worker."""
        self._seats.discard(seat)
        if seat in self._idle:
            self._idle.remove(seat)
        if error is None and seat.delivery is not None and not self._draining:
            error = Bug("a seat ended without settling its delivery")
        if error is not None:
            self._fatal(error)
        elif self._queue and not self._draining:
            self._pump()

    # --------------------------------------------------------------------------------------- one attempt

    def begin(self, delivery: Delivery) -> str:
        """Count an attempt from now on; return the ID of its span."""
        now_ns = self._clock()
        delivery.attempts += 1
        delivery.last_ns = now_ns
        stats = self.stats
        stats.attempts += 1
        if delivery.first_ns == 0:
            delivery.first_ns = now_ns
            waited_ms = now_ns // 1_000_000 - delivery.run.flight.source[3]
            stats.trigger_ms[bisect_left(LATENCY_BUCKETS_MS, waited_ms)] += 1
        return f"{self._dice.getrandbits(64):016x}"

    def owned(self, delivery: Delivery) -> bool:
        """Whether the partition is still this worker's; if not, the attempt is over before anything was sent."""
        if delivery.run.flight.tracker.closed:
            self._breaker.abandoned()
            return False
        return True

    def head(self, delivery: Delivery, span_id: str) -> bytes:
        """Build the request head of the attempt begun, right before the write. Raises BrokerError: see run/lease."""
        if monotonic() > self._lease.until_s and (error := self._lease.check()):
            raise error
        trace = delivery.run.flight.trace
        traceparent = format_traceparent(trace.trace_id, span_id, trace.sampled)
        now_s = self._clock() // 1_000_000_000
        return delivery.step.head(
            delivery.id, delivery.event_headers, traceparent, now_s, delivery.body, delivery.target
        )

    def judge(self, delivery: Delivery, span_id: str, result: Answer | Failure) -> None:
        """Say what the attempt means and act on it: settle, wait here, hand over, park."""
        now_ns = self._clock()
        now_ms = now_ns // 1_000_000
        self._completed += 1
        self.stats.attempt_ms[bisect_left(LATENCY_BUCKETS_MS, (now_ns - delivery.last_ns) // 1_000_000)] += 1
        status = result.status if type(result) is Answer else 0
        delivery.status = status
        ruling = verdict.judge(
            result, delivery.attempts, delivery.step.retry, now_ms, delivery.expires_ms, self._dice.random()
        )
        if ruling is verdict.DELIVERED:
            if self._breaker.state == "closed":
                self._breaker.succeeded()
            else:
                self._healthy()
            self.stats.last_good_ns = now_ns
            cls, flaw = ("", "") if delivery.step.response is None else keep_response(delivery, result, self.stats)
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
        stats = self.stats
        stats.failures[cls] = stats.failures.get(cls, 0) + 1
        stats.last_class = cls
        event = delivery.run.flight.event
        stats.last_event_id = event.id if event is not None else ""
        remember(delivery, span_id, now_ns, delivery.status, cls)
        delivery.last_cls = cls
        delivery.excerpt = result.body[: delivery.step.excerpt_bytes] if isinstance(result, Answer) else b""
        detail = result.detail if isinstance(result, Failure) else f"http_{result.status}"
        now_ms = now_ns // 1_000_000
        match ruling:
            case verdict.Rejected():
                self._healthy()
                self._settler.finish(delivery, Outcome.REJECTED, cls, detail)
            case verdict.Hold():
                delivery.attempts -= 1  # the sender was refused, not this delivery: no attempt is used
                if self._breaker.trip(self._loop.time()):
                    self._state_changed()
                self._park(delivery, now_ms)
                self._park_queue()
            case verdict.Dead():
                self._unhealthy()
                self._settler.finish(delivery, Outcome.DEAD, cls, detail)
            case verdict.RetryAt():
                self._unhealthy()
                self._again(delivery, ruling.due_ms, now_ms, cls)

    def _again(self, delivery: Delivery, due_ms: int, now_ms: int, cls: FailureClass) -> None:
        """Wait here for what is due soon, hand over the rest."""
        tracker = delivery.run.flight.tracker
        if tracker.closed:
            return  # another worker's by now, who does it from the start: to send it again from here is forbidden
        here = due_ms - now_ms <= IN_PROCESS_MAX_MS and self._breaker.state != "open"
        if here and not self._draining and not tracker.leaving:
            delivery.due_ms = due_ms
            heapq.heappush(self._delayed, (due_ms, next(self._tie), delivery))
        else:
            self._settler.later(delivery, due_ms, cls, parked=False)

    # ---------------------------------------------------------------------------------- the breaker, parking

    def _healthy(self) -> None:
        before = self._breaker.state
        self._breaker.succeeded()
        if before != self._breaker.state:
            self._state_changed()

    def _unhealthy(self) -> None:
        if self._breaker.failed(self._loop.time()):
            self._state_changed()
            self._park_queue()

    def _state_changed(self) -> None:
        state = self._breaker.state
        self.stats.state = state
        self.stats.state_since_ns = self._clock()
        self._telemetry.log(
            "warning" if state == "open" else "info", f"breaker_{state.replace('-', '_')}",
            destination=self.destination.name, event_id=self.stats.last_event_id,
            **{"class": str(self.stats.last_class)},
        )  # fmt: skip

    def _park(self, delivery: Delivery, now_ms: int) -> None:
        self.stats.parked += 1
        if now_ms >= delivery.expires_ms:
            self._settler.finish(delivery, Outcome.DEAD, FailureClass.EXPIRED, "parked_until_max_age")
            return
        cls = delivery.last_cls or self.stats.last_class or FailureClass.TIMEOUT
        self._settler.later(delivery, now_ms, cls, parked=True)

    def _park_queue(self) -> None:
        now_ms = self._clock() // 1_000_000
        queued, self._queue = self._queue, deque()
        for delivery in queued:
            self._park(delivery, now_ms)

    # ------------------------------------------------------------------------------------------- the sweep

    def _sweep(self) -> None:
        """Every 100 ms: overdue attempts, idle connections, due waits, the rate share, the drain estimate."""
        self._sweep_timer = self._loop.call_later(SWEEP_S, self._sweep)
        if (error := self._lease.renew()) is not None:
            self._fatal(error)
            return
        now_s = self._loop.time()
        for seat in tuple(self._seats):
            seat.sweep(now_s)
        now_ms = self._clock() // 1_000_000
        while self._delayed and self._delayed[0][0] <= now_ms:
            delivery = heapq.heappop(self._delayed)[2]
            delivery.due_ms = 0
            self.offer(delivery)
        self._bucket.retune(self._rate(), now_s)
        self._per_s += (self._completed / SWEEP_S - self._per_s) * 0.05  # averages over about two seconds
        self._completed = 0
        self._estimate(now_s)
        if self._queue and self._breaker.admits(now_s):
            for _ in range(min(len(self._queue), self.destination.concurrency - len(self._seats) + len(self._idle))):
                self._pump()
        self.stats.queued = len(self._queue) + len(self._delayed)
        self.stats.in_flight = len(self._seats) - len(self._idle)
        if self._breaker.state != self._state_noted:
            self._state_noted = self.stats.state = self._breaker.state

    def _rate(self) -> float:
        """Return this worker's part of the destination's rate; 0.0 only if that is unlimited."""
        whole = self.destination.rate_per_s
        return max(whole * self._share(), RATE_MIN_PER_S) if whole else 0.0

    def _estimate(self, now_s: float) -> None:
        """Judge a full queue only after it has been full for two seconds: the average needs them."""
        if not self.full():
            self._full_since_s = 0.0
            self._slow = self._slow and len(self._queue) > self.destination.queue // 2
            return
        self._full_since_s = self._full_since_s or now_s
        if now_s - self._full_since_s > 2.0:  # noqa: PLR2004
            self._slow = len(self._queue) > self._per_s * DRAIN_BOUND_S
