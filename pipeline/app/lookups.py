"""Gives one worker the look-ups that its journeys read: what follows their topics, and what answers."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import orjson

from pipeline.adapters.kafka.compacted import Compacted
from pipeline.adapters.tables import Folder, Follower
from pipeline.adapters.tables.rows import FileRows, RowRecords
from pipeline.app.following import Home, until
from pipeline.config import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pipeline.config.lookup import Lookup
    from pipeline.config.models import Config
    from pipeline.model import Rows
    from pipeline.ports import Schemas

LEFT_S: Final = 86_400.0
"""A file that nobody followed for so long, of a look-up that is described otherwise by now, is removed."""


class CustomerRows:
    """Owner of the parts, and implements ports.Lookups. Built on the running loop; `start` before the first event."""

    def __init__(
        self,
        config: Config,
        settings: Mapping[str, str],
        folder: Path,
        schemas: Schemas,
        log: Callable[..., None],
        fatal: Callable[[BaseException], None],
    ) -> None:
        """`folder` is the group's, for tables. Blocks on files."""
        self._log = log
        home = Home(schemas, fatal)
        self._followers: list[Follower] = []
        self._files: dict[str, FileRows] = {}
        self._records: list[RowRecords] = []
        for name, lookup in rows.used(config).items():
            told = partial(_told, log, name)
            place = _place(folder, name, lookup)
            records = RowRecords(rows.row(lookup), home.fetch, told)
            opened = partial(Compacted, settings, [lookup.topic])
            self._followers.append(Follower(Folder(place), opened, records, time.time_ns, told, home.bug))
            self._files[name] = FileRows(Folder(place), time.time_ns, told)
            self._records.append(records)

    def rows(self, customer_id: str, names: tuple[str, ...], lag_max_ms: int) -> Rows | None:
        """See ports.Lookups."""
        found: dict[str, Mapping[str, object]] = {}
        for name in names:
            file = self._files.get(name)
            row = file.row(customer_id, lag_max_ms) if file is not None else None
            if row is None:
                return None
            found[name] = row
        return found

    def stale_ms(self) -> int:
        """Return how far the one that is most behind may be."""
        return max((each.stale_ms() for each in self._files.values()), default=0)

    def unreadable(self) -> int:
        """Count records met that could not be read."""
        return sum(each.unreadable for each in self._records)

    async def start(self, stopping: asyncio.Event) -> None:
        """Follow the topics, and return once all rows are there, or the worker is to stop. Waits without bound."""
        for follower in self._followers:
            follower.start()
        for file in self._files.values():
            file.start()
        whole = asyncio.gather(*(file.whole() for file in self._files.values()))
        await until(whole, stopping, lambda: self._log("info", "lookups_awaited", behind_ms=self.stale_ms()))

    async def close(self) -> None:
        """End following, so that another worker of the machine does; idempotent."""
        await asyncio.gather(*(asyncio.to_thread(each.stop) for each in self._followers))
        for file in self._files.values():
            file.close()


def _told(log: Callable[..., None], name: str, level: str, event: str, **fields: object) -> None:
    log(level, event, lookup=name, **fields)


def _place(folder: Path, name: str, lookup: Lookup) -> Path:
    """Return the folder of a look-up as it is described now, made if need be; remove what others left long ago."""
    described = orjson.dumps(lookup.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
    place = folder / f"lookup-{name}-{hashlib.sha256(described).hexdigest()[:8]}"
    place.mkdir(mode=0o700, exist_ok=True)
    for other in folder.glob(f"lookup-{name}-????????"):
        with suppress(OSError):
            last_s = max((each.stat().st_mtime for each in other.iterdir()), default=other.stat().st_mtime)
            if other != place and time.time() - last_s > LEFT_S:
                shutil.rmtree(other, ignore_errors=True)
    return place
