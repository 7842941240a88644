"""Decides what a journey's expressions and payloads do with one kind of record: compiled, with all that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.config import classes, defaults, marking, remember, rows
from pipeline.config.checks import class_problem
from pipeline.config.operation import METADATA_KEY
from pipeline.config.results import StepScope
from pipeline.config.scope import ItemScope, Listed, Scope, unless_whole
from pipeline.config.sent import UNCLASSIFIED, Sent
from pipeline.core import expressions, payload, types, urltext
from pipeline.core.expressions import Expression, Flaw, Test, Unknown, Variable
from pipeline.model import CancelOn, Datum, Event, Mark, Once, Refused, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipeline.config.models import Config, JourneyConfig, Operation, Path, StepConfig
    from pipeline.core.contract import Check
    from pipeline.model import Ask, Problem


_WRITERS: Final[dict[str, Callable[[Any], bytes | Refused]]] = {
    "json": orjson.dumps, "ndjson": payload.json_line, "form": urltext.form, "none": orjson.dumps,
}  # fmt: skip


_EACH: Final = 'map it, and name what is needed of an item: {each: LIST, as: line, item: {sku: "${line.sku}"}}'


@value
class StepParts:
    """What a step's own expressions became; see model.Step."""

    when: Test | None
    render: Callable[[Datum, int], bytes | Refused]
    target: Callable[[Datum, int], bytes | Refused] | None = None
    metadata: Callable[[bytes, Event, str], bytes] | None = None
    default: Callable[[Datum, int], Mapping[str, object] | Refused] | None = None
    deadline: Callable[[Datum, int], object] | None = None
    mark: Callable[[Datum, int], Mark | Refused] | None = None


@value
class JourneyParts:
    """What a journey's expressions became; `steps` in the configuration's order."""

    condition: Test | None
    steps: tuple[StepParts, ...]
    once: Once | None = None
    cancel_on: tuple[CancelOn, ...] = ()
    asks: tuple[Ask, ...] = ()


