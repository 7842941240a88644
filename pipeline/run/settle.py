"""Settles: writes what must be durable, waits for the broker's ack, then marks the position done.

Owner of Flights and Runs. Nothing here waits: `produce` queues, and the ack comes back as a call on the loop. A
position is done when its last delivery and its last write are; a run is handed over when nothing of it moves any more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.core import deadletter, journeys, outcome, payload
from pipeline.errors import Bug
from pipeline.model import (
    TURN,
    UNSENT,
    Delivery,
    FailureClass,
    Flight,
    Kind,
    LedgerReason,
    Outcome,
    Refused,
    Result,
    Run,
    SkipReason,
    Step,
    Waiting,
)
from pipeline.run.carry import Carrier
from pipeline.run.carry import OwnTopics as OwnTopics  # noqa: PLC0414 - what a Settlement is built with
from pipeline.run.failures import Failures
from pipeline.run.handover import kept_of
from pipeline.run.underway import Underway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.core.offsets import Tracker
    from pipeline.ports import Acked, Clock, Dice, Headers, Producer, Telemetry

POSITION_BYTES: Final = 1_000
"""Counted for each open position and each of its deliveries beside the event's own bytes."""
DATUM_TIMES: Final = 10
"""A decoded event is about so many times as large as its bytes: counted for each run that keeps it."""
_FAILED: Final = (Outcome.REJECTED, Outcome.DEAD)


