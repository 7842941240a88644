"""Writes runs that wait: to a retry topic, or to the log of their journey.

Nothing here waits, and nothing is acknowledged here: whoever hands over says what is to be called then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.core import deadletter, journeys, runstate
from pipeline.model import ORIGINAL_KEY, Kind, value
from pipeline.run.handover import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.model import Flight, Run, Step, Waiting
    from pipeline.ports import Acked, Dice, Headers, Producer

PARK_MAX_MS: Final = 3_600_000
"""The highest tier parking climbs to."""


@value
class OwnTopics:
    """Names of the group's own topics; `retry` in the order of `tiers_ms`, `logs` by journey that keeps order."""

    retry: tuple[str, ...]
    dead: str
    outcomes: str
    tiers_ms: tuple[int, ...]
    logs: Mapping[str, str] | None = None


class Carrier:
    """Of one worker. A run of a journey that keeps order never leaves its log, but for its `record` steps."""

    def __init__(self, topics: OwnTopics, producer: Producer, dice: Dice) -> None:
        self._retry = topics.retry
        self._tiers_ms = topics.tiers_ms
        self._producer = producer
        self._dice = dice
        self._partitions = {topic: producer.partitions(topic) for topic in topics.retry}
        self._logs = {
            journey: (topic, producer.partitions(topic)) for journey, topic in sorted((topics.logs or {}).items())
        }

    def write(
        self, run: Run, waiting: Sequence[Waiting], ahead: Sequence[Step], now_ms: int, acked: Acked
    ) -> int | str:
        """Queue one record for all waiting steps of the run and those ahead; return when it is due (Unix ms).

        Or why it cannot wait: what no topic takes.
        """
        due_ms = max(min(each.due_ms for each in waiting), now_ms)
        parked = any(each.parked for each in waiting)
        tier = journeys.tier_for(due_ms - now_ms, self._tiers_ms)
        if parked:  # the breaker is open or the lane too slow: each round waits a tier longer
            tier = journeys.park_tier(run.parks, self._tiers_ms, PARK_MAX_MS)
        # `record` never delays anything: such a step leaves the log, and the customer's next event does not wait.
        stays = run.flight.tracker.ordered and all(each.delivery.step.kind is not Kind.RECORD for each in waiting)
        if parked or not stays:
            due_ms = max(due_ms, now_ms + self._tiers_ms[tier])
        link = self._link()
        state = state_of(run, waiting, ahead, due_ms, run.parks + 1 if parked else run.parks, link)
        header = runstate.encode(state)
        if header is None:
            return "state_too_large"
        record, topic = run.flight.record, self._retry[tier]
        if stays:  # written once nothing else of the position is open: who reads it there starts nothing but this
            topic = record.topic
            run.flight.tracker.rest(record.offset, header, due_ms)
        else:
            headers = deadletter.original_headers(record)
            headers.append((runstate.STATE_HEADER, header))
            partition = _partition(run, state, self._partitions[topic])
            if not self._write(run.flight, topic, record.key, headers, acked, partition):
                return "too_large_to_hand_over"
        run.sent, run.sent_to = link, topic
        return due_ms

    def queue(self, run: Run, waiting: Sequence[Waiting], ahead: Sequence[Step], acked: Acked) -> str:
        """Put a fresh run into the log of its journey; return "", or why it cannot be."""
        flight = run.flight
        assert flight.event is not None
        record, customer = flight.record, flight.event.customer_id
        link = self._link()
        header = runstate.encode(state_of(run, waiting, ahead, 0, 0, link))
        if header is None:
            return "state_too_large"
        topic, partitions = self._logs[run.route.journey]
        headers = deadletter.original_headers(record)
        headers.append((runstate.STATE_HEADER, header))
        if record.key is not None:
            headers.append((ORIGINAL_KEY, record.key))
        partition = runstate.log_partition(customer, partitions)
        if not self._write(flight, topic, customer.encode(), headers, acked, partition):
            return "too_large_to_hand_over"
        run.sent, run.sent_to = link, topic
        return ""

    def _write(
        self, flight: Flight, topic: str, key: bytes | None, headers: Headers, acked: Acked, partition: int
    ) -> bool:
        """Queue the event's bytes once more; the position waits for the ack. False: they do not fit the topic."""
        flight.open += 1
        taken = self._producer.produce(topic, key, flight.record.value, headers, acked, partition)
        flight.open -= not taken
        return taken

    def again(self, flight: Flight, acked: Acked) -> bool:
        """Write a retry record anew as it is; False: it does not fit its topic any more."""
        record = flight.record
        topic, partition = record.topic, record.partition
        if topic not in self._retry:  # of a tier that was removed
            topic, partition = self._retry[0], -1
        headers = [(name, content or b"") for name, content in record.headers]
        return self._producer.produce(topic, record.key, record.value, headers, acked, partition)

    def _link(self) -> str:
        return f"{self._dice.getrandbits(64):016x}"


def _partition(run: Run, state: runstate.RunState, partitions: int) -> int:
    """Return where a run goes, the same for copies of a hop. Where caps count, by customer.

    What of a customer comes back at one time then does so in one worker, which knows what is under way there.
    """
    event = run.flight.event
    if event is not None and event.customer_id and any(step.caps for step in run.route.steps):
        return runstate.log_partition(event.customer_id, partitions)
    return runstate.spread(state) % partitions
