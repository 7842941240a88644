"""Looks back into logs of journeys that keep order: a partition read to its present end, in no group."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.adapters.kafka.reader import read_topic
from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.model import Record

ALL: Final = (1 << 63) - 1
"""No offset is as large: to the end that there is."""


class Logs:
    """Implements run/past's LogReader. Each reading has a consumer and a thread of its own."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings

    async def read(self, topic: str, partition: int, first: int, note: Callable[[Record], None]) -> None:
        """See run/past."""
        await asyncio.to_thread(self._read, topic, partition, first, note)

    def _read(self, topic: str, partition: int, first: int, note: Callable[[Record], None]) -> None:
        try:
            for record in read_topic(self._settings, topic, begin={partition: first}, end={partition: ALL}):
                note(record)
        except TopicMissing as error:
            raise BrokerError(f"the topic {topic} is gone") from error
