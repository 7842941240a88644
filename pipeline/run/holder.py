"""What run/consume asks of whoever keeps records that are not to be taken up yet, and what that asks of a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.core.offsets import Tracker
    from pipeline.model import Record


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
