"""Dispatches: one lane per destination, one task per open connection ("seat"), none per delivery.

A seat takes a delivery the lane admits, writes the request, awaits the answer, asks core/verdict what it means, tells
run/settle, and takes the next. A lane that is open-circuited or too slow parks what it is offered, so that it neither
delays other lanes nor stops a partition.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from time import monotonic
from typing import TYPE_CHECKING, Final

from pipeline.core.switches import Held
from pipeline.core.tracecontext import format as format_traceparent
from pipeline.errors import Bug
from pipeline.model import BatchPolicy, Delivery, Destination, FailureClass, Outcome, SkipReason, Step
from pipeline.ports import LATENCY_BUCKETS_MS, LaneStats
from pipeline.run.aftermath import Aftermath
from pipeline.run.asking import GATE_FRESH_NS
from pipeline.run.backlog import Backlog
from pipeline.run.batch import Batch, Batching, halves, why_held
from pipeline.run.health import Health
from pipeline.run.pace import Pace
from pipeline.run.recheck import Recheck
from pipeline.run.seat import Seat
from pipeline.run.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Gate
    from pipeline.ports import Authentication, Clock, Dice, Sender, Settler, Telemetry

SPARE_PER_SLOT: Final = 4
"""Parked deliveries that may wait here for each slot: enough to keep it busy, few to be parked again if it fails."""
STEADY_S: Final = 60.0
"""A lane that has been well for so long is taken to be well."""
UNPROBED_S: Final = 30.0
"""So long new deliveries, and such as were parked once, have the first claim to be a probe."""


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
        watch: Watch | None = None,
        authentication: Authentication | None = None,
        batching: Batching | None = None,
        again: Callable[[Delivery, int], Gate] | None = None,
    ) -> None:
        """`watch` is shared by the lanes of a worker; `batching` is then the `settler`, too; `again`: run/recheck."""
        self.destination = destination
        self.authentication = authentication
        self.stats = stats
        self.watch, self._own_watch = watch or Watch(fatal), watch is None
        self._batching = batching
        if batching is not None:
            batching.attach(self)
        self._sender = sender
        self._settler = settler
        self._clock = clock
        self._dice = dice
        self._fatal = fatal
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog()
        self._seats: dict[Seat, None] = {}  # in the order they were opened, so that a run can be repeated
        self._idle: list[Seat] = []
        self._pace = Pace(destination, stats, share, self._loop.time())
        self._health = Health(destination.name, destination.breaker, stats, telemetry, clock, self._loop.time)
        self._breaker = self._health.breaker
        self._after = Aftermath(self, self._backlog, self._health, self._pace, settler, stats, clock, dice, halves)
        self._recheck = Recheck(again, self._backlog, self._health, settler, batching, stats)
        self.judge = self._after.judge  # seats ask it directly: no call in between
        self._rate_timer: asyncio.TimerHandle | None = None
        self._lease = self.watch.lease
        self._draining = self._awake = False
        self._held: Callable[[Step], str] | None = None
        self.disabled: Callable[[Delivery], None] | None = None
        """Told when a delivery's operation turned out to be gone."""

    # ------------------------------------------------------------------------------------------- in

    def offer(self, delivery: Delivery) -> None:
        """Take a delivery over. Never waits: it is queued, kept until due, or parked."""
        # The commonest case first, asking nothing: calls are what the hot path is made of.
        backlog = self._backlog
        if (
            delivery.due_ms == 0
            and not delivery.attempts
            and self._breaker.state == "closed"
            and not self._pace.slow
            and not self._draining
            and self._held is None
        ):
            backlog.firsts.append(delivery)
            self._pump()
            if len(backlog.firsts) >= self.destination.queue:
                self.watch.full.add(self)
            return
        now_ms = self._clock() // 1_000_000
        if self._draining:
            self._settler.later(delivery, max(delivery.due_ms, now_ms), delivery.last_cls, parked=False)
        elif self._held is not None and (why := self._held(delivery.step)):
            self._after.hold(delivery, delivery.due_ms, why, now_ms)
        elif delivery.due_ms > now_ms:
            backlog.delay(delivery, delivery.due_ms)
            self.rouse()
        elif not self._health.admits(self._loop.time()) or (
            self._pace.slow and len(backlog.queue_of(delivery)) >= self.destination.queue
        ):
            self._after.park(delivery, now_ms)
        else:
            backlog.add(delivery)
            self._pump()
            if self.full():
                self.watch.full.add(self)

    def gather(self, delivery: Delivery, policy: BatchPolicy) -> None:
        """Take a delivery over that shares a request with others. Never waits."""
        assert self._batching is not None, "the destination has no batched operation"
        if self._held is not None and (why := self._held(delivery.step)):
            self._after.hold(delivery, delivery.due_ms, why, self._clock() // 1_000_000)
        else:
            self._batching.offer(delivery, policy)

    def full(self) -> bool:
        """Whether a queue, of first attempts or of retries, is at its bound."""
        bound = self.destination.queue
        return len(self._backlog.firsts) >= bound or len(self._backlog.retries) >= bound

    def holds(self) -> bool:
        """Whether consumption of new events should wait: their queue is full, but drains soon enough."""
        return not self._pace.slow and len(self._backlog.firsts) >= self.destination.queue

    def holds_retries(self) -> bool:
        """Whether consumption of retry records should wait: theirs is, or it has to leave room for one turn of them."""
        return not self._pace.slow and len(self._backlog.retries) >= self.destination.queue

    def spare(self) -> int:
        """Return how many parked deliveries could be taken up before they are due: one as a probe, else some.

        0 while the lane is open-circuited, draining, or has enough to do; and while anything is held back by hand: it
        would be parked again at once.
        """
        waiting = len(self._backlog)
        if self._draining or self._held is not None or not self._health.admits(self._loop.time()):
            return 0
        if self._breaker.state != "closed":
            return 0 if waiting else 1
        return max(min(self.destination.queue // 2, SPARE_PER_SLOT * self._pace.limit) - waiting, 0)

    def takes(self) -> bool:
        """Whether it takes deliveries: the breaker is closed, the queue has room, and not all of it is held by hand."""
        if isinstance(self._held, Held) and self._held.whole:
            return False  # what came now would only be written to the next tier
        return self._breaker.state == "closed" and not self._draining and not self.full()

    def holding(self) -> bool:
        """Whether anything of it is held back by hand."""
        return self._held is not None

    def steady(self) -> bool:
        """Whether the breaker has been closed for STEADY_S, or found no delivery to probe with for UNPROBED_S."""
        now_s = self._loop.time()
        return self._health.well_s(now_s) > STEADY_S or self._breaker.unprobed_s(now_s) > UNPROBED_S

    # ------------------------------------------------------------------------------------- held back by hand

    def hold(self, held: Callable[[Step], str] | None) -> None:
        """Let steps wait on retry tiers, no attempt used, for which `held` has a reason; those that wait here, too.

        Attempts under way end. None: nothing is held back, and offering asks nothing.
        """
        self._held = held
        if held is None:
            return
        now_ms = self._clock() // 1_000_000
        for delivery, due_ms in self._backlog.take_all(lambda each: bool(why_held(held, each))):
            self._after.hold(delivery, due_ms, why_held(held, delivery), now_ms)
        if self._batching is not None:
            for delivery in self._batching.take_all(lambda each: bool(held(each.step))):
                self._after.hold(delivery, delivery.due_ms, held(delivery.step), now_ms)

    def drop(self, chosen: Callable[[Delivery], bool]) -> None:
        """End what waits here and `chosen` picks as dropped. A batch that waits for its turn is under way."""
        dropped = [each for each, _ in self._backlog.take_all(lambda each: type(each) is not Batch and chosen(each))]
        if self._batching is not None:
            dropped += self._batching.take_all(chosen)
        for delivery in dropped:
            self._settler.finish(delivery, Outcome.SKIPPED, SkipReason.DROPPED, "")

    def withdraw(self, delivery: Delivery, *, begun: bool) -> bool:
        """Let a delivery wait no more; `begun`: end an attempt of it that is under way, too. Say if it is let go."""
        waited = self._backlog.drop(delivery)
        seats = [] if waited else [each for each in self._seats if each.delivery is delivery]
        for seat in seats if begun else ():
            seat.give_up(delivery, self._clock())
        return begun or not seats

    def disable(self, delivery: Delivery) -> None:
        """Tell that the delivery's operation is gone; see `disabled`."""
        if self.disabled is not None:
            self.disabled(delivery)

    def reset(self) -> None:
        """Close the breaker and start what waits."""
        self._health.reset()
        self.fill()

    # -------------------------------------------------------------------------------------- draining

    def release(self, chosen: Callable[[Delivery], bool]) -> None:
        """Hand over all not yet started deliveries that `chosen` picks: revoked partitions, or all at a stop."""
        now_ms = self._clock() // 1_000_000
        if self._batching is not None:
            self._batching.release(chosen)
        for delivery, due_ms in self._backlog.take_all(chosen):
            self._settler.later(delivery, due_ms or now_ms, delivery.last_cls, parked=False)

    def discard(self, chosen: Callable[[Delivery], bool]) -> None:
        """Drop deliveries of partitions that are another worker's by now: nothing of them is sent or settled here."""
        if self._batching is not None:
            self._batching.take_all(chosen)
        self._backlog.take_all(chosen)

    def drain(self) -> None:
        """Start nothing new from now on; attempts under way go on."""
        self._draining = self._after.draining = True
        if self._batching is not None:
            self._batching.drain()
        self.release(lambda _: True)

    def abort(self, chosen: Callable[[Delivery], bool]) -> None:
        """End the attempts under way that `chosen` picks: the drain budget is spent. They are judged as timeouts."""
        for seat in tuple(self._seats):
            if seat.delivery is not None and chosen(seat.delivery):
                seat.abort(FailureClass.TIMEOUT)

    async def close(self) -> None:
        """Close all connections; idempotent. What is still in the lane is dropped unsettled and uncommitted."""
        self._draining = self._after.draining = True
        self.watch.leave(self)
        if self._own_watch:
            self.watch.close()
        if self._batching is not None:
            self._batching.take_all(lambda _: True)
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
            if len(self._seats) - len(self._idle) < self._pace.limit:
                self._idle.pop().wake()
        elif len(self._seats) < self._pace.limit:
            self._seats[Seat(self, self._sender, self._loop)] = None
            if not self._awake:
                self.rouse()

    def take(self) -> Delivery | None:
        """Return the next admitted delivery, or None: nothing queued, rate spent, or the breaker in the way."""
        backlog = self._backlog
        if not (backlog.firsts or backlog.retries) or len(self._seats) - len(self._idle) > self._pace.limit:
            return None
        if self._breaker.state == "closed" and self._pace.bucket.rate <= 0.0:
            return backlog.take(self._pace.limit) if backlog.retries else backlog.firsts.popleft()
        if not self._admitted():
            return None
        delivery = backlog.take(self._pace.limit)
        self._health.started(delivery)
        if backlog:
            self._pump()  # a refilled bucket wakes one seat; that one wakes the next while tokens last
        return delivery

    def _admitted(self) -> bool:
        """Ask breaker and rate; what is admitted must be started."""
        now_s = self._loop.time()
        if not self._health.admits(now_s):
            if self._breaker.state == "open":
                self._after.park_queue()
            return False
        wait_s = self._pace.bucket.take(now_s)
        if wait_s > 0:
            if self._rate_timer is None:
                self._rate_timer = self._loop.call_later(wait_s, self._rate_refilled)
            return False
        return True

    def _rate_refilled(self) -> None:
        self._rate_timer = None
        if self._backlog:
            self._pump()

    def idle(self, seat: Seat) -> None:
        """Note a seat that waits for work."""
        self._idle.append(seat)

    def gone(self, seat: Seat, error: BaseException | None) -> None:
        """Forget a seat whose task ended; an unexpected error stops the worker."""
        self._seats.pop(seat, None)
        if seat in self._idle:
            self._idle.remove(seat)
        if error is None and seat.delivery is not None and not self._draining:
            error = Bug("a seat ended without settling its delivery")
        if error is not None:
            self._fatal(error)
        elif self._backlog and not self._draining:
            self._pump()

    # --------------------------------------------------------------------------------------- one attempt

    def begin(self, delivery: Delivery) -> str:
        """Count an attempt from now on; return the ID of its span, or "" if the gates do not let it go any more."""
        now_ns = self._clock()
        if now_ns - delivery.asked_ns > GATE_FRESH_NS and not self._recheck.passes(delivery, now_ns, begun=False):
            return ""
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
        """Whether it may still be sent after a wait: by its partition, budget, gates. If not, it is let go."""
        if delivery.run.flight.tracker.closed or delivery.over:
            self._backlog.retrying.discard(delivery)
            self._health.abandoned(delivery)
            return False
        return self._recheck.passes(delivery, self._clock(), begun=True)

    def head(self, delivery: Delivery, span_id: str, lines: bytes = b"") -> bytes:
        """Build the request head of the attempt begun, right before the write. Raises BrokerError: see run/lease."""
        if monotonic() > self._lease.until_s and (error := self._lease.check()):
            raise error
        trace = delivery.run.flight.trace
        traceparent = format_traceparent(trace.trace_id, span_id, trace.sampled)
        delivery.sent_ns = now_ns = self._clock()
        return delivery.step.head(
            delivery.id, delivery.event_headers + lines, traceparent, now_ns // 1_000_000_000, delivery.body,
            delivery.target,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------- the sweep

    def fill(self) -> None:
        """Start what waits, as far as there are slots."""
        free = self._pace.limit - len(self._seats) + len(self._idle)
        for _ in range(min(len(self._backlog), free)):
            self._pump()

    def rouse(self) -> None:
        """Have the lane swept from now on, until it has nothing left to look after."""
        if not self._awake:
            self._awake = True
            self._pace.look(self._loop.time(), busy=False)
            self.watch.wake(self)

    def sweep(self, now_s: float) -> bool:
        """Every 100 ms: overdue attempts, idle connections, due waits, the rate share, the drain estimate."""
        for seat in [each for each in self._seats if each.until_s < now_s]:
            seat.sweep(now_s)
        backlog = self._backlog
        if backlog.delayed:
            for delivery in backlog.due(self._clock() // 1_000_000):
                delivery.due_ms = 0
                self.offer(delivery)
        self._pace.look(now_s, busy=bool(backlog))
        if backlog and self._health.admits(now_s):
            self.fill()
        stats = self.stats
        stats.queued = len(backlog) + len(backlog.delayed)
        stats.in_flight = len(self._seats) - len(self._idle)
        self._awake = bool(self._seats or stats.queued)
        return self._awake
