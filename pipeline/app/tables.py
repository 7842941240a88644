"""Gives one worker the tables of consent and suppressions: what follows them, what answers, and what writes marks."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pipeline.adapters.kafka.compacted import Compacted
from pipeline.adapters.schemas import FETCH_S, Folders, packaged
from pipeline.adapters.tables import FileTables, Folder, FolderError, Follower, KafkaMarks, Records, place
from pipeline.adapters.telemetry import names
from pipeline.config import topics
from pipeline.core import tables
from pipeline.errors import ConfigError
from pipeline.ports import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pipeline.adapters.telemetry import OtelTelemetry
    from pipeline.config.models import Config
    from pipeline.model import SchemaRef
    from pipeline.ports import Found, Producer, Schemas, Unknown

SAY_S: Final = 10.0
"""Between two lines on why a worker does not take up events yet."""


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
        self._schemas = schemas
        self._loop = asyncio.get_running_loop()
        both = topics.tables(config.group)
        folder = state_folder(config, cluster_id)
        shipped = Folders((packaged(),)).readers
        records = Records(both, [shipped[name] for name in tables.RECORDS], self._fetch, self._log)

        def bug(error: BaseException) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(fatal, error)

        self._follower = Follower(
            Folder(folder), lambda: Compacted(settings, both), records, time.time_ns, self._log, bug
        )
        self.tables = FileTables(Folder(folder), time.time_ns, self._log)
        self.marks = KafkaMarks(producer, both, self.tables)
        telemetry.gauge(names.TABLES_BEHIND, self.tables.stale_ms)
        telemetry.gauge(names.TABLES_UNREADABLE, lambda: records.unreadable)

    async def start(self, stopping: asyncio.Event) -> None:
        """Follow the topics, and return once the tables are whole, or the worker is to stop. Waits without bound."""
        self._follower.start()
        self.tables.start()
        whole = asyncio.ensure_future(self.tables.whole())
        stopped = asyncio.ensure_future(stopping.wait())
        try:
            while not (whole.done() or stopped.done()):
                done, _ = await asyncio.wait((whole, stopped), timeout=SAY_S, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    self._log("info", "tables_awaited", behind_ms=self.tables.stale_ms())
        finally:
            whole.cancel()
            stopped.cancel()

    async def close(self) -> None:
        """End following, so that another worker of the machine does; idempotent. Bounded by the follower's STOP_S."""
        await asyncio.to_thread(self._follower.stop)
        self.marks.close()
        self.tables.close()

    def _fetch(self, ref: SchemaRef) -> Found | Unknown | Unreachable:
        """Find a schema for the follower's thread, on the loop, where schemas are kept."""
        asked = asyncio.run_coroutine_threadsafe(self._schemas.fetch(ref), self._loop)
        try:
            return asked.result(2 * FETCH_S)
        except TimeoutError:
            return Unreachable("the worker is too busy, or stops")


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
