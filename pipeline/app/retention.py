"""Deletes retry records once settled: below the committed offset nobody needs them, and they hold customer data.

Their topics have no retention of their own, since a run may wait as long as its event's max_age.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.run.consume import Intake

EVERY_S: Final = 3_600.0
"""How often; each worker does so for the retry partitions it owns."""

_Position = tuple[str, int]


async def delete_settled(
    intakes: Sequence[Intake],
    delete_before: Callable[[Mapping[_Position, int]], None],
    log: Callable[..., None],
    every_s: float = EVERY_S,
) -> None:
    """Delete what is settled, for ever, until cancelled. A broker that refuses is logged and asked again next time."""
    while True:
        await asyncio.sleep(every_s)
        settled = {
            key: tracker.acked
            for intake in intakes
            if intake.source.role == "retry"
            for key, tracker in intake.trackers.items()
            if tracker.acked > 0
        }
        try:
            await asyncio.to_thread(delete_before, settled)
        except BrokerError as error:
            log("warning", "retry_records_kept", detail=str(error).splitlines()[0])
