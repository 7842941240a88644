"""What a journey may ask of earlier events of its customer: entering once a key.

Whoever asks makes `<group>.memory` necessary: what is remembered is kept there by partition of the input.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from pydantic import Field

from pipeline.config.section import DurationMs, Line, Section
from pipeline.core import memory
from pipeline.model import Once

if TYPE_CHECKING:
    from pipeline.config.models import Config, JourneyConfig
    from pipeline.model import Datum, Getter

KEY_VARIABLE: Final = "HOOKLINE_CUSTOMER_REF_KEY"
"""Keys the hashes, as it does the pseudonyms in outcomes."""


class OnceConfig(Section):
    """How often a customer may enter."""

    key: Line = Field(
        description="What is taken once: text with `${CEL}`. Where it is absent or cannot be computed, the event ends "
        "`skipped(condition_error)`."
    )
    per_ms: DurationMs = Field(
        alias="per",
        description="For so long after an event has entered no other with the same key does; at most "
        "`retention.memory`.",
    )


def used(config: Config) -> bool:
    """Whether any journey that is not a draft asks for what is remembered."""
    return any(each.status != "draft" and asks(each) for each in config.journeys.values())


def asks(journey: JourneyConfig) -> bool:
    """Whether a journey does."""
    return journey.trigger.once is not None


def secret(group: str) -> bytes:
    """Return what keys the hashes of a group: 32 bytes."""
    key = os.environ.get(KEY_VARIABLE) or f"hookline:{group}"
    return hashlib.sha256(f"memory:{key}".encode()).digest()


def once(config: Config, journey: JourneyConfig, get: Getter) -> Once:
    """Compile `once`, of which `get(datum, now_ms)` gives the key's text."""
    given = journey.trigger.once
    assert given is not None
    keyed, name = secret(config.group), journey.first_name.encode()

    def key(datum: Datum, now_ms: int) -> str | None:
        found = get(datum, now_ms)
        return memory.digest(keyed, name, found.encode()) if isinstance(found, str) else None

    return Once(key, given.per_ms)
