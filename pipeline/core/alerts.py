"""Decides when somebody is told that deliveries fail, and in which words: the first at once, then digests.

A message names journeys, steps, destinations, failure classes, places of conditions and events; never a value.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES_MAX: Final = 200
"""Places of failures told apart between two messages; what fails elsewhere is counted together."""
LINES_MAX: Final = 10
"""Lines of each kind in a message."""
EVENTS_MAX: Final = 5
"""Event IDs in a message."""
SHARE_MAX: Final = 0.01
"""Of the times a condition was asked: when more of them failed, somebody is told."""

_SAFE: Final = ".:/+"
"""What an event ID shows as it is beside letters, digits and - _ ~: nothing that a chat would act on."""
_ELSEWHERE: Final = ("", "", "", "", "")


@value
class Place:
    """Where deliveries fail, and how. `outcome` and `cls` as in the outcome's record."""

    journey: str
    step: str
    destination: str
    outcome: str
    cls: str


@value
class Share:
    """How often a condition failed of the times it was asked, at a place such as `trigger.when`."""

    failed: int
    asked: int


@value
class Message:
    """What one recipient is told. `well` says that it is good news; `news` is what it tells, should it not arrive."""

    title: str
    body: str
    well: bool
    news: News


class News:
    """What happened since the last message."""

    __slots__ = ("breakers", "events", "failures", "halts", "shares", "since_ms", "stopped")

    def __init__(self) -> None:
        self.failures: Counter[tuple[str, str, str, str, str]] = Counter()
        self.events: list[str] = []
        self.shares: dict[tuple[str, str], Share] = {}
        self.breakers: dict[str, str] = {}  # by destination: the class that opened it, "" if it is closed again
        self.halts: dict[str, str] = {}  # by what stands still: why, "" if it goes on again
        self.stopped = ""
        self.since_ms = 0

    def __bool__(self) -> bool:
        return bool(self.failures or self.shares or self.breakers or self.halts or self.stopped)

    def bad(self) -> bool:
        """Whether it is more than that breakers closed, and what stood still goes on."""
        turned = any(self.breakers.values()) or any(self.halts.values())
        return bool(self.failures or self.shares or self.stopped or turned)

    def add(self, older: News) -> None:
        """Take in what could not be told."""
        for place, count in older.failures.items():
            self.count(place, count)
        self.events = [*older.events, *self.events][:EVENTS_MAX]
        self.shares = older.shares | self.shares
        self.breakers = older.breakers | self.breakers
        self.halts = older.halts | self.halts
        self.stopped = self.stopped or older.stopped
        self.since_ms = older.since_ms or self.since_ms

    def count(self, place: tuple[str, str, str, str, str], count: int = 1) -> None:
        """Count failures at a place."""
        if place not in self.failures and len(self.failures) >= PLACES_MAX:
            place = _ELSEWHERE
        self.failures[place] += count


