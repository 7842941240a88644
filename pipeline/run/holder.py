"""What run/consume asks of whoever keeps records that are not to be taken up yet, and what that asks of a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.core.offsets import Tracker
    from pipeline.model import Record

HELD_RECORDS: Final = 1_000
"""Records held per partition before fetching it pauses; of a log with those under way."""
HELD_BYTES: Final = 1_048_576
"""Bytes held per partition, headers included, before fetching it pauses.

Not shared: what waits six hours would stop what waits 10 s.
"""
NO_ROOM_S: Final = 0.01
"""How soon is looked again when there was no room for all that may go."""
AT_MOST_S: Final = 1.0
"""Never more than that is waited at once: the wall clock may be set meanwhile."""


def header_bytes(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Return how many bytes headers count as: a producer's may be larger than the event, and so may a run's state."""
    return sum(len(name) + len(content or b"") for name, content in headers)


class Holder(Protocol):
    """Keeps what was fetched and is not to be taken up yet: run/release until it is due, run/turns until its turn."""

    def assigned(self, tracker: Tracker) -> None:
        """Prepare for records of a partition that is ours from now on."""

    def hold(self, records: list[Record]) -> None:
        """Take records over until they are to be taken up."""

    def passed(self, record: Record) -> None:
        """Note a record that was finished already, and came again."""

    def upcoming(self, most: int) -> list[Record]:
        """Return what is to be taken up next, as far as that is known, at most so many."""

    def forget(self, key: tuple[str, int]) -> None:
        """Drop a partition that is not ours any more; its records were never committed."""

    def close(self) -> None:
        """Let nothing go any more."""


class Spare(Protocol):
    """What is asked of a lane."""

    def spare(self) -> int:
        """Return how many parked deliveries it could take up now."""

    def steady(self) -> bool:
        """Whether it has been well for a while, or has looked in vain for a probe."""

    def takes(self) -> bool:
        """Whether it takes deliveries."""

    def holding(self) -> bool:
        """Whether anything of it is held back by hand."""