@value
class Spot:
    """Where a value is written (file and path), under which name it is sent, and by a call of what.

    `flat` says that it must be one value, not a list: in forms, and in URLs (`in_url`).
    """

    file: str
    path: Path
    field: str
    call: str
    flat: bool = False
    in_url: bool = False

    def below(self, key: str | int, field: str) -> Spot:
        """Return the spot of a part."""
        return Spot(self.file, (*self.path, key), field, self.call, self.flat, self.in_url)


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
        self.sent: list[Sent] = []
        self._config = config
        self._journey = journey
        self._scope = scope
        self._strict = strict
        self._classes = classes

    def compile(self) -> JourneyParts:
        """Compile all; `problems` then holds all that is wrong. What is wrong errs or is absent when run."""
        condition = self._test(self._journey.trigger.when, ("trigger", "when"), self._scope)
        steps = tuple(self._step(index) for index in range(len(self._journey.steps)))
        sound = condition is not None and condition is not _errs  # what always errs is never false
        asks = expressions.asks(self._journey.trigger.when or "", self._scope) if sound else ()
        return JourneyParts(condition, steps, self._once(), tuple(self._cancel_on()), asks)

    def _once(self) -> Once | None:
        given = self._journey.trigger.once
        if given is None:
            return None
        made = expressions.template(given.key, self._scope)
        if isinstance(made, tuple):
            self._flawed(self._journey.file, ("trigger", "once", "key"), given.key, made)
            return None
        get = (lambda _datum, _now_ms: made) if isinstance(made, str) else expressions.as_text(made).get
        return remember.once(self._config, self._journey, get)

    def _cancel_on(self) -> Iterator[CancelOn]:
        for index, each in enumerate(self._journey.cancel_on):
            made = remember.correlation(remember.triggers(each.match), self._scope, "trigger")
            if isinstance(made, str):
                flaw = Flaw(0, f"the event that starts the run has no `{made}`")
                self._flawed_here(("cancel_on", index, "match"), each.match, [flaw])
            else:
                yield CancelOn(each.event, made)

    def _step(self, index: int) -> StepParts:
        step, path = self._journey.steps[index], ("steps", index)
        self._sender = step.name
        scope = StepScope(self._scope, self._journey, step, self._operation, self._rows)
        when = self._test(step.when, (*path, "when"), scope)
        deadline = None
        if step.deadline is not None:
            deadline = marking.time(step.deadline, scope, (*path, "deadline"), self._flawed_here) or _no_moment
        if step.call is None:
            assert step.mark is not None
            made = marking.compiled(
                step.mark,
                scope,
                lambda below, text, flaws: self._flawed_here((*path, "mark", *below), text, flaws),
            )
            return StepParts(when, _empty, deadline=deadline, mark=made)
        operation = self._operation(step.call)
        spot = Spot(self._journey.file, (*path, "payload"), "", step.call, flat=operation.body == "form")
        given = dict(step.payload or {})
        taken = {each: given.pop(each) for each in operation.parameters if each in given}
        body = None if operation.body == "none" else self._mapping(given, spot, scope)
        metadata = None
        if operation.metadata == "headers_and_body":
            metadata = payload.metadata(self._journey.name, step.name)
        return StepParts(
            when,
            payload.render(body, _WRITERS[operation.body], self._contract(operation, step.name)),
            self._target(operation, step.operation, taken, spot, scope) if operation.changes_target else None,
            metadata,
            self._default(step, operation, (*path, "default"), scope),
            deadline,
        )

    def _rows(self, names: tuple[str, ...]) -> Variable | Unknown | None:
        known = len(names) > 1 and names[1] in self._config.lookups
        return rows.variable(self._config.lookups, names) if known else None

    def _operation(self, call: str) -> Operation:
        destination, _, name = call.partition(".")
        return self._config.destinations[destination].operations[name]

    def _default(
        self, step: StepConfig, operation: Operation, path: Path, scope: Scope
    ) -> Callable[[Datum, int], Mapping[str, object] | Refused] | None:
        if step.default is None:
            return None
        return defaults.compiled(
            step.default, operation, scope, lambda key, text, flaws: self._flawed_here((*path, key), text, flaws)
        )

    def _contract(self, operation: Operation, step: str) -> Check | None:
        """Return what checks a body as it will be sent, metadata included."""
        if operation.request_schema is None:
            return None
        check = self._config.contracts[operation.request_schema].check
        if operation.metadata == "headers":
            return check
        sample = {METADATA_KEY: payload.sample(self._journey.name, step)}
        return lambda made: check({**made, **sample} if isinstance(made, dict) else made)

    # ------------------------------------------------------------------------------------------------------ target

    def _target(
        self, operation: Operation, name: str, taken: dict[str, Any], spot: Spot, scope: Scope
    ) -> Callable[[Datum, int], bytes | Refused]:
        """Compile path and query. What stands in the destination's file is placed there, once for all who call it."""
        path = [
            self._parameter(
                taken.get(text), Spot(spot.file, (*spot.path, text), text, spot.call, flat=True, in_url=True), scope
            )
            if is_parameter
            else text
            for text, is_parameter in operation.path_pieces
        ]
        file = f"destinations/{spot.call.partition('.')[0]}.yaml"
        query: list[tuple[str, bool, str | urltext.Parameter]] = []
        for key, given in operation.query.items():
            bare = key.removesuffix("?")
            at = Spot(file, ("operations", name, "query", key), f"query.{bare}", spot.call, flat=True, in_url=True)
            query.append((bare, key.endswith("?"), self._parameter(given, at, self._scope)))
        return urltext.target(path, query)

    def _parameter(self, given: Any, spot: Spot, scope: Scope) -> urltext.Parameter:
        part = self._part(given, spot, scope)
        if isinstance(part, payload.Constant):
            content = part.content
            return urltext.Parameter(spot.field, lambda _datum, _now_ms: content)
        return urltext.Parameter(spot.field, part)

    def _flawed(self, file: str, path: Path, text: object, flaws: Iterable[Flaw]) -> None:
        self.problems.extend(problem(self._config, file, path, text, flaw) for flaw in flaws)

    def _flawed_here(self, path: Path, text: object, flaws: Iterable[Flaw]) -> None:
        self._flawed(self._journey.file, path, text, flaws)

    def _test(self, text: str | None, path: Path, scope: Scope) -> Test | None:
        if text is None or text.strip() == "true":
            return None
        made = expressions.condition(text, scope)
        test = made[0]
        if isinstance(test, Flaw):
            flaws = [flaw for flaw in made if isinstance(flaw, Flaw)]
            self._flawed_here(path, text, flaws)
            return _errs
        return test

    # ---------------------------------------------------------------------------------------------------- payload

    def _mapping(self, given: Any, spot: Spot, scope: Scope) -> payload.Constant | payload.Build:
        entries = []
        for name, part in given.items():
            if not isinstance(name, str):
                continue  # config/payloads says so
            bare = name.removesuffix("?")
            below = spot.below(name, f"{spot.field}.{bare}" if spot.field else bare)
            entries.append((bare, name.endswith("?"), self._part(part, below, scope)))
        return payload.mapping(entries, spot.field)

    def _part(self, given: Any, spot: Spot, scope: Scope) -> payload.Constant | payload.Build:
        if isinstance(given, str):
            return self._text(given, spot, scope)
        if isinstance(given, dict):
            if "each" in given:
                return self._each(given, spot, scope)
            return self._mapping(given, spot, scope)
        if isinstance(given, (list, tuple)):
            items = [self._part(item, spot.below(at, f"{spot.field}[]"), scope) for at, item in enumerate(given)]
            return payload.sequence(items, spot.field)
        return payload.Constant(given)

    def _text(self, text: str, spot: Spot, scope: Scope) -> payload.Constant | payload.Build:
        made = expressions.template(text, scope)
        if isinstance(made, str):
            return payload.Constant(made)
        if isinstance(made, tuple):
            self._flawed(spot.file, spot.path, text, made)
            return payload.refused(spot.field)
        if not self._may_send(made, text, spot):
            return payload.refused(spot.field)
        if made.bare is not None:
            return made.bare.get_sent or made.get
        return payload.leaf(unless_whole(made.get) if made.parts else made.get, spot.field)

    def _each(self, given: Any, spot: Spot, scope: Scope) -> payload.Constant | payload.Build:
        text, field = given["each"], spot.field
        if not isinstance(text, str) or "as" not in given or "item" not in given:
            return payload.refused(field)  # config/payloads says so
        at = spot.below("each", field)
        made = expressions.expression(text, scope)
        if isinstance(made, tuple):
            self._flawed(at.file, at.path, text, made)
            return payload.refused(field)
        listed = scope.listed(tuple(made.bare.path.split("."))) if made.bare is not None else None
        if listed is None:
            if made.type != "dyn" and not made.type.startswith("list"):
                self._flawed(at.file, at.path, text, [Flaw(0, f"must be a list, this is {made.type}")])
                return payload.refused(field)
            judged = classes.computed(("", 0), made.variables)
            listed = Listed(made.get, types.ANYTHING, lambda _below: judged)
        inner = ItemScope(scope, str(given["as"]), listed, strict=self._strict)
        item = self._part(given["item"], spot.below("item", f"{field}[]"), inner)
        return payload.each(listed.get, item, field)

    # ----------------------------------------------------------------------------------------- personal-data classes

    def _may_send(self, made: Expression, text: str, spot: Spot) -> bool:
        before = len(self.problems)
        for each in made.variables:
            name = (self._journey.name, self._sender, spot.call, spot.field)
            self.sent += [Sent(*name, each.path, cls or UNCLASSIFIED) for cls in classes.of(each)]
        if spot.flat and made.type.startswith("list"):
            where = "a URL" if spot.in_url else "a form"
            self._flawed(spot.file, spot.path, text, [Flaw(0, f"is a list, which {where} cannot say")])
        elif made.whole:
            self._flawed(spot.file, spot.path, text, [_whole(made)])
        elif self._classes:
            for variable in made.variables:
                for cls in classes.of(variable):
                    refused = class_problem(
                        self._config, spot.call, spot.file, spot.path, cls, in_url=spot.in_url,
                        named_in=self._named_in(variable),
                    )  # fmt: skip
                    if refused is not None:
                        self.problems.append(refused)
        return len(self.problems) == before

    def _named_in(self, variable: Variable) -> str:
        """Say where the class of a response's field is named; "" for a field of the event."""
        root, _, rest = variable.path.partition(".")
        name = rest.partition(".")[0]
        if root == "tables":
            return f"`class` of the field in hookline.yaml's lookups.{name}"
        called = [each.destination for each in self._journey.steps if each.name == name] if root == "steps" else []
        return f"`class` of the field in destinations/{called[0]}.yaml" if called else ""


def _whole(made: Expression) -> Flaw:
    """Say that an expression sends more than what it names."""
    if made.bare is None:
        if made.type.startswith("map"):
            return Flaw(0, "makes a whole object", "write its keys as YAML")
        return Flaw(0, "makes a list that may hold whole objects", _EACH)
    path = made.bare.path
    if "list" in made.type:
        return Flaw(0, f"`{path}` is a list of whole objects, or of what nobody knows", _EACH)
    hint = "name the fields that are needed, one by one"
    return Flaw(0, f"`{path}` is a whole object", hint if "map" in made.type else f"{hint}; of a list: {_EACH}")


def _errs(_datum: Datum, _now_ms: int) -> bool | None:
    return None


def _no_moment(_datum: Datum, _now_ms: int) -> object:
    return None


def _empty(_datum: Datum, _now_ms: int) -> bytes:
    """Stand in for the payload of a mark, which sends none."""
    return b""
