"""What `journeys/NAME.yaml` may say: a trigger and the independent steps it starts."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from pipeline.config.section import DurationMs, EventType, Expression, Items, Later, Line, Name, Section, Shown, refuse

STEPS_MAX: Final = 100
EVENTS_MAX: Final = 100

Basis = Literal["consent", "contract", "legitimate_interest", "legal_obligation"]

_INDEPENDENT: Final = "steps are independent"
_STATELESS: Final = "journeys keep no state"


def _call(given: object) -> object:
    if not isinstance(given, str) or given.count(".") != 1 or not all(given.split(".")):
        refuse("must be destination.operation")
    return given


def _channel(given: object) -> object:
    if given == "none":
        return None
    return given


class Trigger(Section):
    """What starts the journey."""

    events: Items[EventType] = Field(min_length=1, max_length=EVENTS_MAX, description="Event types.")
    when: Expression | None = Field(None, description="CEL condition on the event; default: every event.")
    max_age_ms: DurationMs = Field(alias="max_age", description="Older events end skipped; also bounds every retry.")

    later: ClassVar[Mapping[str, Later]] = {"once": Later("each event enters")}


class StepConfig(Section):
    """One webhook action."""

    name: Name = Field(alias="step", description="Name of the step, unique in the journey.")
    call: Annotated[str, BeforeValidator(_call), Shown("destination.operation")] = Field(
        description="Destination and operation to call."
    )
    kind: Literal["update", "record"] = Field(
        description="`update` changes another system; `record` is a log and never delays anything."
    )
    when: Expression | None = Field(None, description="CEL condition on the event; default: always.")
    reaches: Annotated[
        Name | None, BeforeValidator(_channel), WithJsonSchema({"type": "string"}), Shown("`none` or a channel")
    ] = Field(None, description="Channel on which the customer is contacted: email, sms, push or another.")
    basis: Basis | None = Field(None, description="Legal basis; default the journey's.")
    purpose: Name | None = Field(None, description="Purpose; default the journey's.")
    max_age_ms: DurationMs | None = Field(None, alias="max_age", description="Default the trigger's.")
    payload: Mapping[str, Any] | None = Field(
        None,
        description="Body of the request: plain YAML is a literal, `${CEL}` a value. A key that ends in `?` is left "
        "out when its value is absent. Required unless the operation's body is none.",
    )

    later: ClassVar[Mapping[str, Later]] = {
        "after": Later(_INDEPENDENT, accepted=([],)),
        "join": Later(_INDEPENDENT, accepted=("all",)),
        "formerly": Later("steps keep their names", accepted=([],)),
        "ordering": Later("deliveries are not ordered", accepted=("none",)),
        "budget": Later("there are no decide steps"),
        "default": Later("there are no decide or enrich steps"),
        "deadline": Later("use max_age"),
        "mark": Later("each step calls a destination", instead_of=("call", "kind")),
        "on_failure": Later("failures raise no alerts"),
    }
    later_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "kind": {"enrich": "no step reads answers", "decide": "no step reads answers"},
    }


class JourneyConfig(Section):
    """One journey: a trigger and its steps."""

    name: Name = Field(alias="journey", description="Name of the journey; equals the file name.")
    status: Literal["draft", "live"] = Field("draft", description="`draft` never runs.")
    owner: Line = Field(description="Who answers for it.")
    goal: Line = Field(description="One sentence.")
    category: Literal["promotional", "service", "operational"] = Field(description="What kind of journey it is.")
    basis: Basis = Field(description="Legal basis of what it does with the customer's data.")
    purpose: Name | None = Field(
        None, description="One of hookline.yaml's `purposes`; required with basis consent and legitimate_interest."
    )
    trigger: Trigger = Field(description="What starts it.")
    steps: Items[StepConfig] = Field(min_length=1, max_length=STEPS_MAX, description="What it does.")

    later: ClassVar[Mapping[str, Later]] = {
        "formerly": Later("journeys keep their names", accepted=([],)),
        "rollout": Later("all customers enter", accepted=("100%",)),
        "holdout": Later("all customers enter", accepted=("0%",)),
        "cancel_on": Later(_STATELESS, accepted=([],)),
        "success": Later("successes are not measured"),
        "on_failure": Later("failures raise no alerts", accepted=({"alert": []},)),
    }
    later_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "status": {"shadow": "journeys are draft or live", "paused": "journeys are draft or live"},
    }

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
