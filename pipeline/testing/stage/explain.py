"""Says why a step ended as it did, in the words of whoever wrote the journey: which gate, which condition, where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config.units import duration_text
from pipeline.model import FailureClass, Outcome, SkipReason, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config, JourneyConfig, Path, StepConfig


@value
class Ended:
    """How a delivery was settled. `detail` is what its dead letter says, if it has one."""

    outcome: Outcome
    reason: str
    status: int
    attempts: int
    detail: str

    @property
    def text(self) -> str:
        """As a case writes it: `delivered`, `skipped(consent)`."""
        plain = self.outcome in (Outcome.DELIVERED, Outcome.REJECTED)
        return self.outcome.value if plain or not self.reason else f"{self.outcome.value}({self.reason})"


def not_started(config: Config, journey: JourneyConfig) -> str:
    """Say why an event starts no run."""
    events = ", ".join(journey.trigger.events)
    if journey.trigger.when is None:
        return f"it starts on {events}"
    return f"it starts on {events} when {_quoted(config, journey, ('trigger', 'when'), journey.trigger.when)}"


def why(config: Config, journey: JourneyConfig, name: str, ended: Ended, all_: Mapping[str, Ended]) -> str:
    """Explain one step's outcome."""
    index = next(at for at, step in enumerate(journey.steps) if step.name == name)
    step = journey.steps[index]
    if ended.outcome is Outcome.SKIPPED:
        return _skipped(config, journey, index, step, ended, all_)
    answered = f"HTTP {ended.status}" if ended.status else "no answer"
    tried = f"{ended.attempts} attempt{'s' if ended.attempts != 1 else ''}, the last one: {answered}"
    if ended.outcome is Outcome.DELIVERED:
        return f"{tried}; what it answered breaks its contract" if ended.reason else tried
    if ended.reason == FailureClass.MISSING_FIELD:
        return f"the payload needs {ended.detail}, which the event does not have"
    if not ended.attempts:
        return f"nothing was sent: {ended.detail}" if ended.detail else "nothing was sent"
    told = ended.detail and ended.detail != f"http_{ended.status}"
    return f"{tried}, {ended.detail}" if told else tried


def _skipped(  # noqa: PLR0911 - one for each reason there is something to say about
    config: Config, journey: JourneyConfig, index: int, step: StepConfig, ended: Ended, all_: Mapping[str, Ended]
) -> str:
    path: Path = ("steps", index, "when")
    match ended.reason:
        case SkipReason.CONDITION_FALSE:
            return f"its condition is false: {_quoted(config, journey, path, step.when or '')}"
        case SkipReason.CONDITION_ERROR:
            if step.when is None:
                path = ("trigger", "when")
            text = step.when or journey.trigger.when or ""
            said = "a condition could not be told, something it reads is absent or of another type"
            return f"{said}: {_quoted(config, journey, path, text)}"
        case SkipReason.CONSENT:
            reached = step.reaches or ", ".join(sorted({each.reaches for each in journey.steps if each.reaches}))
            basis, purpose = journey.basis_of(step), journey.purpose_of(step)
            return f"basis {basis}: no consent to {purpose}{f' on {reached}' if reached else ''}"
        case SkipReason.STALE:
            max_age_ms = min(step.max_age_ms or journey.trigger.max_age_ms, journey.trigger.max_age_ms)
            return f"the event is older than {duration_text(max_age_ms)} (max_age)"
        case SkipReason.UPSTREAM:
            return "the steps before it ended otherwise: " + ", ".join(
                f"{name} {each.text}" for name, each in all_.items() if name != step.name
            )
        case SkipReason.EXPIRED:
            return f"its deadline has passed: {_quoted(config, journey, ('steps', index, 'deadline'), '')}"
        case _:
            return f"the gate {ended.reason} refused it"


def _quoted(config: Config, journey: JourneyConfig, path: Path, text: str) -> str:
    place = config.where(journey.file, path)
    at = f"{place.file}:{place.line}"
    return f"{text} ({at})" if text else at
