"""What `caps:` and `quiet_hours:` may say: how often, and at what hours, customers are contacted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.config import zones
from pipeline.config.section import DurationMs, Items, Line, Name, Section, Shown, refuse, suggestion
from pipeline.core import expressions
from pipeline.model import Cap as Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo

    from pipeline.core.expressions import Flaw, Scope
    from pipeline.model import Datum, Getter

CAPS_MAX: Final = 100
QUIET_HOURS_MAX: Final = 20
CONTACTS_MAX: Final = 100
"""Of one cap: far below the entries that are remembered of a customer."""
CLOCK_PATTERN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

Category = Literal["promotional", "service", "operational"]


def _clock(given: object) -> int:
    if not isinstance(given, str) or re.fullmatch(CLOCK_PATTERN, given, re.ASCII) is None:
        refuse("must be a time of day", 'such as "21:00"')
    hour, _, minute = given.partition(":")
    return int(hour) * 3_600 + int(minute) * 60


def clock_text(seconds: int) -> str:
    """Write seconds of a day as they are configured: 75600 is `21:00`."""
    return f"{seconds // 3_600:02}:{seconds // 60 % 60:02}"


def _zone(given: object) -> str:
    if not isinstance(given, str):
        refuse("must be a time zone", "such as Europe/Berlin")
    if zones.zone(given) is None:
        close = suggestion(given, zones.names()) if given.isprintable() else ""
        refuse("is no time zone of the IANA database", close or "such as Europe/Berlin")
    return given


Clock = Annotated[
    int,
    BeforeValidator(_clock),
    WithJsonSchema({"type": "string", "pattern": CLOCK_PATTERN}),
    Shown("time of day", clock_text),
]
Zone = Annotated[str, BeforeValidator(_zone), WithJsonSchema({"type": "string"}), Shown("time zone")]


class Cap(Section):
    """How often a customer is contacted at most, over all journeys of a category."""

    category: Category = Field(description="Category of the journeys whose contacts are counted and kept back.")
    channel: Name = Field(description="Channel: what steps name as `reaches`.")
    max: int = Field(ge=1, le=CONTACTS_MAX, description="Contacts within `per`; the next one is skipped.")
    per_ms: DurationMs = Field(alias="per", description="Length of the sliding window.")


class QuietHours(Section):
    """When customers are left in peace, by the clock of where they are."""

    channels: Items[Name] = Field(min_length=1, max_length=20, description="Channels it holds for.")
    from_s: Clock = Field(alias="from", description="When they begin.")
    to_s: Clock = Field(alias="to", description="When they are over; may be on the next day.")
    zone: Line = Field(description="IANA time zone, or `${CEL}` that gives the customer's.")
    zone_absent: Zone | None = Field(
        None, description="Time zone of customers whose event has none, or one that does not exist."
    )
    then: Literal["hold", "skip"] = Field(
        "hold", description="`hold`: wait until they are over; what is too old by then is skipped. `skip`: do without."
    )

    @model_validator(mode="after")
    def _sensible(self) -> QuietHours:
        if self.from_s == self.to_s:
            refuse("`from` and `to` are the same", "a day without contact is a journey that is paused")
        if "${" in self.zone:
            if self.zone_absent is None:
                refuse("needs `zone_absent`", "for customers whose event has no time zone")
        else:
            _zone(self.zone)
        return self


def zone_of(given: QuietHours, scope: Scope) -> Callable[[Datum, int], tzinfo] | tuple[Flaw, ...]:
    """Compile what finds a customer's time zone in one kind of event; never raises when run."""
    absent = zones.zone(given.zone_absent or given.zone)
    assert absent is not None, "was validated"
    made = expressions.template(given.zone, scope)
    if isinstance(made, tuple):
        return made
    if isinstance(made, str):
        return lambda _datum, _now_ms: absent
    if made.type not in ("string", "dyn"):
        return (expressions.Flaw(0, f"must be text, this is {made.type}"),)
    return _finder(made.get, absent)


def _finder(get: Getter, absent: tzinfo) -> Callable[[Datum, int], tzinfo]:
    known = zones.all_zones()

    def find(datum: Datum, now_ms: int) -> tzinfo:
        name = get(datum, now_ms)
        return known.get(name, absent) if type(name) is str else absent

    return find


def caps_of(given: Sequence[Cap], category: str, channel: str | None, basis: str) -> tuple[Limit, ...]:
    """Return the caps of a step: what reaches nobody, and what the law demands, has none."""
    if channel is None or basis == "legal_obligation":
        return ()
    return tuple(
        Limit(each.category, each.channel, each.max, each.per_ms)
        for each in given
        if each.category == category and each.channel == channel
    )
