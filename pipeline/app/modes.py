"""Keeps a group that has sent for real from being worked on by workers that send nothing: its events would be lost.

The first live worker of a group writes `mode` to its control topic. A worker in mode redirect or dry that reads it does
not start, and one that runs already stops before it takes more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from pipeline.errors import ConfigError
from pipeline.said import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.config.models import Config
    from pipeline.model import Problem
    from pipeline.ports import Clock, Producer

KEY: Final = b"mode"
LIVE: Final = "live"


class ModeGuard:
    """What the control topic says of the group's mode. Owner: a worker, which hands it the topic's records."""

    def __init__(self, config: Config, fatal: Callable[[BaseException], None]) -> None:
        """`fatal` stops the worker once another one turns out to be live."""
        self._config = config
        self._fatal = fatal
        self._live = False
        self._begun = False

    def note(self, key: bytes | None, content: bytes | None) -> bool:
        """Take one record; False if it is about something else. A damaged one counts as live: nothing may be lost."""
        if key != KEY:
            return False
        self._live = content is not None and _mode(content) == LIVE
        if self._begun and self._refused():
            self._fatal(ConfigError((self._problem(),)))
        return True

    def begin(self, producer: Producer, topic: str, clock: Clock) -> None:
        """Say that the group is live if it is, once all the topic says is known. Raises ConfigError."""
        self._begun = True
        if self._refused():
            raise ConfigError((self._problem(),))
        if self._config.mode == LIVE and not self._live:
            since = orjson.dumps({"mode": LIVE, "since_ms": clock() // 1_000_000})
            producer.produce(topic, KEY, since, [], _acked)

    def _refused(self) -> bool:
        return self._live and self._config.mode != LIVE

    def _problem(self) -> Problem:
        group = self._config.group
        message = f"group {group} sends for real on these brokers: its events would end here, sent to nobody"
        return _at_mode(self._config, message, "give this environment `kafka` or a `group` of its own")


def stays(before: Config, after: Config) -> None:
    """Raise ConfigError if a running worker would come to be of another mode."""
    if after.mode != before.mode:
        message = f"is not what the workers run in, which is {before.mode}"
        raise ConfigError((_at_mode(after, message, "start them anew"),))


def _at_mode(config: Config, message: str, hint: str) -> Problem:
    return config.problem(f"env/{config.env}.yaml", ("mode",), message, hint)


def _mode(content: bytes) -> object:
    try:
        return orjson.loads(content)["mode"]
    except DAMAGED:
        return LIVE


def _acked(_refused: object, _record: object) -> None:
    """Nothing waits for it: the next live worker writes it again if it did not get there."""
