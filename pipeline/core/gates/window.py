"""Decides whether an event ID came before: the newest ones are remembered, with the position they were read at."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

IDS_REMEMBERED: Final = 20_000
"""Event IDs remembered per worker, some 200 bytes each."""

Place = tuple[str, int, int, int]


class Window:
    """Owner: run/process. What is older than the newest `most` IDs is no duplicate any more."""

    __slots__ = ("_most", "_places")

    def __init__(self, most: int = IDS_REMEMBERED) -> None:
        self._most = most
        self._places: OrderedDict[str, Place] = OrderedDict()

    def repeats(self, event_id: str, place: Place) -> bool:
        """Whether another record brought this ID. The same record read again is none: its partition was away."""
        known = self._places.setdefault(event_id, place)
        if known is place:
            if len(self._places) > self._most:
                self._places.popitem(last=False)
            return False
        return known != place
