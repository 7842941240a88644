"""What a step without a call may write to our own tables: a suppression, the end of one, a customer's word on consent.

A match is a conjunction of equalities between a field of the event that comes and one of the event that started the
run: the two sides are stored and compared as hashes, so nothing else can be asked.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.config.section import EXPRESSION_MAX_CHARS, DurationMs, EventType, Line, Name, Section, Shown, refuse

MATCHED_MAX: Final = 8
"""Equalities in one match."""

_PATH: Final = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
_EQUALITY: Final = re.compile(rf"\s*(event|trigger)\.({_PATH})\s*==\s*(event|trigger)\.({_PATH})\s*", re.ASCII)
_HINT: Final = "such as event.properties.cart_id == trigger.properties.cart_id"


def equalities(text: str) -> tuple[tuple[str, str], ...] | None:
    """Read a match as pairs (path in the event that comes, path in the trigger); None if it is no such conjunction.

    `true` is the empty one: any event of the same customer.
    """
    if text.strip() == "true":
        return ()
    pairs: list[tuple[str, str]] = []
    for part in text.split("&&"):
        found = _EQUALITY.fullmatch(part)
        if found is None or found[1] == found[3]:
            return None
        pairs.append((found[2], found[4]) if found[1] == "event" else (found[4], found[2]))
    return tuple(pairs)


def _match(given: object) -> object:
    if given is True:
        return "true"
    pairs = equalities(given) if isinstance(given, str) and len(given) <= EXPRESSION_MAX_CHARS else None
    if pairs is None:
        refuse("must compare fields of `event` with fields of `trigger`, joined by &&", _HINT)
    if len(pairs) > MATCHED_MAX:
        refuse(f"has more than {MATCHED_MAX} equalities")
    return given


Match = Annotated[
    str, BeforeValidator(_match), WithJsonSchema({"type": ["string", "boolean"]}), Shown("equalities, joined by `&&`")
]
Text = Annotated[Line, Shown("text, `${CEL}`")]


class Until(Section):
    """The event that ends a suppression before its time."""

    event: EventType = Field(description="Event type.")
    match: Match = Field(
        "true", description="Which of them: `event` is the one that comes, `trigger` the one that started the run."
    )


class SuppressMark(Section):
    """From now on journeys, or steps on a channel, skip the customer for as long as this reason holds."""

    category: Literal["promotional", "service", "operational"] | None = Field(
        None, description="Suppresses all journeys of a category; exactly one of `category`, `channel`, `journey`."
    )
    channel: Name | None = Field(None, description="Suppresses all steps that reach the customer on a channel.")
    journey: Name | None = Field(None, description="Suppresses one journey.")
    id: Text = Field(description="Names the reason among the customer's; the same again replaces it.")
    until: Until | None = Field(None, description="Event that ends it; default none.")
    at_most_ms: DurationMs = Field(
        alias="at_most", description="When it ends at the latest, from the start of the run."
    )

    @model_validator(mode="after")
    def _one_scope(self) -> SuppressMark:
        if sum(each is not None for each in (self.category, self.channel, self.journey)) != 1:
            refuse("needs exactly one of `category`, `channel` and `journey`")
        return self

    @property
    def scope(self) -> tuple[str, str]:
        """What is suppressed: category, channel or journey, and its name."""
        scopes = {"category": self.category, "channel": self.channel, "journey": self.journey}
        return next((scope, name) for scope, name in scopes.items() if name is not None)


class UnsuppressMark(Section):
    """One reason to suppress is gone."""

    id: Text = Field(description="The reason's `id`.")


class ConsentMark(Section):
    """The customer's word on a channel, a purpose, or a purpose on a channel."""

    channel: Name | None = Field(None, description="Channel it is about; `channel`, `purpose` or both.")
    purpose: Name | None = Field(None, description="Purpose it is about, one of hookline.yaml's.")
    state: Literal["granted", "denied"] = Field(description="What the customer said.")
    at: Text = Field("${event.time}", description="When: a timestamp; the newest word wins.")

    @model_validator(mode="after")
    def _about_something(self) -> ConsentMark:
        if self.channel is None and self.purpose is None:
            refuse("needs `channel`, `purpose` or both")
        return self

    @property
    def key(self) -> str:
        """What it is about, as consent is kept: `email`, `marketing` or `marketing.email`."""
        return ".".join(each for each in (self.purpose, self.channel) if each is not None)


class MarkConfig(Section):
    """What the step writes; exactly one of the three."""

    suppress: SuppressMark | None = Field(None, description="Suppress the customer for a while.")
    unsuppress: UnsuppressMark | None = Field(None, description="Take one reason to suppress back.")
    consent: ConsentMark | None = Field(None, description="Note what the customer said.")

    @model_validator(mode="after")
    def _exactly_one(self) -> MarkConfig:
        if sum(each is not None for each in (self.suppress, self.unsuppress, self.consent)) != 1:
            refuse("needs exactly one of `suppress`, `unsuppress` and `consent`")
        return self
