"""Decides whether a topic's records are keyed so that each customer's lie in one partition.

Proof to the contrary is asked for, never proof of it. When partitions are added, customers move to other ones, once:
what a customer has in the old partition is from before that moment, what is in the new one from after it, and the
moment is the same for all. So customers in two partitions prove nothing as long as one such moment explains all of
them; a customer in three is explained by none.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_ADDITION: Final = 2
"""Most partitions a customer is seen in if partitions were added once."""


class Sightings:
    """Where customers were seen, and when. Kept for one look at a topic; the caller bounds how many."""

    def __init__(self) -> None:
        self._spans: dict[str, dict[int, tuple[int, int]]] = {}
        self.events = 0

    def saw(self, customer_id: str, partition: int, time_ms: int) -> None:
        """Note one record of a customer; its time is the record's (Unix ms), in any order; 0 is unknown."""
        self.events += 1
        spans = self._spans.setdefault(customer_id, {})
        first, last = spans.get(partition, (time_ms, time_ms))
        spans[partition] = min(first, time_ms), max(last, time_ms)

    def customers(self) -> int:
        """Return how many different customers were seen."""
        return len(self._spans)

    def scattered(self) -> bool:
        """Whether customers lie in several partitions and no one addition of partitions explains that."""
        if any(len(spans) > ONE_ADDITION for spans in self._spans.values()):
            return True
        latest_before, earliest_after = None, None
        for before, after in self._moves():
            latest_before = before if latest_before is None else max(latest_before, before)
            earliest_after = after if earliest_after is None else min(earliest_after, after)
        return latest_before is not None and earliest_after is not None and latest_before > earliest_after

    def _moves(self) -> Iterator[tuple[int, int]]:
        """Yield, for each customer and each change of partition, the last time before it and the first one after."""
        for spans in self._spans.values():
            ordered = sorted(spans.values())
            for (_, last), (first, _) in pairwise(ordered):
                yield last, first
