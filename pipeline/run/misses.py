"""Notes what came to nothing in a way a misspelt name brings about, and says so: else it is only in the accounts.

A condition that failed names a property the event does not have; a type no journey asks for may be one that almost
any journey does. Each place gets one log line when it first happens and then a share of a summary, each a minute at
most. Names of the configuration and positions only: what an event holds, its type included, is in no text.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.model import Record

TYPES_REMEMBERED: Final = 1_000
"""Event types compared with those journeys ask for; later ones count as like none, since a producer may invent them."""
ALIKE: Final = 0.8
"""How much alike two types must be (difflib's ratio) for one to be taken for the other misspelt."""
TRIGGER: Final = "trigger.when"
"""The place of a journey's own condition; that of a step's is `steps.NAME.when`."""
ONCE: Final = "trigger.once.key"
"""The place of what a customer enters once with."""


class Misses:
    """Owner of the counts. All calls on the loop; the dicts may be copied in any thread."""

    def __init__(self, log: Callable[..., None]) -> None:
        self.conditions: dict[tuple[str, ...], int] = {}
        """Conditions that failed, by journey and place."""
        self.types: dict[tuple[str, ...], int] = {}
        """Events no journey asks for, by input topic and the type journeys ask for that theirs is like, "" for none."""
        self.taken: dict[str, int] = {}
        """Events taken up, by type: those that journeys ask for. `process` counts them itself."""
        self.runs: dict[str, int] = {}
        """Runs started, by journey; likewise."""
        self._log = log
        self._likeness: dict[tuple[str, str], str] = {}
        self._unsaid = [0, 0]  # failed conditions, types that are like one: since the last line

    def condition(self, journey: str, place: str, event_id: str) -> None:
        """Count a condition that failed on an event, once for each run or step that is skipped for it."""
        count = self.conditions[journey, place] = self.conditions.get((journey, place), 0) + 1
        if count > 1:
            self._unsaid[0] += 1
            return
        self._log(
            "warning", "condition_failed", journey=journey, place=place, event_id=event_id,
            remedy="check the names of the properties it reads, and ask has() first for those an event may lack",
        )  # fmt: skip

    def no_journey(self, record: Record, type_: str, event_id: str, wanted: Iterable[str]) -> None:
        """Count an event whose type is not among the `wanted` ones, those of live journeys."""
        known = (record.topic, type_)
        like = self._likeness.get(known)
        if like is None:
            like = self._like(known, wanted)
        key = (record.topic, like)
        count = self.types[key] = self.types.get(key, 0) + 1
        if count > 1:
            self._unsaid[1] += like != ""
            return
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset, "event_id": event_id}
        if like:
            self._log("warning", "event_type_misspelt", **place, like=like,
                      remedy="either the producer or the journey's trigger.events has it wrong")  # fmt: skip
        else:
            self._log("info", "event_type_without_journey", **place)

    def misspelt(self) -> dict[tuple[str, ...], int]:
        """Count events whose type is like one that is asked for, by input topic and that type. Safe in any thread."""
        return {key: count for key, count in self.types.copy().items() if key[1]}

    def sum_up(self) -> None:
        """Write one line about what happened since the last one, if anything did. Call it once a minute or less."""
        if any(self._unsaid):
            failed, misspelt = self._unsaid
            self._unsaid = [0, 0]
            most = max(self.conditions, key=lambda each: self.conditions[each], default=("", ""))
            self._log("warning", "events_came_to_nothing", conditions_failed=failed, types_misspelt=misspelt,
                      journey=most[0], place=most[1])  # fmt: skip

    def _like(self, known: tuple[str, str], wanted: Iterable[str]) -> str:
        if len(self._likeness) >= TYPES_REMEMBERED:
            return ""
        found = get_close_matches(known[1], wanted, 1, ALIKE)
        like = self._likeness[known] = found[0] if found else ""
        return like
