"""What `batch` of an operation may say: how many deliveries share a request, and where the answer has their results."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from pipeline.config.section import DurationMs, Section, Shown, SizeBytes, refuse
from pipeline.core import batch, contract


def _pointer(given: object) -> object:
    if not isinstance(given, str) or contract.tokens(given) is None:
        refuse("must be a JSON pointer (RFC 6901)", 'such as /data/id; "" is the whole answer')
    return given


Pointer = Annotated[str, BeforeValidator(_pointer), WithJsonSchema({"type": "string"}), Shown("JSON pointer")]


class BatchResults(Section):
    """Where the answer to a batch has the result of each item."""

    at: Pointer = Field("", description="Where the list of results is in the answer's JSON.")
    status: Pointer = Field(description="Where a result has its HTTP status.")
    id: Pointer | None = Field(
        None, description="Where a result has its delivery ID; without it results are in the order of the items."
    )


class Batch(Section):
    """Deliveries that share a request. None waits longer for company than `max_wait`."""

    max_events: int = Field(ge=2, le=batch.EVENTS_MAX, description="Deliveries in one request.")
    max_bytes: SizeBytes = Field(262_144, description="Longest body of a request, at most 16MiB.")
    max_wait_ms: DurationMs = Field(
        1_000, alias="max_wait", description="How long the first delivery waits for company, at most 1m."
    )
    results: BatchResults | None = Field(None, description="Where the answer has a result for each item, if it does.")

    @field_validator("max_bytes")
    @classmethod
    def _bytes(cls, size: int) -> int:
        if size > batch.BYTES_MAX:
            refuse("must be at most 16MiB")
        return size

    @field_validator("max_wait_ms")
    @classmethod
    def _wait(cls, wait_ms: int) -> int:
        if wait_ms > batch.WAIT_MS_MAX:
            refuse("must be at most 1m")
        return wait_ms
