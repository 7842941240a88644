"""Opens what this worker notes on disk of the records it takes up, and reads what dead ones left there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.adapters.taking import Taking, found
from pipeline.app.tables import state_folder
from pipeline.config import topics
from pipeline.run.suspects import Suspects

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.app.switchboard import Switchboard
    from pipeline.config.models import Config
    from pipeline.core.crashes import Position
    from pipeline.ports import Clock
    from pipeline.run.settle import Settlement


class Watched:
    """`found` are the records over which workers of this machine died; `noted` is where this one notes its own.

    None if the disk takes nothing: a worker goes on without it, and a record that kills it is not found out.
    """

    def __init__(self, found: list[Position], noted: Taking | None) -> None:
        self.found = found
        self.noted = noted

    def suspects(self, clock: Clock, settlement: Settlement, switchboard: Switchboard) -> Suspects:
        """Make what notes records, and knows over which ones workers of the fleet died."""
        return Suspects(clock, settlement.unsettled, switchboard.crashes, self.noted, switchboard.survived)

    def close(self) -> None:
        """Leave no file behind, unless the worker ends over a record."""
        if self.noted is not None:
            self.noted.close()


def watched(config: Config, cluster_id: str, log: Callable[..., None]) -> Watched:
    """Open it, in the folder of the tables. Blocks on the file system. Raises ConfigError without a folder."""
    folder = state_folder(config, cluster_id)
    consumed = (*topics.read(config, ()), *topics.retry_topics(config), *topics.logs(config).values())
    try:
        return Watched(found(folder), Taking(folder, consumed))
    except OSError as error:
        log("warning", "crashes_unwatched", detail=error.strerror or type(error).__name__)
        return Watched([], None)