class Digest:
    """One recipient's messages. `about` goes under each: which group, which worker.

    The first news is told at once, what follows no sooner than `digest_ms` after the last message. A period without
    news ends it: one message says that all is well, and the next failure is a first one again.
    """

    __slots__ = ("_about", "_digest_ms", "_news", "_next_ms", "_open", "_standing", "_telling")

    def __init__(self, digest_ms: int, about: str) -> None:
        self._digest_ms = digest_ms
        self._about = about
        self._news = News()
        self._open: dict[str, str] = {}
        self._standing: dict[str, str] = {}
        self._telling = False  # that there is trouble, and not yet that it is over
        self._next_ms = 0

    def failed(self, place: Place, event_id: str, now_ms: int) -> None:
        """Note a delivery that failed for good."""
        news = self._noted(now_ms)
        news.count((place.journey, place.step, place.destination, place.outcome, place.cls))
        if len(news.events) < EVENTS_MAX and event_id not in news.events:
            news.events.append(event_id)

    def conditions(self, journey: str, place: str, share: Share, now_ms: int) -> None:
        """Note that a condition failed; told if that was more than SHARE_MAX of the times it was asked."""
        if share.failed > SHARE_MAX * share.asked:
            self._noted(now_ms).shares[journey, place] = share

    def breaker(self, destination: str, cls: str, now_ms: int) -> None:
        """Note that a destination's breaker opened, for a failure class, or closed again (class "")."""
        if (destination in self._open) == bool(cls):
            return
        if cls:
            self._open[destination] = cls
        else:
            del self._open[destination]
        self._noted(now_ms).breakers[destination] = cls

    def halted(self, standing: Mapping[str, str], now_ms: int) -> None:
        """Note all that stands still now, each with its reason; what did and is not among it goes on."""
        if standing.keys() == self._standing.keys():
            return
        news = self._noted(now_ms)
        for what in standing.keys() | self._standing.keys():
            if (what in standing) != (what in self._standing):
                news.halts[what] = standing.get(what, "")
        self._standing = dict(standing)

    def stopped(self, why: str, now_ms: int) -> None:
        """Note that the worker stops for a reason that is no order. That is told whenever the last message was."""
        self._noted(now_ms).stopped = why
        self._next_ms = 0

    def due(self, now_ms: int, *, last: bool = False) -> Message | None:
        """Return what is to be told now, if anything; it counts as told. The `last` time, bad news waits no longer."""
        if now_ms < self._next_ms and not (last and self._news.bad()):
            return None
        news = self._news
        well = self._telling and not news.bad() and not self._open and not self._standing
        if not news.bad() and not well:
            return None
        self._news = News()
        self._next_ms = now_ms + self._digest_ms
        self._telling = not well
        return Message(
            _title(news, well=well), _body(news, self._open, self._standing, self._about, well=well), well, news
        )

    def undone(self, message: Message) -> None:
        """Take back a message that could not be sent: the next one tells it too."""
        self._telling = True
        if message.news.bad():
            self._news.add(message.news)

    def _noted(self, now_ms: int) -> News:
        news = self._news
        if not news:
            news.since_ms = now_ms
        return news


def trial(about: str) -> Message:
    """Return a message that says it is a test."""
    return Message("Hookline: a test", f"Alerts reach you here. Nothing is wrong.\n\n{about}", True, News())


def _title(news: News, *, well: bool) -> str:
    if well:
        return "Hookline: all is well again"
    if news.stopped:
        return "Hookline: a worker stopped"
    if still := sorted(what for what, why in news.halts.items() if why):
        return f"Hookline: {still[0]} stands still"
    failed = news.failures.total()
    if failed:
        return f"Hookline: {failed:,} {'delivery' if failed == 1 else 'deliveries'} failed"
    opened = sorted(name for name, cls in news.breakers.items() if cls)
    return f"Hookline: {opened[0]} does not take deliveries" if opened else "Hookline: conditions fail"


def _body(news: News, still_open: dict[str, str], standing: dict[str, str], about: str, *, well: bool) -> str:
    parts = [
        [f"The worker stopped: {news.stopped}. What it had under way is done again by others."] if news.stopped else [],
        [f"{what} stands still: {why}. Nothing is lost; see: hookline status" for what, why in sorted(standing.items())]
        + [f"{what} goes on again" for what, why in sorted(news.halts.items()) if not why],
        _failures(news),
        _shown([
            f"{share.failed / share.asked if share.asked else 1:.1%} of {share.asked:,} times the condition failed: "
            f"{journey} {place}"
            for (journey, place), share in news.shares.items()
        ]),
        _shown(_breakers(news, still_open)),
        ["Nothing failed since the last message."] if well else [],
        ["Look closer: hookline trace ID, with " + ", ".join(quote(each, safe=_SAFE) for each in news.events)]
        if news.events
        else [],
        [about + ("" if well else f", since {datetime.fromtimestamp(news.since_ms // 1_000, UTC):%H:%M:%S} UTC")],
    ]  # fmt: skip
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _failures(news: News) -> list[str]:
    return _shown([
        f"{count:,} {outcome}({cls}): {journey}.{step}" + (f" to {destination}" if destination else "")
        if journey
        else f"{count:,} in other places"
        for (journey, step, destination, outcome, cls), count in news.failures.most_common()
    ])  # fmt: skip


def _breakers(news: News, still_open: dict[str, str]) -> list[str]:
    lines = [f"{name}: takes deliveries again" for name, cls in sorted(news.breakers.items()) if not cls]
    return [f"{name}: its breaker is open ({cls}), runs wait" for name, cls in sorted(still_open.items())] + lines


def _shown(lines: list[str]) -> list[str]:
    more = len(lines) - LINES_MAX
    return lines if more <= 0 else [*lines[:LINES_MAX], f"… and {more} more"]
