"""Tells people of failures: owner of the digests, one for each of hookline.yaml's `alerts` that a live step names."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.adapters.alerts import Unusable, connected, is_installed
from pipeline.config import alerts
from pipeline.core.alerts import Digest, Place, Share, trial
from pipeline.errors import ConfigError, Problem
from pipeline.model import value
from pipeline.run.misses import TRIGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipeline.config.alerts import Audience
    from pipeline.config.models import Config
    from pipeline.config.secrets import Secrets
    from pipeline.core.alerts import Message
    from pipeline.model import Delivery, Outcome
    from pipeline.ports import Clock, Halt, LaneStats, Notifier
    from pipeline.run.misses import Misses

LOOK_S: Final = 1.0
"""How often breakers and conditions are looked at, and digests asked: the first message is at most so late."""
SHARE_WINDOW_MS: Final = 300_000
"""Conditions that failed are compared with how often they were asked in about so long."""


@value
class Recipients:
    """Who is told of what, and where: URLs by alert. It has no repr of them: they are secrets."""

    audience: Audience
    urls: Mapping[str, str] = field(repr=False)


def recipients(config: Config, secrets: Secrets) -> Recipients:
    """Return who is to be told: in mode live only, so that nobody is called for what was not sent to anybody.

    Blocks on files. Raises ConfigError for URLs without a value or a library missing.
    """
    audience = alerts.audience(config if config.mode == "live" else config.model_copy(update={"journeys": {}}))
    if audience.digest_ms and not is_installed():
        raise _missing()
    return Recipients(audience, alerts.urls(config, secrets, audience.digest_ms))


def attempt(url: str, about: str) -> str:
    """Send a message that says it is a test; return what is wrong, or "". Blocks. Raises ConfigError: no library."""
    if not is_installed():
        raise _missing()
    message = trial(about)
    try:
        sent = connected(url)(message.title, message.body, True)
    except Unusable:
        return "its url is none that Apprise knows: https://github.com/caronc/apprise/wiki lists them"
    return "" if sent else "the message was not taken: check the url, and that its host can be reached from here"


def _missing() -> ConfigError:
    why = "alerts need a library that is not installed"
    return ConfigError((Problem("hookline.yaml", 0, 0, "alerts", why, "pip install 'hookline[alerts]'"),))


class Alerting:
    """Owner of the digests. All calls on the loop; none blocks, and none is made for a delivery that goes well."""

    def __init__(
        self,
        audience: Audience,
        notifier_: Notifier,
        stats: Mapping[str, LaneStats],
        misses: Misses,
        clock: Clock,
        log: Callable[..., None],
        about: str,
        halts: Callable[[], Iterable[Halt]] = tuple,
    ) -> None:
        """Begin to look at `stats` (by destination), `misses` and `halts`. `about` is what messages say of the sender.

        What stands still is everybody's business: all alerts that a live step names are told.
        """
        self.results: dict[tuple[str, ...], int] = {}
        """Messages by alert and what became of them: sent | failed. May be copied in any thread."""
        self._audience = audience
        self._notifier = notifier_
        self._stats = stats
        self._misses = misses
        self._clock = clock
        self._log = log
        self._halts = halts
        self._digests = {name: Digest(ms, about) for name, ms in audience.digest_ms.items()}
        self._before: dict[tuple[str, ...], tuple[int, int]] = {}
        self._window_ms = self._now_ms()
        self._seen: dict[tuple[str, ...], int] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def failed(self, delivery: Delivery, outcome: Outcome, cls: str) -> None:
        """Note a delivery that ended dead, rejected or defaulted, if its step names somebody to be told."""
        step = delivery.step
        if not step.alerts:
            return
        event = delivery.run.flight.event
        place = Place(step.journey, step.name, step.destination, outcome.value, cls)
        now_ms = self._now_ms()
        for name in step.alerts:
            digest = self._digests.get(name)  # a run of an older definition may name one that is gone
            if digest is not None:
                digest.failed(place, event.id if event is not None else "", now_ms)

    def worker_failed(self, why: str) -> None:
        """Tell everybody, now, that this worker stops and nobody told it to. `why` is a class of errors, no data."""
        now_ms = self._now_ms()
        for digest in self._digests.values():
            digest.stopped(why, now_ms)
        self._tell(now_ms)

    async def close(self) -> None:
        """Look no more; tell what is still to be told, and wait some seconds at most until it is sent. Idempotent."""
        self._timer.cancel()
        self._tell(self._now_ms(), last=True)
        await asyncio.to_thread(self._notifier.close)

    # ------------------------------------------------------------------------------------------------- looking

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        now_ms = self._now_ms()
        for destination, names in self._audience.destinations.items():
            stats = self._stats[destination]
            if stats.state != "half-open":  # a probe is under way: neither news
                cls = (str(stats.last_class) or "unknown") if stats.state == "open" else ""
                for name in names:
                    self._digests[name].breaker(destination, cls, now_ms)
        self._look_at_conditions(now_ms)
        standing = {halt.what: halt.why for halt in self._halts()}
        for digest in self._digests.values():
            digest.halted(standing, now_ms)
        self._tell(now_ms)

    def _look_at_conditions(self, now_ms: int) -> None:
        misses = self._misses
        for key, count in misses.conditions.items():
            if count == self._seen.get(key):
                continue
            self._seen[key] = count
            journey, place = key
            asked = self._asked(journey, place)
            failed_before, asked_before = self._before.get(key, (0, 0))
            share = Share(count - failed_before, max(asked - asked_before, count - failed_before))
            for name in self._audience.conditions.get(key, ()):
                self._digests[name].conditions(journey, place, share, now_ms)
        if now_ms - self._window_ms > SHARE_WINDOW_MS:
            self._window_ms = now_ms
            self._before = {key: (count, self._asked(*key)) for key, count in misses.conditions.items()}

    def _asked(self, journey: str, place: str) -> int:
        """Return how often a condition was asked: a trigger's of every event of its types, a step's in every run."""
        misses = self._misses
        if place == TRIGGER:
            return sum(misses.taken.get(each, 0) for each in self._audience.types.get(journey, ()))
        return misses.runs.get(journey, 0)

    # ------------------------------------------------------------------------------------------------- telling

    def _tell(self, now_ms: int, *, last: bool = False) -> None:
        for name, digest in self._digests.items():
            message = digest.due(now_ms, last=last)
            if message is None:
                continue

            done = partial(self._sent, name, message)
            if not self._notifier.send(name, message.title, message.body, done, well=message.well):
                self._done(name, message, sent=False)

    def _sent(self, name: str, message: Message, sent: bool) -> None:  # noqa: FBT001 - the port's own
        """Take what became of a message from the notifier's thread to the loop, unless the worker has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(partial(self._done, name, message, sent=sent))

    def _done(self, name: str, message: Message, *, sent: bool) -> None:
        result = (name, "sent" if sent else "failed")
        self.results[result] = self.results.get(result, 0) + 1
        if not sent:
            self._digests[name].undone(message)
            self._log("error", "alert_failed", alert=name, remedy=f"hookline alert test {name}")

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000
