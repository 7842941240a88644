"""Judges whether journeys that keep order do: by their logs, by what is settled, and by every request that goes out."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pipeline.config import topics
from pipeline.core.outcome import OutcomeRow, decode
from pipeline.core.runstate import STATE_HEADER, RunState
from pipeline.core.runstate import decode as decode_state
from pipeline.model import Outcome
from pipeline.run.past import noted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config.models import Config
    from pipeline.testing.stage.broker import Place, StageBroker


class Order:
    """Of one configuration and one broker in memory. Asked with each request, before it is answered."""

    def __init__(self, config: Config, broker: StageBroker) -> None:
        self._config = config
        self._broker = broker
        self._logs = topics.logs(config)
        self._outcomes = topics.outcomes(config.group)
        self._read: dict[Place, int] = defaultdict(int)
        self._lines: dict[tuple[str, bytes], list[str]] = defaultdict(list)
        self._customers: dict[tuple[str, str], bytes] = {}
        self._over: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._started: dict[tuple[str, bytes], int] = {}

    def asked(self, journey: str, step: str, event_id: str) -> Iterator[str]:
        """Say what a request that goes out now breaks, if its journey keeps order and waits for the step."""
        if journey not in self._logs or step not in self._waited_for(journey):
            return
        self._look(journey)
        customer = self._customers.get((journey, event_id))
        if customer is None:
            yield "sent before its entry was in the log"
            return
        line = self._lines[journey, customer]
        at = line.index(event_id)
        if at < self._started.get((journey, customer), 0):
            yield "an event was sent again after a later one of its customer"
        self._started[journey, customer] = max(at, self._started.get((journey, customer), 0))
        if any(self._over[journey, before] < self._waited_for(journey) for before in line[:at]):
            yield "an event started before the one before it was over"

    def _waited_for(self, journey: str) -> set[str]:
        return {step.name for step in self._config.journeys[journey].steps if step.kind != "record"}

    def _look(self, journey: str) -> None:
        """Read on: entries of the log, each event by the first it has, and final outcomes."""
        topic = self._logs[journey]
        for partition in range(self._broker.partitions(topic)):
            place = (topic, partition)
            for record in self._broker.logs[place].after(self._read[place]):
                self._read[place] = record.offset + 1
                state = decode_state(record.header(STATE_HEADER))
                if noted(record) is None and isinstance(state, RunState):
                    name = (journey, state.event_id)
                    if name not in self._customers:
                        self._customers[name] = record.key or b""
                        self._lines[journey, record.key or b""].append(state.event_id)
        for partition in range(self._broker.partitions(self._outcomes)):
            place = (self._outcomes, partition)
            for record in self._broker.logs[place].after(self._read[place]):
                self._read[place] = record.offset + 1
                row = decode(record.value or b"")
                if isinstance(row, OutcomeRow) and row.outcome is not Outcome.RETRYING:
                    self._over[row.journey, row.event_id].add(row.step)
