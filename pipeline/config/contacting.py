"""What `caps:` and `quiet_hours:` may say: how often, and at what hours, customers are contacted."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.config import zones
from pipeline.config.section import DurationMs, Items, Line, Name, Section, Shown, refuse, suggestion
from pipeline.core import expressions
from pipeline.model import Cap as Limit
from pipeline.model import QuietHours as Hours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from pipeline.config.journey import JourneyConfig
    from pipeline.config.places import Path, Places
    from pipeline.config.policy import HooklineFile
    from pipeline.core.expressions import Flaw, Scope
    from pipeline.model import Datum, Getter, Problem

CHANNELS: Final = ("email", "sms", "push", "whatsapp", "in_app")
"""Channels everybody knows."""
ALIKE: Final = 0.8
"""How alike two channels are of which one is a slip."""
CAPS_MAX: Final = 100
QUIET_HOURS_MAX: Final = 20
CONTACTS_MAX: Final = 100
"""Of one cap: far below the entries that are remembered of a customer."""
CLOCK_PATTERN: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

MAIN: Final = "hookline.yaml"
HOLDS_OUT_NOBODY: Final = ("contract", "legal_obligation")
KEEPS_NO_HOURS: Final = ("legal_obligation",)
"""What the law demands is sent at any hour, however often."""

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


class Peace:
    """Compiles quiet hours for one kind of event; `flaws` are, by index, what is wrong with those of customers' zones.

    Hours whose zone cannot be found in this kind of event go by `zone_absent`.
    """

    def __init__(self, given: Sequence[QuietHours], scope: Scope) -> None:
        self.flaws: dict[int, tuple[Flaw, ...]] = {}
        self._hours: list[tuple[tuple[str, ...], Hours]] = []
        for index, each in enumerate(given):
            absent = zones.zone((each.zone_absent or "") if "${" in each.zone else each.zone)
            assert absent is not None, "was validated"
            found = _zone_of(each.zone, scope, absent)
            if isinstance(found, tuple):
                self.flaws[index] = found
                found = partial(_always, absent)
            self._hours.append((each.channels, Hours(each.from_s, each.to_s, found, each.then == "skip")))

    def of(self, channel: str | None, basis: str) -> tuple[Hours, ...]:
        """Return those that a step on this channel and basis keeps: one that reaches nobody, or has to, keeps none."""
        if channel is None or basis in KEEPS_NO_HOURS:
            return ()
        return tuple(hours for channels, hours in self._hours if channel in channels)


def _zone_of(text: str, scope: Scope, absent: tzinfo) -> Callable[[Datum, int], tzinfo] | tuple[Flaw, ...]:
    """Compile what finds a customer's time zone; never raises when run."""
    made = expressions.template(text, scope)
    if isinstance(made, tuple):
        return made
    if isinstance(made, str):
        return partial(_always, absent)
    if made.type not in ("string", "dyn"):
        return (expressions.Flaw(0, f"must be text, this is {made.type}"),)
    return _finder(made.get, absent)


def _always(zone: tzinfo, _datum: Datum, _now_ms: int) -> tzinfo:
    return zone


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


# ---------------------------------------------------------------------------------------- what fits together


def problems(
    main: HooklineFile | None, journeys: Mapping[str, JourneyConfig | None], places: Places
) -> Iterator[Problem]:
    """Yield what does not fit: channels that nothing reaches, holdouts of what customers have a right to.

    A None is a file that has problems of its own: a channel may be one of its.
    """
    if main is not None:
        yield from _channels(main, journeys, places)
        yield from _misspelt(main, journeys, places)
    for journey in journeys.values():
        if journey is not None and journey.holdout:
            yield from _holdout(journey, places)


def _channels(main: HooklineFile, journeys: Mapping[str, JourneyConfig | None], places: Places) -> Iterator[Problem]:
    """Refuse a channel that nothing reaches and that is a slip of one that something does."""
    reached = {step.reaches for each in journeys.values() if each is not None for step in each.steps if step.reaches}
    named: list[tuple[Path, str]] = [
        (("quiet_hours", index, "channels", at), channel)
        for index, hours in enumerate(main.quiet_hours)
        for at, channel in enumerate(hours.channels)
    ]
    named += [(("caps", index, "channel"), cap.channel) for index, cap in enumerate(main.caps)]
    for path, channel in named if None not in journeys.values() else ():
        close = suggestion(channel, reached)
        if channel not in reached and close:
            yield places.problem(MAIN, path, "is reached by no journey", close)


def _misspelt(main: HooklineFile, journeys: Mapping[str, JourneyConfig | None], places: Places) -> Iterator[Problem]:
    """Refuse a channel nobody speaks of that is almost one that is known: consent for it would never be found."""
    known = {*CHANNELS, *(each.channel for each in main.caps), *(c for each in main.quiet_hours for c in each.channels)}
    for entry in main.events:
        known |= {str(flag).rpartition(".")[2] for flag in entry.consent or {}}
    for journey in journeys.values():
        for index, step in enumerate(journey.steps if journey is not None else ()):
            named: list[tuple[Path, str | None]] = [(("reaches",), step.reaches)]
            if step.mark is not None and step.mark.suppress is not None:
                named.append((("mark", "suppress", "channel"), step.mark.suppress.channel))
            if step.mark is not None and step.mark.consent is not None:
                named.append((("mark", "consent", "channel"), step.mark.consent.channel))
            for path, channel in named:
                close = suggestion(channel, known, ALIKE) if channel is not None and channel not in known else ""
                if close and journey is not None:
                    hint = (
                        f"{close}; a channel of your own is known once caps, quiet_hours or an entry's consent name it"
                    )
                    yield places.problem(
                        journey.file, ("steps", index, *path), "is no channel that is known here", hint
                    )


def _holdout(journey: JourneyConfig, places: Places) -> Iterator[Problem]:
    for step in journey.steps:
        basis = journey.basis_of(step)
        if basis in HOLDS_OUT_NOBODY:
            what = "leaves customers out of" if basis == journey.basis else f"leaves customers out of step {step.name},"
            hint = "who has a right to it gets it; compare with customers before, or drop the holdout"
            yield places.problem(journey.file, ("holdout",), f"{what} what has basis {basis}", hint)
            return
