"""Looks a writer schema up until the registry says something of it: meanwhile the partition that needs it waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.ports import Found, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import SchemaRef
    from pipeline.ports import Schemas, Telemetry, Unknown

SCHEMA_RETRY_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits between look-ups of a schema while the registry cannot be reached; the last one repeats."""


class Lookup:
    """Of one intake. `learn` is told what was found, by topic and reference."""

    def __init__(
        self, schemas: Schemas, learn: Callable[[str, SchemaRef, object | Unknown], None], telemetry: Telemetry
    ) -> None:
        self._schemas = schemas
        self._learn = learn
        self._telemetry = telemetry

    async def find(self, key: tuple[str, int], topic: str, ref: SchemaRef) -> None:
        """Return once the registry answered; that may take as long as it is away. `key` is the partition that waits."""
        attempt = 0
        while True:
            found = await self._schemas.fetch(ref)
            if not isinstance(found, Unreachable):
                break
            wait_s = SCHEMA_RETRY_S[min(attempt, len(SCHEMA_RETRY_S) - 1)]
            if attempt == 0:
                self._telemetry.log(
                    "error", "registry_unreachable", topic=key[0], partition=key[1], detail=found.detail
                )
            attempt += 1
            await asyncio.sleep(wait_s)
        self._learn(topic, ref, found.schema if isinstance(found, Found) else found)
