"""Keeps the definitions of a worker's journeys on the control topic, and deletes those that no run can need now.

So it does with orders that mean no run any more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.core.definitions import Definitions
    from pipeline.ports import Clock, Producer

ACKED_S: Final = 10.0
"""Bound on the acks of what is written at once."""
EVERY_S: Final = 3_600.0
"""How often a running worker looks whether a definition is due."""


async def publish(
    definitions: Definitions, producer: Producer, topic: str, clock: Clock, outdated: Callable[[int], Iterable[bytes]]
) -> None:
    """Write what is due, and wait for the acks: no run may be handed over that nobody could finish.

    `outdated` has the keys of what else is to be deleted, at a time in Unix ms.
    Raises BrokerError when they do not come within ACKED_S, or the topic takes no record so large.
    """
    definitions.begin()
    now_ms = clock() // 1_000_000
    due = [*definitions.due(now_ms), *((key, None) for key in outdated(now_ms))]
    left, refused = len(due), ""
    if not due:
        return
    done = asyncio.Event()

    def acked(error: object, _record: object) -> None:
        nonlocal left, refused
        left -= 1
        refused = refused or ("" if error is None else str(error))
        if left == 0:
            done.set()

    for key, content in due:
        if not producer.produce(topic, key, content, [], acked):
            raise BrokerError(
                f"{topic} takes no definition of {len(content or b'')} bytes: raise its max.message.bytes"
            )
    try:
        await asyncio.wait_for(done.wait(), ACKED_S)
    except TimeoutError:
        refused = refused or f"no ack within {ACKED_S:.0f} s"
    if refused:
        raise BrokerError(f"{topic} was not written: {refused}")


async def keep(
    definitions: Definitions,
    producer: Producer,
    topic: str,
    clock: Clock,
    outdated: Callable[[int], Iterable[bytes]],
    log: Callable[..., None],
    every_s: float = EVERY_S,
) -> None:
    """Publish again and again until cancelled. A broker that refuses is logged and asked again next time."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await publish(definitions, producer, topic, clock, outdated)
        except BrokerError as error:
            log("warning", "definitions_unwritten", detail=str(error).splitlines()[0])
