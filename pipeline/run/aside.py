"""Sets records of a crowded partition aside until what is finished there is sure to fit the commit's metadata again.

A partition gets crowded when very many positions, scattered, stay open while the rest is finished. It waits alone: with
the whole worker waiting, one stuck destination would stop partitions that have no part in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.core.offsets import Tracker
    from pipeline.model import Record
    from pipeline.ports import Source, Telemetry
    from pipeline.run.commits import Commits

CROWDED_S: Final = 0.05
"""How soon a crowded partition looks again."""

_Key = tuple[str, int]


class Aside:
    """Owner of what is fetched and not received. Of a partition, at most what was posted before it was paused."""

    def __init__(
        self, commits: Commits, source: Source, telemetry: Telemetry, again: Callable[[Iterable[Record]], None]
    ) -> None:
        """`again` is called on the loop with the records of one partition, in order, once there is room."""
        self.kept: dict[_Key, tuple[Tracker, deque[Record]]] = {}
        self._commits = commits
        self._source = source
        self._telemetry = telemetry
        self._again = again
        self._loop = asyncio.get_running_loop()

    def keeps(self, tracker: Tracker, record: Record) -> bool:
        """Keep a record if its partition is crowded, or if some that came before it are kept."""
        key = (record.topic, record.partition)
        kept = self.kept.get(key)
        if kept is None:
            if tracker.next < tracker.room_upto or not self._commits.crowded(tracker):
                return False
            self._telemetry.log("warning", "partition_crowded", topic=key[0], partition=key[1])
            if not self.kept:
                self._loop.call_later(CROWDED_S, self._look)
            kept = self.kept[key] = (tracker, deque())
        kept[1].append(record)
        self._source.pause(*key)  # each time: what else pauses it may have resumed it
        return True

    def forget(self, key: _Key) -> None:
        """Drop a partition that is being given up: its records were never received."""
        self.kept.pop(key, None)

    def _look(self) -> None:
        for key, (tracker, records) in list(self.kept.items()):
            if not self._commits.crowded(tracker):
                del self.kept[key]
                self._source.resume(*key)
                self._again(records)
        if self.kept:
            self._loop.call_later(CROWDED_S, self._look)
