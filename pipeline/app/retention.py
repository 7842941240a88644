"""Deletes retry records and copied events once settled: nobody needs them then, and they hold customer data.

Their topics have no retention of their own, since a run may wait as long as its event's max_age, and an event as long
as no worker runs. Of copies, and of the logs of journeys that keep order, some of what is settled stays a while, for
second copies to be told by.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.adapters.kafka.source import LOOK_BACK as COPIES_BACK
from pipeline.errors import BrokerError
from pipeline.run.lines import LOOK_BACK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.run.consume import Intake

EVERY_S: Final = 3_600.0
"""How often; each worker does so for the partitions it owns."""
KEPT: Final = {"retry": 0, "ordered": LOOK_BACK, "events": COPIES_BACK}
"""By role: how many settled records before the committed offset stay, until they have been settled for `EVERY_S`."""

_Position = tuple[str, int]


async def delete_settled(
    intakes: Sequence[Intake],
    delete_before: Callable[[Mapping[_Position, int]], None],
    log: Callable[..., None],
    every_s: float = EVERY_S,
) -> None:
    """Delete what is settled, for ever, until cancelled. A broker that refuses is logged and asked again next time."""
    before: dict[_Position, int] = {}
    while True:
        await asyncio.sleep(every_s)
        settled: dict[_Position, int] = {}
        for intake in intakes:
            kept = KEPT.get(intake.source.role)
            for key, tracker in intake.trackers.items() if kept is not None else ():
                upto = tracker.acked if not kept else max(tracker.acked - kept, before.get(key, 0))
                if upto > 0:
                    settled[key] = upto
                before[key] = tracker.acked
        try:
            await asyncio.to_thread(delete_before, settled)
        except BrokerError as error:
            log("warning", "retry_records_kept", detail=str(error).splitlines()[0])
