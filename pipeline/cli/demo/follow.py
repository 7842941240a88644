"""Follows the work through Kafka, as anybody could: outcomes, workers' reports, committed offsets, dead letters."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Final

from pipeline.adapters.kafka.admin import Admin
from pipeline.adapters.kafka.reader import read_topic
from pipeline.cli.demo.watch import Tally
from pipeline.config import topics
from pipeline.core import deadletter, fleet, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.models import Config

PAUSE_S: Final = 0.25
"""Time between two looks."""
STOP_S: Final = 15.0
"""Bound on the last look."""

_CLASS: Final = deadletter.PREFIX + "class"


class Follower:
    """Keeps a Tally up to date in a thread of its own, and after each look hands it to `looked`, in that thread."""

    def __init__(self, config: Config, settings: Mapping[str, str], looked: Callable[[Tally], None]) -> None:
        self.tally = Tally()
        self.error: BaseException | None = None
        self._settings = settings
        self._outcomes = topics.outcomes(config.group)
        self._control = topics.control(config.group)
        self._next: dict[str, dict[int, int]] = {self._outcomes: {}, self._control: {}}
        self._looked = looked
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; idempotent."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def look(self) -> None:
        """Read what is new; call it only while the thread does not run. Raises BrokerError, TopicMissing."""
        for topic, reached in self._next.items():
            for record in read_topic(self._settings, topic, begin=dict(reached)):
                reached[record.partition] = record.offset + 1
                if topic == self._control:
                    if (record.key or b"").startswith(fleet.REPORTS):  # and not a definition or an order
                        self.tally.report(record.value)
                    continue
                row = outcome.decode(record.value or b"")
                if isinstance(row, outcome.OutcomeRow):
                    self.tally.outcome(row)

    def _run(self) -> None:
        try:
            while not self._over.wait(PAUSE_S):
                self.look()
                self._looked(self.tally)
        except Exception as error:  # noqa: BLE001 - raised again where somebody waits for it
            self.error = error


class Progress:
    """Asks how far the worker is."""

    def __init__(self, config: Config, settings: Mapping[str, str]) -> None:
        self._admin = Admin(settings)
        self._config = config
        self._read = topics.read(config, ())
        self._retries = topics.retry_topics(config)

    def begun(self) -> bool:
        """Whether the worker has committed anything yet."""
        return any(self._admin.committed(group, [topic]) for topic, group in self._read.items())

    def settled(self) -> bool:
        """Whether every record is committed and none waits on a retry topic, provided that no more are sent.

        Commits are asked for before ends: a retry record is written before the one that led to it is committed.
        """
        return self.handed_over() and self._committed(topics.retry_group(self._config.group), self._retries)

    def handed_over(self) -> bool:
        """Whether every input record is committed, and its copy if there is one, be it that runs still wait to retry.

        In that order: a copy is written before its input is committed.
        """
        return all(self._committed(group, (topic,)) for topic, group in self._read.items())

    def _committed(self, group: str, names: tuple[str, ...]) -> bool:
        committed = self._admin.committed(group, names)
        ends = self._admin.watermarks(names)
        return all(committed.get(place, first) >= end for place, (first, end) in ends.items())


def letters(config: Config, settings: Mapping[str, str]) -> Counter[str]:
    """Count the dead letters by failure class."""
    counted: Counter[str] = Counter()
    for record in read_topic(settings, topics.dead(config.group)):
        counted.update((content or b"").decode() for name, content in record.headers if name == _CLASS)
    return counted
