"""Decides what of a request may be shown: what is written in the configuration, and what is no personal data.

Whatever is not known to be public is masked: text of no class, and what an expression makes of a field that has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipeline.config import classes
from pipeline.config.classes import PUBLIC
from pipeline.config.scope import EventScope
from pipeline.core import expressions, types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config, EventMapping, JourneyConfig, StepConfig

MASK: Final = "…"
_OWN: Final = "hookline"


class Masking:
    """Masks the requests of events that one `events:` entry makes."""

    def __init__(self, config: Config, mapping: EventMapping, readers: Mapping[str, Any]) -> None:
        schema = readers.get(mapping.record or "")
        tree = types.ANYTHING if schema is None else types.tree(schema)
        self._config = config
        self._scope = EventScope(config, mapping, tree, strict=schema is not None)
        self._known: dict[str, bool] = {}

    def body(self, step: StepConfig, content: object) -> object:
        """Return a body as it may be shown; `content` is what was sent, parsed."""
        if isinstance(content, dict) and step.payload is not None:
            own = {key: part for key, part in content.items() if key == _OWN}
            rest = {key: part for key, part in content.items() if key != _OWN}
            return {**_mapping(self, dict(step.payload), rest), **own}
        return MASK if content else content

    def target(self, step: StepConfig) -> str:
        """Return path and query of a step's requests with everything masked that events change."""
        name, _, operation_name = (step.call or "").partition(".")
        operation = self._config.destinations[name].operations[operation_name]
        query = "&".join(
            f"{key.removesuffix('?')}={part if not isinstance(part, str) or self.public(part) else MASK}"
            for key, part in operation.query.items()
        )
        return (operation.path or "/") + (f"?{query}" if query else "")

    def public(self, text: str) -> bool:
        """Whether what a text of the configuration becomes is no personal data."""
        if "${" not in text:
            return True
        if text not in self._known:
            made = expressions.template(text, self._scope)
            self._known[text] = isinstance(made, str) or (
                not isinstance(made, tuple)
                and all(cls == PUBLIC for each in made.variables for cls in classes.of(each))
            )
        return self._known[text]


def _mapping(masking: Masking, template: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    known = {key.removesuffix("?"): part for key, part in template.items()}
    return {key: _part(masking, known.get(key, "${unknown}"), part) for key, part in content.items()}


def _part(masking: Masking, template: Any, content: Any) -> Any:
    if isinstance(template, str):
        return content if masking.public(template) else MASK
    if isinstance(template, dict) and "each" in template and isinstance(content, list):
        return [_part(masking, template["item"], each) for each in content]
    if isinstance(template, dict) and isinstance(content, dict):
        return _mapping(masking, template, content)
    if isinstance(template, (list, tuple)) and isinstance(content, list) and len(template) == len(content):
        return [_part(masking, one, other) for one, other in zip(template, content, strict=True)]
    return content if template == content else MASK


def entry(config: Config, event_type: str) -> EventMapping:
    """Return the `events:` entry that makes events of a type, else one that may. There is one: see validate."""
    literal = [each for each in config.events if each.type == event_type]
    return (literal or [each for each in config.events if each.type is None or "${" in each.type])[0]


def call_of(journey: JourneyConfig, name: str) -> StepConfig:
    """Return a journey's step by its name."""
    return next(each for each in journey.steps if each.name == name)
