"""Decides what a journey's expressions and payloads do with one kind of record: compiled, with all that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.config.checks import class_problem
from pipeline.config.scope import PUBLIC, ItemScope, Listed, Scope
from pipeline.core import expressions, payload, types
from pipeline.core.expressions import Expression, Flaw, Test, Variable
from pipeline.model import Datum, Refused, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.config.models import Config, JourneyConfig, Path
    from pipeline.model import Problem


@value
class StepParts:
    """What a step's own expressions became."""

    when: Test | None
    render: Callable[[Datum, int], bytes | Refused]


@value
class JourneyParts:
    """What a journey's expressions became; `steps` in the configuration's order."""

    condition: Test | None
    steps: tuple[StepParts, ...]


def problem(config: Config, file: str, path: Path, text: object, flaw: Flaw) -> Problem:
    """Place a flaw of an expression: its column is exact where the text stands unquoted on one line."""
    found = config.problem(file, path, flaw.message, flaw.hint)
    if isinstance(text, str) and "\n" not in text and found.column:
        found = type(found)(found.file, found.line, found.column + flaw.offset, found.field, found.message, found.hint)
    return found


class JourneyCompiler:
    """Compiles one journey in one scope. `classes` says whether to check personal-data classes: the schema is known."""

    def __init__(self, config: Config, journey: JourneyConfig, scope: Scope, *, strict: bool, classes: bool) -> None:
        self.problems: list[Problem] = []
        self._config = config
        self._journey = journey
        self._scope = scope
        self._strict = strict
        self._classes = classes

    def compile(self) -> JourneyParts:
        """Compile all; `problems` then holds all that is wrong. What is wrong errs or is absent when run."""
        condition = self._test(self._journey.trigger.when, ("trigger", "when"))
        steps = tuple(self._step(index) for index in range(len(self._journey.steps)))
        return JourneyParts(condition, steps)

    def _step(self, index: int) -> StepParts:
        step = self._journey.steps[index]
        body: payload.Constant | payload.Build | None = None
        if step.payload is not None:
            body = self._mapping(step.payload, index, (), "", self._scope)
        return StepParts(self._test(step.when, ("steps", index, "when")), payload.render(body))

    def _flawed(self, path: Path, text: object, flaws: Iterable[Flaw]) -> None:
        self.problems.extend(problem(self._config, self._journey.file, path, text, flaw) for flaw in flaws)

    def _test(self, text: str | None, path: Path) -> Test | None:
        if text is None or text.strip() == "true":
            return None
        made = expressions.condition(text, self._scope)
        test = made[0]
        if isinstance(test, Flaw):
            self._flawed(path, text, [flaw for flaw in made if isinstance(flaw, Flaw)])
            return _errs
        return test

    # ---------------------------------------------------------------------------------------------------- payload

    def _mapping(self, given: Any, step: int, key: Path, field: str, scope: Scope) -> payload.Constant | payload.Build:
        entries = []
        for name, part in given.items():
            bare = name.removesuffix("?")
            below = f"{field}.{bare}" if field else bare
            entries.append((bare, name.endswith("?"), self._part(part, step, (*key, name), below, scope)))
        return payload.mapping(entries, field)

    def _part(self, given: Any, step: int, key: Path, field: str, scope: Scope) -> payload.Constant | payload.Build:
        if isinstance(given, str):
            return self._text(given, step, key, field, scope)
        if isinstance(given, dict):
            if "each" in given:
                return self._each(given, step, key, field, scope)
            return self._mapping(given, step, key, field, scope)
        if isinstance(given, (list, tuple)):
            items = [self._part(item, step, (*key, at), f"{field}[]", scope) for at, item in enumerate(given)]
            return payload.sequence(items, field)
        return payload.Constant(given)

    def _text(self, text: str, step: int, key: Path, field: str, scope: Scope) -> payload.Constant | payload.Build:
        made = expressions.template(text, scope)
        if isinstance(made, str):
            return payload.Constant(made)
        path = ("steps", step, "payload", *key)
        if isinstance(made, tuple):
            self._flawed(path, text, made)
            return payload.refused(field)
        if not self._may_send(made, text, step, key):
            return payload.refused(field)
        return payload.leaf(made.get, field) if made.bare is None else made.get

    def _each(self, given: Any, step: int, key: Path, field: str, scope: Scope) -> payload.Constant | payload.Build:
        text = given["each"]
        path = ("steps", step, "payload", *key, "each")
        made = expressions.expression(text, scope)
        if isinstance(made, tuple):
            self._flawed(path, text, made)
            return payload.refused(field)
        listed = scope.listed(tuple(made.bare.path.split("."))) if made.bare is not None else None
        if listed is None:
            if made.type != "dyn" and not made.type.startswith("list"):
                self._flawed(path, text, [Flaw(0, f"must be a list, this is {made.type}")])
                return payload.refused(field)
            cls = next((each.cls for each in made.variables if each.cls), "")
            listed = Listed(made.get, types.ANYTHING, cls)
        inner = ItemScope(scope, str(given["as"]), listed, strict=self._strict)
        item = self._part(given["item"], step, (*key, "item"), f"{field}[]", inner)
        return payload.each(listed.get, item, field)

    # ----------------------------------------------------------------------------------------- personal-data classes

    def _may_send(self, made: Expression, text: str, step: int, key: Path) -> bool:
        before = len(self.problems)
        path = ("steps", step, "payload", *key)
        if made.bare is not None and not made.bare.leaf and not made.bare.path.startswith("tables."):
            hint = "name the fields that are needed, one by one"
            self._flawed(path, text, [Flaw(0, f"`{made.bare.path}` is a whole object", hint)])
        elif made.bare is None and made.type.startswith("map"):
            self._flawed(path, text, [Flaw(0, "makes a whole object", "write its keys as YAML")])
        elif self._classes:
            for variable in made.variables:
                refused = class_problem(self._config, self._journey, step, key, _class(variable))
                if refused is not None:
                    self.problems.append(refused)
        return len(self.problems) == before


def _class(variable: Variable) -> str | None:
    """Return the class to check, None for text of no class, or PUBLIC for numbers and the like of no class."""
    return variable.cls or (None if variable.text else PUBLIC)


def _errs(_datum: Datum, _now_ms: int) -> bool | None:
    return None