class Settlement:
    """Implements ports.Settler, and what process needs beside it. All calls on the loop; none blocks or raises.

    The number of positions still open bounds the records in memory: run/consume asks for it.
    """

    def __init__(
        self,
        topics: OwnTopics,
        producer: Producer,
        telemetry: Telemetry,
        clock: Clock,
        dice: Dice,
        customer_ref: Callable[[str], str],
    ) -> None:
        self._flights: dict[Flight, int] = {}  # open ones, oldest first, and the bytes each stands for
        self.unsettled_bytes = 0
        self.smallest_tier_ms = topics.tiers_ms[0]
        self.ledger_counts: dict[str, int] = {}
        self.outcome_counts: dict[tuple[str, ...], int] = {}  # final ones, by destination and outcome
        self._topics = topics
        self._producer = producer
        self._telemetry = telemetry
        self.clock = self._clock = clock
        self._customer_ref = customer_ref
        self.failures = Failures(telemetry.log)
        self._carrier = Carrier(topics, producer, dice)
        self.follow: Callable[[Run, int], None] = _nothing_follows
        """Told of a run with steps after others, and the time (Unix ms), whenever one ended or waits: run/follow."""
        self.contacted: Callable[[Delivery, int], None] | None = None  # told of contacts caps count, and when (Unix ms)
        self.underway = Underway()  # what keeps room under caps; asking's, once process has put the two together

    # ------------------------------------------------------------------------------------------- positions

    def opened(self, flight: Flight, deliveries: int) -> None:
        """Take over a position that has this many deliveries to settle here."""
        flight.open = deliveries
        if flight.ledger is not None:
            self.ledger_counts[flight.ledger] = self.ledger_counts.get(flight.ledger, 0) + 1
        flight.tracker.in_flight += 1
        # Each delivery may hold a body made of the event, and may write the event once more to be handed over.
        size = len(flight.record.value or b"") + POSITION_BYTES
        size += size * deliveries
        self._flights[flight] = size
        self.unsettled_bytes += size

    def keeps(self, flight: Flight, size: int) -> None:
        """Count bytes that a run keeps beside its event's own as long as the position is open."""
        if flight in self._flights:
            self._flights[flight] += size
            self.unsettled_bytes += size

    def keeps_datum(self, flight: Flight) -> None:
        """Count the decoded event, which a run keeps for its later steps."""
        self.keeps(flight, DATUM_TIMES * len(flight.record.value or b""))

    def unsettled(self) -> int:
        """Return how many positions are open."""
        return len(self._flights)

    def oldest_ms(self) -> int:
        """Return how long the oldest open position has been open, 0 without one."""
        for flight in self._flights:
            return (self._clock() - flight.received_ns) // 1_000_000
        return 0

    def empty(self, tracker: Tracker, offset: int, reason: LedgerReason) -> None:
        """Settle a position without deliveries; the next commit's ledger says why."""
        self.ledger_counts[reason] = self.ledger_counts.get(reason, 0) + 1
        tracker.settled(offset, reason)

    def write(self, flight: Flight) -> Acked:
        """Count one more write that an open position waits for; return what is to be called once the broker has it."""
        flight.open += 1
        return partial(self._acked, flight)

    def forget(self, tracker: Tracker) -> list[Flight]:
        """Close a tracker whose partition is gone, and return what is open: acks that still come change nothing."""
        tracker.closed = True
        self.underway.forget(tracker)
        gone = [flight for flight in self._flights if flight.tracker is tracker]
        for flight in gone:
            self.unsettled_bytes -= self._flights.pop(flight)
        return gone

    def undecodable(self, flight: Flight, cls: FailureClass, detail: str) -> None:
        """Put a record that is no event on the dead topic; its position is in the ledger once that is acked."""
        flight.ledger = LedgerReason.UNDECODABLE
        self.opened(flight, 1)
        self._dead_letter(flight, deadletter.for_position(flight, cls, detail, self._clock()))
        name = "record_undecodable" if cls is FailureClass.UNDECODABLE else "record_given_up"
        self._telemetry.log(
            "warning", name, topic=flight.record.topic, partition=flight.record.partition,
            offset=flight.record.offset, **{"class": cls.value}, detail=detail,
        )  # fmt: skip
        self._telemetry.position(flight, detail, self._clock())
        self.failures.brake(flight, cls)

    def pass_on(self, flight: Flight) -> None:
        """Write a retry record anew as it is, for a worker that can read it; its position is done once that is acked.

        It waits there for its tier's delay again; an entry of a journey's log stays where it is, likewise.
        """
        record, tracker = flight.record, flight.tracker
        if tracker.ordered:
            tracker.rest(record.offset, b"", self._clock() // 1_000_000 + self.smallest_tier_ms)
            tracker.settled(record.offset)
            return
        self.opened(flight, 1)
        if not self._carrier.again(flight, partial(self._acked, flight)):
            raise Bug("a retry record does not fit its topic again")

    def dropped(self, tracker: Tracker, offset: int) -> None:
        """Settle a retry record that repeats one already taken: it starts nothing."""
        tracker.settled(offset)

    # ------------------------------------------------------------------------------------------ deliveries

    def skip(self, delivery: Delivery, reason: SkipReason) -> None:
        """Settle a delivery that a gate or a condition refused; it never reached a lane."""
        self.finish(delivery, Outcome.SKIPPED, reason, "")

    def marked(self, delivery: Delivery, refused: object, record: object) -> None:
        """Settle a delivery whose mark is durable."""
        if refused is not None:
            self._producer.refused(refused, record, partial(self.marked, delivery))
        else:
            self.finish(delivery, Outcome.DELIVERED, "", "")

    def finish(  # noqa: C901 - the one place where deliveries end
        self, delivery: Delivery, outcome_: Outcome, cls: str, detail: str
    ) -> None:
        """Settle a delivery for good: its outcome, and a dead letter for `rejected` and `dead`.

        One that has a default ends by it instead of by a failure.
        """
        if delivery.over:
            return  # its budget was spent before: this is too late
        if delivery.budget is not None:
            delivery.budget.cancel()
        if delivery.expiry is not None:
            delivery.expiry.cancel()
        reached = outcome_ is Outcome.DELIVERED
        if delivery.fallback is not None and (outcome_ in _FAILED or cls == FailureClass.CONTRACT):
            outcome_, cls, detail = _by_default(delivery, delivery.fallback, cls, detail)
        run = delivery.run
        flight = run.flight
        now_ns = self._clock()
        self._write_outcome(delivery, outcome_, cls, now_ns, due_ms=0)
        if delivery.step.caps:
            if reached and self.contacted is not None:
                self.contacted(delivery, now_ns // 1_000_000)
            self.underway.leave(delivery)
        counted = (delivery.step.destination, outcome_)
        self.outcome_counts[counted] = self.outcome_counts.get(counted, 0) + 1
        if outcome_ is Outcome.REJECTED or outcome_ is Outcome.DEAD:
            flight.open += 1
            self._failed(delivery, deadletter.for_delivery(delivery, outcome_, cls, detail, now_ns))
            self.failures.say(outcome_, delivery, cls, detail)
            self._telemetry.settled(delivery, outcome_, cls, now_ns)
        elif outcome_ is Outcome.DEFAULTED or cls == FailureClass.CONTRACT:
            self.failures.say(outcome_, delivery, cls, detail)
            self._telemetry.settled(delivery, outcome_, cls, now_ns)
        elif flight.trace.sampled or delivery.history:
            self._telemetry.settled(delivery, outcome_, cls, now_ns)
        if run.results is not None:
            # Where nothing is sent a run goes on as if the step had been delivered, so that all of it is rendered.
            ended = Outcome.DELIVERED if cls in UNSENT else outcome_
            run.results[delivery.step.name] = Result(ended, cls, delivery.status, delivery.response)
            if delivery.response:
                self.keeps(flight, journeys.weight(delivery.response))
        self._stopped_moving(delivery, now_ns)

    def later(self, delivery: Delivery, due_ms: int, cls: str, *, parked: bool) -> None:
        """Hand a delivery over to a retry tier, together with its run once nothing of that moves.

        A `decide` that its lane took does not wait: it ends by its default. Nor does what would wait past its deadline.
        """
        if delivery.over:
            return
        if delivery.step.caps:
            self.underway.leave(delivery)
        if delivery.budget is not None:
            self.finish(delivery, Outcome.DEAD, cls, "no_time_to_wait")
            return
        if delivery.deadline_ms:
            if max(due_ms, self._clock() // 1_000_000) >= delivery.deadline_ms:
                self.skip(delivery, SkipReason.EXPIRED)
                return
            if delivery.expiry is not None:
                delivery.expiry.cancel()
        waiting = Waiting(delivery, due_ms, cls, parked)
        if delivery.step.kind is Kind.RECORD:
            # `record` never delays anything: the other steps' hand-over does not wait for it, nor it for them.
            self._hand_over(delivery.run, [waiting], ())
            return
        run = delivery.run
        if run.waiting is None:
            run.waiting = []
        run.waiting.append(waiting)
        if run.results is not None and cls:  # without a class it was only put off: its worker stops, its time will come
            run.results[delivery.step.name] = Result(Outcome.RETRYING, cls, delivery.status)
            run.retried |= {delivery.step.name}
        self._stopped_moving(delivery, self._clock())

    def _stopped_moving(self, delivery: Delivery, now_ns: int) -> None:
        if delivery.step.kind is Kind.RECORD:
            return  # nothing waits for it, and nothing comes after it
        run = delivery.run
        run.moving -= 1
        if run.results is not None:
            self.follow(run, now_ns // 1_000_000)
        elif run.waiting:
            self.rest(run)

    def rest(self, run: Run) -> None:
        """Once nothing of a run moves any more, write the letters of what failed, and hand over what waits."""
        if run.moving:
            return
        failed, run.failed = run.failed, ()
        for delivery, letter in failed:
            self._dead_letter(run.flight, letter + kept_of(delivery))
        if run.waiting:
            waiting, run.waiting = run.waiting, None
            self._hand_over(run, waiting, run.ahead)

    # --------------------------------------------------------------------------------------------- writing

    def _hand_over(self, run: Run, waiting: list[Waiting], ahead: Sequence[Step]) -> None:
        """Write one record for all waiting steps of the run and those ahead, and a `retrying` outcome for each."""
        flight = run.flight
        if flight.tracker.closed:
            return  # another worker's by now, who starts from the position: a record of ours would be a second run
        now_ns = self._clock()
        due_ms = self._carrier.write(run, waiting, ahead, now_ns // 1_000_000, partial(self._acked, flight))
        if isinstance(due_ms, str):
            self._too_large(run, waiting, due_ms)
            return
        for each in waiting:
            each.delivery.last_cls = each.cls
            self._write_outcome(each.delivery, Outcome.RETRYING, each.cls, now_ns, due_ms=max(due_ms, each.due_ms))
            if each.delivery.history or flight.trace.sampled:  # parked untried: nothing happened that a span could show
                self._telemetry.settled(each.delivery, Outcome.RETRYING, each.cls, now_ns)
        if ahead:
            self._ahead(run, ahead, now_ns, due_ms)

    def queue(self, run: Run, waiting: list[Waiting], ahead: Sequence[Step]) -> None:
        """Put a fresh run into the log of its journey, where it waits for its turn; dead if it does not fit there.

        When that comes nobody knows: at the latest once all before it are too old, and so is it.
        """
        now_ns = self._clock()
        why = self._carrier.queue(run, waiting, ahead, partial(self._acked, run.flight))
        if why:
            for delivery in (*(each.delivery for each in waiting), *(self._unstarted(run, step) for step in ahead)):
                self.finish(delivery, Outcome.DEAD, FailureClass.CONFIG, why)
            return
        latest_ms = now_ns // 1_000_000 + max(step.max_age_ms for step in run.route.steps)
        for each in waiting:
            self._write_outcome(each.delivery, Outcome.RETRYING, TURN, now_ns, due_ms=latest_ms)
        self._ahead(run, ahead, now_ns, latest_ms)

    def _ahead(self, run: Run, ahead: Sequence[Step], now_ns: int, due_ms: int) -> None:
        """Account for the steps that went with the run unstarted: the next hop's from here on."""
        run.ahead = ()
        for step in ahead:
            self._write_outcome(
                self._unstarted(run, step), Outcome.RETRYING, SkipReason.UPSTREAM, now_ns, due_ms=due_ms
            )

    @staticmethod
    def _unstarted(run: Run, step: Step) -> Delivery:
        event = run.flight.event
        assert event is not None
        return Delivery(payload.delivery_id(event.id, step.id_suffix), step, run, b"", b"", 0)

    def _too_large(self, run: Run, waiting: list[Waiting], detail: str) -> None:
        """A record that no retry topic takes cannot wait: its deliveries are dead, by reference."""
        run.moving += sum(each.delivery.step.kind is not Kind.RECORD for each in waiting)
        for each in waiting:
            self.finish(each.delivery, Outcome.DEAD, FailureClass.CONFIG, detail)

    def _write_outcome(self, delivery: Delivery, outcome_: Outcome, reason: str, now_ns: int, *, due_ms: int) -> None:
        run = delivery.run
        flight = run.flight
        event = flight.event
        assert event is not None
        topic, partition, offset, stamp_ms = flight.source
        reference = self._customer_ref(event.customer_id) if event.customer_id else ""  # "": not known any more
        content = outcome.encode(
            delivery.step.outcome_prefix, event.id, event.type, delivery.id, reference, topic, partition, offset,
            stamp_ms, event.time_ms, flight.deliveries, flight.trace.trace_id, outcome_, reason, delivery.status,
            delivery.attempts, delivery.first_ns // 1_000_000, now_ns // 1_000_000, run.hop, due_ms,
            delivery.history or (),
        )  # fmt: skip
        acked = partial(self._acked, flight)
        if not self._producer.produce(self._topics.outcomes, reference.encode(), content, [], acked):
            raise Bug("an outcome does not fit the outcomes topic")

    def _failed(self, delivery: Delivery, letter: Headers) -> None:
        """Write a dead letter now, or once the run rests: what comes after may read what others are yet to answer."""
        run = delivery.run
        if run.results is None or delivery.step.kind is Kind.RECORD:
            self._dead_letter(run.flight, letter + kept_of(delivery))
        else:
            run.failed += ((delivery, letter),)

    def _dead_letter(self, flight: Flight, headers: Headers) -> None:
        record = flight.record
        kept = deadletter.original_headers(record)
        acked = partial(self._acked, flight)
        if self._producer.produce(self._topics.dead, record.key, record.value, kept + headers, acked):
            return
        size = len(record.value or b"")
        headers.append((deadletter.OVERSIZE, str(size).encode()))
        if not self._producer.produce(self._topics.dead, None, None, headers, acked):
            raise Bug("a dead letter by reference does not fit the dead topic")

    def _acked(self, flight: Flight, refused: object, record: object) -> None:
        if refused is not None:
            self._producer.refused(refused, record, partial(self._acked, flight))
            return
        flight.open -= 1
        tracker: Tracker = flight.tracker
        if flight.open == 0 and not tracker.closed:
            tracker.in_flight -= 1
            self.unsettled_bytes -= self._flights.pop(flight)
            tracker.settled(flight.record.offset, flight.ledger)


# ------------------------------------------------------------------------------------------- what becomes of it


def _by_default(
    delivery: Delivery, fallback: Mapping[str, object] | Refused, cls: str, detail: str
) -> tuple[Outcome, str, str]:
    """Let the default be a delivery's response; one that could not be made is why it is dead."""
    if isinstance(fallback, Refused):
        return Outcome.DEAD, fallback.cls, fallback.field
    delivery.response = fallback
    in_time = delivery.budget is None or cls not in ("", FailureClass.EXPIRED)  # what a decide's time ends is late
    return Outcome.DEFAULTED, cls if in_time else FailureClass.TIMEOUT, detail


def _nothing_follows(_run: Run, _now_ms: int) -> None:
    raise Bug("a run has steps after others, and nobody starts them")
