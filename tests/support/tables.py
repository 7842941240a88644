"""One machine's tables on a real Kafka: its folder, and a worker's parts that follow, read and write them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pipeline.adapters.kafka.compacted import Compacted
from pipeline.adapters.kafka.producer import KafkaProducer
from pipeline.adapters.schemas import Folders, packaged
from pipeline.adapters.tables import FileTables, Folder, Follower, KafkaMarks, Records
from pipeline.core import tables
from pipeline.ports import Found, Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SHIPPED = Folders((packaged(),))
FRESH_MS = 5_000
"""More than tables are behind that are followed, even on a busy machine."""


class Lines:
    """Log lines, to be asked for by event."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, _level: str, event: str, **fields: Any) -> None:
        self.all.append((event, fields))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.all if name == event]


def records(topics: tuple[str, str], log: Lines) -> Records:
    """Return what reads the topics with the shipped schemas alone."""

    def fetch(ref: object) -> Found | Unknown:
        found = SHIPPED.written(ref) if isinstance(ref, bytes) else None
        return Found(found) if found is not None else Unknown("no such schema")

    return Records(topics, [SHIPPED.readers[name] for name in tables.RECORDS], fetch, log)


class Machine:
    """`worker()` starts what one worker has of it; all of them share the folder."""

    def __init__(self, path: Path, settings: Mapping[str, str], topics: tuple[str, str]) -> None:
        self.path = path
        self.settings = settings
        self.topics = topics
        self.errors: list[BaseException] = []
        self.workers: list[Worker] = []

    def worker(self) -> Worker:
        """Start another one."""
        made = Worker(self)
        self.workers.append(made)
        return made

    def close(self) -> None:
        """End all."""
        for each in self.workers:
            each.close()


class Worker:
    """The parts one worker has of the tables."""

    def __init__(self, machine: Machine) -> None:
        self.log = Lines()
        self.folder = Folder(machine.path)
        self.records = records(machine.topics, self.log)
        self.follower = Follower(
            self.folder, lambda: Compacted(machine.settings, machine.topics), self.records, time.time_ns, self.log,
            machine.errors.append,
        )  # fmt: skip
        self.tables = FileTables(Folder(machine.path), time.time_ns, self.log)
        self.producer = KafkaProducer(machine.settings, machine.errors.append, self.log)
        self.marks = KafkaMarks(self.producer, machine.topics, self.tables)
        self.follower.start()
        self.tables.start()

    async def ready(self) -> Worker:
        """Wait until all that is on the topics by now is known."""
        await self.tables.whole()
        return self

    def close(self) -> None:
        """End all of it; idempotent."""
        self.follower.stop()
        self.tables.close()
        self.marks.close()
        self.producer.close()
