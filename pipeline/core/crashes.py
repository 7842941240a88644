"""Decides from the control topic which records crashed their worker, how often, and which are given up for it.

A record that kills the process it is taken up in would kill the next one too, and the one after that. Whoever finds
that a worker died over a record counts it here, for the whole fleet; at CRASHES_MAX it is not taken up any more.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import orjson

from pipeline import said
from pipeline.said import DAMAGED, whole

CRASHES_MAX: Final = 3
"""A record over which so many workers died is put on the dead topic, class `bug`, without being taken up again."""
GIVEN_UP_MAX: Final = 10
"""So many records are given up within KEPT_MS: more of them are no accident, and the intake waits."""
KEPT_MS: Final = 3_600_000
"""How long a record that was given up is remembered."""
COUNT_MAX: Final = 1_000
"""What is believed of a count that somebody wrote."""
_CRASH: Final = b"crash/"
_KEY: Final = re.compile(_CRASH + rb"([A-Za-z0-9._-]{1,249})/(0|[1-9][0-9]{0,9})/(0|[1-9][0-9]{0,18})")
"""What `key` writes, within Kafka's bounds: 249 characters, 32 and 64 bits. What else begins like that is damaged."""

Position = tuple[str, int, int]
"""Topic, partition and offset of a consumed record."""


class Crashes:
    """Takes records of the control topic in their order. Owner: the worker that reads it."""

    __slots__ = ("_at_ms", "suspects")

    def __init__(self) -> None:
        self._at_ms: dict[Position, int] = {}
        self.suspects: dict[Position, int] = {}
        """Records over which workers died, and how many did."""

    def note(self, key: bytes | None, content: bytes | None) -> bool:
        """Take one record; return whether it is about crashes, damaged or not."""
        if key is None or not key.startswith(_CRASH):
            return False
        position = _position(key)
        if position is None:
            return True
        if content is None:
            self.suspects.pop(position, None)
            self._at_ms.pop(position, None)
            return True
        try:
            doc = orjson.loads(content)
            crashes, at_ms = whole(doc["crashes"]), said.at_ms(doc["at"])
        except DAMAGED:
            return True
        if 0 < crashes <= COUNT_MAX:
            self.suspects[position], self._at_ms[position] = crashes, at_ms
        return True

    def given_up(self, now_ms: int) -> int:
        """Return how many records were given up lately."""
        return sum(
            crashes >= CRASHES_MAX and now_ms - self._at_ms[position] < KEPT_MS
            for position, crashes in self.suspects.items()
        )

    def over(self, now_ms: int) -> list[Position]:
        """Return what need not be remembered any more: given up long ago, or never seen again."""
        return [position for position, at_ms in self._at_ms.items() if now_ms - at_ms > KEPT_MS]

    def count(self, position: Position, who: str, at_ms: int) -> tuple[bytes, bytes]:
        """Count one more crash; return the record that tells of it."""
        crashes = min(self.suspects.get(position, 0) + 1, COUNT_MAX)
        self.suspects[position], self._at_ms[position] = crashes, at_ms
        at = datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
        return key(position), orjson.dumps({"crashes": crashes, "who": who, "at": at})


def key(position: Position) -> bytes:
    """Name the record about a position. A topic's name has no slash (Kafka allows letters, digits and . _ -)."""
    topic, partition, offset = position
    return b"%s%s/%d/%d" % (_CRASH, topic.encode(), partition, offset)


def _position(key: bytes) -> Position | None:
    found = _KEY.fullmatch(key)
    return (found[1].decode(), int(found[2]), int(found[3])) if found is not None else None
