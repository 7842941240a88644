"""What a configuration sends: each value of an event that goes to a destination, with its personal-data class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.config.journey import JourneyConfig

UNCLASSIFIED: Final = "unclassified"
"""Text of no class: what the record's own schema says is only known once records come."""

PERSONAL: Final = frozenset(("identifier", "contact", "free_text", UNCLASSIFIED))
SENDING: Final = ("live", "paused")
"""Statuses of a journey that sends, now or once it is resumed."""


class Sent(NamedTuple):
    """One value: sent by a step in `field` (a path in the payload, `query.NAME` in a URL), read from `source`."""

    journey: str
    step: str
    call: str
    field: str
    source: str
    cls: str

    @property
    def destination(self) -> str:
        """Name of the destination it goes to."""
        return self.call.partition(".")[0]

    @property
    def is_personal(self) -> bool:
        """Whether it may be personal data."""
        return self.cls in PERSONAL


def sending(sent: Iterable[Sent], journeys: Mapping[str, JourneyConfig]) -> tuple[Sent, ...]:
    """Return what journeys send whose status lets them."""
    return tuple(each for each in sent if journeys[each.journey].status in SENDING)
