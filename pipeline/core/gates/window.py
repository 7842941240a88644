"""Decides whether an event ID came before: the newest ones are remembered, with the position they were read at."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

IDS_REMEMBERED: Final = 20_000
"""Event IDs remembered per worker, some 170 bytes each."""

Place = tuple[str, int, int, int]


class Window:
    """Owner: run/seen. What is older than the newest `most` IDs is no duplicate any more.

    Of a place its hash is kept, a third of its size: two places with one hash are taken for one, so that a duplicate
    would be missed. What is no duplicate is never taken for one.
    """

    __slots__ = ("_ids", "_most", "_places")

    def __init__(self, most: int = IDS_REMEMBERED) -> None:
        self._most = most
        self._places: dict[str, int] = {}
        self._ids: deque[str] = deque()  # oldest first: a dict that loses its first key is slow to find the next

    def repeats(self, event_id: str, place: Place) -> bool:
        """Whether another record brought this ID. The same record read again is none: its partition was away."""
        known = self._places.get(event_id)
        if known is not None:
            return known != hash(place)
        self._places[event_id] = hash(place)
        self._ids.append(event_id)
        if len(self._ids) > self._most:
            del self._places[self._ids.popleft()]
        return False

    def forget(self, records: Iterable[tuple[str, Place]]) -> None:
        """Forget IDs as far as they were read at these places. O(all that are remembered), unless none is."""
        gone = [event_id for event_id, place in records if self._places.get(event_id) == hash(place)]
        for event_id in gone:
            self._places.pop(event_id, None)
        if gone:
            self._ids = deque(each for each in self._ids if each in self._places)
