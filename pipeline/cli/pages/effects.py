"""Which event changes what in which system: a row for each step, for those who read segments made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.config.journey import StepConfig
    from pipeline.config.models import Config
    from pipeline.config.sent import Sent

CHARS_MAX: Final = 300
"""How much of a condition is shown."""
HEAD: Final = ("cause", "only if", "effect", "with", "by")


def rows(config: Config, sent: Iterable[Sent]) -> Iterator[tuple[str, ...]]:
    """Yield cause and effect of every step, by event type; `sent` are the fields."""
    fields: dict[tuple[str, str], list[str]] = {}
    for each in sent:
        fields.setdefault((each.journey, each.step), []).append(f"`{each.field}`")
    found = []
    for name, journey in config.journeys.items():
        for step in journey.steps:
            conditions = [*_conditions(journey.trigger.when), *_after(step), *_conditions(step.when)]
            of_step = ", ".join(fields.get((name, step.name), ()))
            by = f"[{name}](journeys/{name}.md), {step.name}" + (
                f" ({journey.status})" if journey.status != "live" else ""
            )
            effect = (" and ".join(conditions), _effect(step), of_step, by)
            found += [(f"`{event}`", *effect) for event in journey.trigger.events]
    yield from sorted(found, key=lambda row: row[0])


def _conditions(text: str | None) -> Iterator[str]:
    if text:
        shown = text.replace("\n", " ")
        yield f"`{shown if len(shown) <= CHARS_MAX else shown[:CHARS_MAX] + '…'}`"


def _after(step: StepConfig) -> Iterator[str]:
    parents = [f"{name} is {' or '.join(outcomes)}" for name, outcomes in step.after.items()]
    if parents:
        yield (" or " if step.join == "any" else " and ").join(parents)


def _effect(step: StepConfig) -> str:
    if step.call:
        return f"[{step.destination}](destinations/{step.destination}.md).{step.operation} ({step.kind})"
    if step.mark is None:
        return ""
    key, given = next((key, made) for key in type(step.mark).model_fields if (made := getattr(step.mark, key)))
    parts = given.model_dump(exclude_none=True, by_alias=True) if hasattr(given, "model_dump") else {}
    told = ", ".join(f"{name} {part}" for name, part in parts.items() if isinstance(part, str) and "${" not in part)
    return f"our own tables: {key}" + (f" {told}" if told else "")
