"""Writes JSON log lines to stderr, and makes the libraries' own logging take the same way.

Only scalars pass, bounded in length: an object's text may quote data. A library's message is written with its values
only where that library is known to name none of ours; otherwise its template alone, and of an exception its class and
place.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS: Final[Mapping[str, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
TEXT_CHARS_MAX: Final = 500
_TELLING: Final = ("hookline", "librdkafka", "confluent_kafka", "opentelemetry")
"""Loggers whose messages name brokers, topics and endpoints, never an event: written in full."""


class Log:
    """One stream of JSON lines: timestamp, level, event, then the fields given. Safe to use from any thread."""

    def __init__(self, level: str = "info", stream: BinaryIO | None = None) -> None:
        self._least = LEVELS[level]
        self._stream = stream if stream is not None else sys.stderr.buffer
        self._whole = threading.Lock()  # one line at a time

    def write(self, level: str, event: str, fields: Mapping[str, object]) -> None:
        """Write one line if the level is high enough; of a field that is no scalar only the name, under `withheld`."""
        number = LEVELS.get(level, logging.ERROR)
        if number < self._least:
            return
        kept: dict[str, object] = {"level": level}
        withheld: list[str] = []
        for name, content in fields.items():
            if content is None or isinstance(content, (bool, int, float)):
                kept[name] = content
            elif isinstance(content, str):
                kept[name] = str(content)[:TEXT_CHARS_MAX]
            else:
                withheld.append(name)
        if withheld:
            kept["withheld"] = ",".join(withheld)
        kept |= {"event": event, "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
        with self._whole:
            self._stream.write(_serialize(kept) + b"\n")
            self._stream.flush()


class Libraries(logging.Handler):
    """Routes the standard library's logging into a Log, from `open` to `close`; what was set before comes back then."""

    def __init__(self, log: Log, level: str = "warning") -> None:
        super().__init__(LEVELS[level])
        self._log = log
        self._before: tuple[list[logging.Handler], int] | None = None

    def open(self) -> None:
        """Take the place of the root logger's handlers."""
        root = logging.getLogger()
        self._before = (root.handlers[:], root.level)
        root.handlers[:] = [self]
        root.setLevel(self.level)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as a JSON line."""
        known = record.name.startswith(_TELLING)
        try:
            message = record.getMessage() if known else str(record.msg)
        except (TypeError, ValueError):  # a template and arguments that do not fit
            message = str(record.msg)
        fields: dict[str, object] = {"logger": record.name, "message": message}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields["exception"] = type(error).__name__
            fields["at"] = _place(error)
        self._log.write(_level_name(record.levelno), "library_message", fields)

    def close(self) -> None:
        """Give the root logger back; idempotent."""
        if self._before is not None:
            root = logging.getLogger()
            root.handlers[:], level = self._before
            root.setLevel(level)
            self._before = None
        super().close()


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _level_name(number: int) -> str:
    return next((name for name, least in reversed(tuple(LEVELS.items())) if number >= least), "debug")


def _serialize(line: object) -> bytes:
    # A lone surrogate in a library's text is no UTF-8: better an escaped line than none.
    try:
        return orjson.dumps(line)
    except TypeError:
        return orjson.dumps(repr(line).encode("ascii", "backslashreplace").decode())
