"""What a run of the simulation knows for sure: what was published, remembered, paused. Seconds are the world's own.

Written by the world as it happens, read by `promises` and `closing`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.models import Config, JourneyConfig
    from pipeline.testing.simulation.words import Words
    from pipeline.testing.stage.broker import Place


@value
class Published:
    """One event. `number` is its short name; `flags` what it says of consent; `level` its value for conditions."""

    number: int
    id: str
    type: str
    customer: str
    key: str
    level: int
    flags: Mapping[str, bool]
    at_ms: int
    place: Place
    offset: int


@value
class Remembered:
    """A record of the memory topic: since when it is there, by whose event or delivery, and who owned its partition."""

    at_s: float
    by: str
    by_ms: int
    owner: object


@value
class Pause:
    """Something that was held back by hand, from a time until another."""

    scope: str
    name: str
    since_s: float
    until_s: float


class Facts:
    """Of one run. `now_s` is time that passes for the fleet: what was leapt over did not."""

    def __init__(self, config: Config, words: Words, now_s: Callable[[], float], now_ms: Callable[[], int]) -> None:
        self.config = config
        self.words = words
        self.now_s = now_s
        self.now_ms = now_ms
        self.events: dict[str, Published] = {}
        self.copies: list[Published] = []
        """Events that were published once more, under the same ID."""
        self.garbage: dict[tuple[str, int, int], bytes | None] = {}
        """Records that are no events, by position."""
        self.happened: dict[tuple[str, str], list[Remembered]] = defaultdict(list)
        """Events that journeys wait for, by customer and type."""
        self.contacts: dict[tuple[str, str, str], list[Remembered]] = defaultdict(list)
        """By customer, category and channel."""
        self.pauses: list[Pause] = []
        self.faults: dict[str, int] = {}
        self.set_back_s = 0.0
        """How far the wall clock was set back in all: what is measured by it lasts longer by so much."""
        self.unheard_s = 0.0
        """The longest that any worker did not follow what customers say."""
        self.unread_s = 0.0
        """The longest that any worker could not read what is remembered."""

    def name(self, event_id: str) -> str:
        """Return an event's short name."""
        found = self.events.get(event_id)
        return f"event {found.number}" if found is not None else "no event"

    def hit(self, *faults: str) -> bool:
        """Whether any of these faults happened."""
        return any(each in self.faults for each in faults)

    def crashed(self) -> bool:
        """Whether anything happened after which deliveries may be repeated."""
        if self.hit("crash", "zombie", "fatal", "jump", "foreign"):
            return True
        # A write that takes longer than a drain may is not waited for.
        return self.hit("refusal", "unheard", "unread") and self.hit("stop", "start", "rebalance")

    def starts(self, event: Published) -> list[JourneyConfig]:
        """Return the journeys an event starts a run of, by the configuration as it is written."""
        return [
            each
            for each in self.config.journeys.values()
            if each.status != "draft" and event.type in each.trigger.events and event.level >= threshold(each)
        ]


def threshold(journey: JourneyConfig) -> int:
    """Return what an event's value must be at least to start a journey that was drawn."""
    return int((journey.trigger.when or "0").rpartition(" ")[2])
