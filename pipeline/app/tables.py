"""Gives one worker the tables of consent and suppressions: what follows them, what answers, and what writes marks."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from pipeline.adapters.kafka.compacted import Compacted
from pipeline.adapters.schemas import Folders, packaged
from pipeline.adapters.tables import FileTables, Folder, FolderError, Follower, KafkaMarks, Records, place
from pipeline.adapters.telemetry import names
from pipeline.app.following import Home, until
from pipeline.config import topics
from pipeline.core import tables
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pipeline.adapters.telemetry import OtelTelemetry
    from pipeline.config.models import Config
    from pipeline.ports import Producer, Schemas


class CustomerTables:
    """Owner of the parts. Built on the running loop; `start` before the first event, `close` after the last."""

    def __init__(
        self,
        config: Config,
        settings: Mapping[str, str],
        cluster_id: str,
        schemas: Schemas,
        producer: Producer,
        telemetry: OtelTelemetry,
        fatal: Callable[[BaseException], None],
    ) -> None:
        """Make the folder. Raises ConfigError if that cannot be."""
        self._log = telemetry.log
        home = Home(schemas, fatal)
        both = topics.tables(config.group)
        folder = state_folder(config, cluster_id)
        shipped = Folders((packaged(),)).readers
        records = Records(both, [shipped[name] for name in tables.RECORDS], home.fetch, self._log)
        self._follower = Follower(
            Folder(folder), lambda: Compacted(settings, both), records, time.time_ns, self._log, home.bug
        )
        self.tables = FileTables(Folder(folder), time.time_ns, self._log)
        self.marks = KafkaMarks(producer, both, self.tables)
        telemetry.gauge(names.TABLES_BEHIND, self.tables.stale_ms)
        telemetry.gauge(names.TABLES_UNREADABLE, lambda: records.unreadable)

    async def start(self, stopping: asyncio.Event) -> None:
        """Follow the topics, and return once the tables are whole, or the worker is to stop. Waits without bound."""
        self._follower.start()
        self.tables.start()
        await until(
            self.tables.whole(), stopping,
            lambda: self._log("info", "tables_awaited", behind_ms=self.tables.stale_ms()),
        )  # fmt: skip

    async def close(self) -> None:
        """End following, so that another worker of the machine does; idempotent. Bounded by the follower's STOP_S."""
        await asyncio.to_thread(self._follower.stop)
        self.marks.close()
        self.tables.close()


def basis_asks(config: Config) -> bool:
    """Whether the basis of some step asks the tables; an erasure concerns all, and is asked for besides."""
    steps = ((journey, step) for journey in config.journeys.values() for step in journey.steps)
    return any(journey.basis_of(step) in ("consent", "legitimate_interest") for journey, step in steps)


def state_folder(config: Config, cluster_id: str) -> Path:
    """Return the folder of this group's tables on this machine, made if need be. Raises ConfigError."""
    try:
        return place(config.state_dir or "", config.group, cluster_id, os.environ)
    except FolderError as error:
        raise ConfigError((config.problem("hookline.yaml", ("state_dir",), str(error)),)) from error
