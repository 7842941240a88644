"""What `journeys/NAME.yaml` may say: a trigger, the steps it starts, and which of them come after which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.config.mark import MarkConfig  # noqa: TC001 - pydantic reads annotations at run time
from pipeline.config.places import Path  # noqa: TC001 - as above
from pipeline.config.remember import Awaited, OnceConfig, Success  # noqa: TC001 - as above
from pipeline.config.section import (
    DurationMs,
    EventType,
    Expression,
    Items,
    Label,
    Line,
    Name,
    Section,
    Share,
    Shown,
    refuse,
)

STEPS_MAX: Final = 100
EVENTS_MAX: Final = 100
NAMES_MAX: Final = 20
"""Older names of a journey or a step, and alerts of one."""
BUDGET_MS_MAX: Final = 60_000
"""Longest budget of a `decide`; what may take longer is an `enrich`."""

GOES_ON: Final = ("delivered", "defaulted")
"""Outcomes after which a step goes on where nothing else is said."""

Ordering = Literal["none", "key"]
Basis = Literal["consent", "contract", "legitimate_interest", "legal_obligation"]


def _call(given: object) -> object:
    if not isinstance(given, str) or given.count(".") != 1 or not all(given.split(".")):
        refuse("must be destination.operation", "such as mail.send")
    return given


def _channel(given: object) -> object:
    if given == "none":
        return None
    return given


def _after(given: object) -> object:
    """Read `a`, `[a, b]` and `{a: [outcome, ...]}` as the last."""
    if isinstance(given, str):
        return {given: GOES_ON}
    if isinstance(given, (list, tuple)):
        if not all(isinstance(each, str) for each in given):
            refuse("must be a step, a list of steps, or a mapping of steps to outcomes", "{a: [delivered]}")
        return dict.fromkeys(given, GOES_ON)
    for parent, outcomes in given.items() if isinstance(given, Mapping) else ():
        if isinstance(outcomes, str):
            refuse("the outcomes of a step are a list", f"write {{{parent}: [{outcomes}]}}")
    return given


OutcomeWord = Literal["delivered", "defaulted", "rejected", "dead", "skipped", "retrying"]
Outcomes = Annotated[Items[OutcomeWord], Field(min_length=1)]
After = Annotated[
    Mapping[Name, Outcomes],
    BeforeValidator(
        _after, json_schema_input_type=Name | tuple[Name, ...] | Mapping[Name, Annotated[Items[OutcomeWord], Field()]]
    ),
    Shown("name, list of names, or names with outcomes"),
]


class OnFailure(Section):
    """What else is done when a delivery fails for good."""

    alert: Items[Label] = Field((), max_length=NAMES_MAX, description="Who is told: names of hookline.yaml's `alerts`.")


_OF_DESTINATIONS: Final = "it is a key of destinations/NAME.yaml"
_OF_ALL: Final = "it is a key of hookline.yaml, for all journeys"
_OF_TRIGGER: Final = "it is a key of `trigger`"
_NO_WAIT: Final = "there is no step that waits: start another journey by a later event"


class Trigger(Section):
    """What starts the journey."""

    events: Items[EventType] = Field(min_length=1, max_length=EVENTS_MAX, description="Event types.")
    when: Expression | None = Field(None, description="CEL condition on the event; default: every event.")
    max_age_ms: DurationMs = Field(alias="max_age", description="Older events end skipped; also bounds every retry.")
    once: OnceConfig | None = Field(None, description="How often a customer enters; default: with each event.")


class StepConfig(Section):
    """One webhook action, or a mark in our own tables."""

    elsewhere: ClassVar[Mapping[str, tuple[str, Path]]] = {
        **dict.fromkeys(("timeout", "limits", "retry", "breaker", "on_status", "idempotency"), (_OF_DESTINATIONS, ())),
        **dict.fromkeys(("url", "method", "headers", "path", "query"), (_OF_DESTINATIONS, ())),
        **dict.fromkeys(("quiet_hours", "caps"), (_OF_ALL, ())),
        **dict.fromkeys(("delay", "wait"), (_NO_WAIT, ())),
        "channel": ("it is called `reaches`", ()),
    }

    name: Name = Field(alias="step", description="Name of the step, unique in the journey.")
    formerly: Items[Name] = Field((), max_length=NAMES_MAX, description="Older names: delivery IDs keep the first one.")
    call: Annotated[str | None, BeforeValidator(_call), Shown("destination.operation")] = Field(
        None, description="Destination and operation to call; this or `mark`."
    )
    mark: MarkConfig | None = Field(None, description="What to write to our own tables instead.")
    kind: Literal["update", "enrich", "decide", "record"] | None = Field(
        None,
        description="Required with `call`. `update` changes another system; `enrich` keeps the response for later "
        "steps; `decide` has to answer within its budget; `record` is a log and never delays anything.",
    )
    after: After = Field(
        default={},
        description="Steps this one waits for: `a` is `{a: [delivered, defaulted]}`. Default: starts with the run.",
    )
    join: Literal["all", "any"] = Field("all", description="Whether all steps of `after` are needed, or one is enough.")
    when: Expression | None = Field(None, description="CEL condition, asked when it could start; default: always.")
    reaches: Annotated[
        Name | None, BeforeValidator(_channel), WithJsonSchema({"type": "string"}), Shown("`none` or a channel")
    ] = Field(None, description="Channel on which the customer is contacted: email, sms, push or another.")
    basis: Basis | None = Field(None, description="Legal basis; default the journey's.")
    purpose: Name | None = Field(None, description="Purpose; default the journey's.")
    ordering: Ordering | None = Field(None, description="Default the journey's; one step says it for all of a run.")
    budget_ms: DurationMs | None = Field(
        None, alias="budget", description="Required for `decide`: time to the answer from when the step could start."
    )
    max_age_ms: DurationMs | None = Field(None, alias="max_age", description="Default the trigger's.")
    deadline: Annotated[Line | None, Shown("`${CEL}` or RFC 3339 time")] = Field(
        None, description="Past it the step is skipped(expired), at retries too. Default, and where absent: none."
    )
    payload: Mapping[str, Any] | None = Field(
        None,
        description="Body of the request: plain YAML is a literal, `${CEL}` a value. A key that ends in `?` is left "
        "out when its value is absent. Required unless the operation's body is none.",
    )
    default: Mapping[str, Any] | None = Field(
        None,
        description="Response that later steps read when there is none of use. Required for `decide`, allowed for "
        "`enrich`; has the fields of the operation's `response`.",
    )
    on_failure: OnFailure | None = Field(None, description="Default the journey's.")

    @model_validator(mode="after")
    def _call_or_mark(self) -> StepConfig:
        if (self.call is None) == (self.mark is None):
            refuse("needs `call` or `mark`, and not both")
        if self.call is not None and self.kind is None:
            refuse("needs `kind`", "update, enrich, decide or record")
        if self.mark is not None:
            for key, given in (
                ("kind", self.kind), ("reaches", self.reaches), ("payload", self.payload), ("budget", self.budget_ms),
                ("default", self.default),
            ):  # fmt: skip
                if given is not None:
                    refuse(f"has `{key}`, which a mark has no use for: it calls nobody")
        return self

    @model_validator(mode="after")
    def _fitting_its_kind(self) -> StepConfig:
        if self.kind == "decide":
            if self.budget_ms is None and self.default is None:
                refuse(
                    "needs `budget`, within which a decide answers, and `default`, which counts when it does not",
                    "such as budget: 800ms, and default: {} if nothing is read",
                )
            if self.budget_ms is None:
                refuse("needs `budget`: a decide answers within it", "such as budget: 800ms")
            if self.default is None:
                refuse("needs `default`: what counts when no answer comes in time", "default: {} if nothing is read")
            if self.budget_ms > BUDGET_MS_MAX:
                refuse(f"has a `budget` of more than {BUDGET_MS_MAX // 1_000}s", "use kind: enrich")
        elif self.mark is None:
            if self.budget_ms is not None:
                refuse("has a `budget`, which only a decide has")
            if self.default is not None and self.kind != "enrich":
                refuse("has a `default`, which only decide and enrich have")
        return self

    @model_validator(mode="after")
    def _delaying_nothing(self) -> StepConfig:
        if self.kind == "record" and self.ordering == "key":
            refuse("has `ordering: key`, but nothing waits for a record", "say it for the steps that must keep order")
        return self

    @property
    def destination(self) -> str:
        """Name of the destination it calls; "" for a mark."""
        return (self.call or "").partition(".")[0]

    @property
    def operation(self) -> str:
        """Name of the operation it calls; "" for a mark."""
        return (self.call or "").partition(".")[2]

    @property
    def first_name(self) -> str:
        """The name that delivery IDs keep."""
        return self.formerly[0] if self.formerly else self.name


class JourneyConfig(Section):
    """One journey: a trigger and its steps."""

    elsewhere: ClassVar[Mapping[str, tuple[str, Path]]] = {
        **dict.fromkeys(("quiet_hours", "caps", "consent", "purposes", "alerts"), (_OF_ALL, ())),
        **{key: (_OF_TRIGGER, ("trigger", key)) for key in ("events", "when", "max_age", "once")},
        **dict.fromkeys(("call", "kind", "reaches", "payload", "after", "deadline"), ("it is a key of a step", ())),
        **dict.fromkeys(("delay", "wait"), (_NO_WAIT, ())),
    }

    name: Name = Field(alias="journey", description="Name of the journey; equals the file name.")
    formerly: Items[Name] = Field((), max_length=NAMES_MAX, description="Older names: delivery IDs keep the first one.")
    status: Literal["draft", "shadow", "live", "paused"] = Field(
        "draft",
        description="`draft` never runs, and ends runs that wait; `shadow` does all but send; `paused` lets runs wait.",
    )
    rollout: Share = Field(1.0, description="Share of the customers who may enter; who is in stays in as it grows.")
    owner: Line = Field(description="Who answers for it.")
    goal: Line = Field(description="One sentence.")
    category: Literal["promotional", "service", "operational"] = Field(description="What kind of journey it is.")
    basis: Basis = Field(description="Legal basis of what it does with the customer's data.")
    purpose: Name | None = Field(
        None, description="One of hookline.yaml's `purposes`; required with basis consent and legitimate_interest."
    )
    trigger: Trigger = Field(description="What starts it.")
    ordering: Ordering = Field(
        "none",
        description="`key`: a customer's event starts only once the one before it is over, retries included; other "
        "customers pass.",
    )
    holdout: Share = Field(
        0.0,
        description="Share of the customers who are left out to compare with; not with basis contract or "
        "legal_obligation.",
    )
    on_failure: OnFailure = Field(OnFailure.model_validate({}), description="For all steps that do not say it.")
    cancel_on: Items[Awaited] = Field(
        (), max_length=NAMES_MAX, description="Events that end a run, as `skipped(cancelled)`; default none."
    )
    success: Success | None = Field(None, description="What the journey is for; default nothing that is measured.")
    steps: Items[StepConfig] = Field(min_length=1, max_length=STEPS_MAX, description="What it does.")

    @model_validator(mode="after")
    def _one_turn(self) -> JourneyConfig:
        loose = [step.name for step in self.steps if step.ordering == "none" and step.kind != "record"]
        if self.ordered and loose:
            refuse(
                f"keeps order, but step {loose[0]} says `ordering: none`: a run has its turn as a whole",
                "leave it out, or make it a journey of its own",
            )
        return self

    @property
    def ordered(self) -> bool:
        """Whether a customer's events are taken up one after the other."""
        return self.ordering == "key" or any(step.ordering == "key" for step in self.steps)

    @property
    def file(self) -> str:
        """The file it stands in, relative to the configuration folder."""
        return f"journeys/{self.name}.yaml"

    def basis_of(self, step: StepConfig) -> str:
        """Return the step's basis, else the journey's."""
        return step.basis or self.basis

    def purpose_of(self, step: StepConfig) -> str:
        """Return the step's purpose, else the journey's, else ""."""
        return step.purpose or self.purpose or ""

    def alerts_of(self, step: StepConfig) -> tuple[str, ...]:
        """Return who is told of the step's failures: its own alerts, else the journey's."""
        return (step.on_failure or self.on_failure).alert

    @property
    def first_name(self) -> str:
        """The name that delivery IDs keep."""
        return self.formerly[0] if self.formerly else self.name
