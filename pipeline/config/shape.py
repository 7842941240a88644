"""Decides whether a parsed file has the shape of its model, and says every problem in the words of its user.

Three passes: keys (unknown, without a value), then pydantic, then pydantic's errors put into words
that quote no value. What was refused in the first pass is taken out, so that nothing is reported twice.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import ValidationError

from pipeline.config.section import Section, suggestion
from pipeline.config.yaml import UNREAD

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from pipeline.config.places import Path, Places
    from pipeline.model import Problem

_S = TypeVar("_S", bound=Section)

_MAPPING: Final = ("must be a mapping", "key: value")
_LIST: Final = ("must be a list", "[a, b]")
_NUMBER: Final = ("must be a whole number", "")
_WORDS: Final = {
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "int_type": _NUMBER,
    "int_from_float": _NUMBER,
    "float_type": ("must be a number", ""),
    "string_type": ("must be text", "put it in quotes"),
    "too_short": ("must not be empty", ""),
    "too_long": ("has more than {max_length} entries", ""),
    "greater_than_equal": ("must be at least {ge}", ""),
    "less_than_equal": ("must be at most {le}", ""),
}


MENDS_MAX: Final = 3
"""Rounds of leaving out: what is left out may turn out to be required, and what stands for it not to fit."""

ALONE: Final = frozenset(
    ("status", "owner", "goal", "category", "when", "max_age", "rollout", "holdout", "success", "on_failure",
     "deadline", "base_url", "receives", "data", "auth", "tls", "proxy", "sign", "idempotency", "timeout", "limits",
     "breaker", "retry", "on_status", "response_bytes_max", "retain_excerpt",
     "group", "kafka", "registry", "retention", "consent", "brakes", "telemetry", "identity", "caps", "quiet_hours")
)  # fmt: skip
"""Keys that nothing else is checked against: without them the rest can be."""

STANDS_FOR: Final[Mapping[str | int, object]] = {
    "owner": "unread", "goal": "unread", "category": "service", "max_age": "365d", "base_url": "https://unread.invalid",
    "receives": ["identifier", "contact", "free_text"], "idempotency": "none", "group": "unread",
    "kafka": {"bootstrap": "unread:9092"},
}  # fmt: skip
"""By key: what refuses nothing, where leaving it out will not do."""

OPEN: Final = frozenset(("payload", "operations", "events", "default", "mark", "fragments", "tables"))
"""Keys below which names are a user's own."""


def validate(model: type[_S], tree: object, file: str, places: Places) -> tuple[_S | None, tuple[Problem, ...]]:
    """Make a `model` of `tree`; return it, or None if there are problems, and all of them."""
    walk = _Walk(file, places)
    clean = walk.node(model, tree, ())
    try:
        made = model.model_validate(clean)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=True)
        walk.problems.extend(problem for each in errors if (problem := _worded(each, clean, walk)) is not None)
        made = None
    return (None if walk.problems or walk.unread else made), tuple(walk.problems)


def mended(model: type[_S], tree: object, file: str, places: Places) -> _S | None:
    """Make a `model` of a `tree` that has problems, without what is broken; None if others look at what is broken."""
    walk = _Walk(file, places)
    clean = walk.node(model, tree, ())
    broken = walk.unread - walk.unknown
    for _ in range(MENDS_MAX):
        if not isinstance(clean, dict) or not all(_left_out(clean, path) or _an_update(clean, path) for path in broken):
            return None
        try:
            return model.model_validate(clean)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            found = {_broken(each["loc"], each["type"], clean): each["type"] for each in errors}
            # A list is also too short for pydantic if what is in it is wrong.
            broken = {path for path, kind in found.items() if kind != "too_short" or not _at(path, clean)}
    return None


def _broken(location: tuple[str | int, ...], kind: str, tree: object) -> Path:
    path = _existing(location, tree)
    return (*path, location[-1]) if kind == "missing" else path


def _left_out(tree: dict[Any, Any], path: Path) -> bool:
    """Take what is at `path` out of the tree, or put in what stands for it where it is missing; False if neither."""
    node: Any = tree
    for part in path:
        if part in ALONE and isinstance(node, dict):
            if part not in node and part in STANDS_FOR:
                node[part] = STANDS_FOR[part]
            else:
                node.pop(part, None)
            return True
        if part in OPEN or not isinstance(node, (dict, list)):
            return False
        node = node[cast("int", part)] if isinstance(node, list) or part in node else None
    return False


def _an_update(tree: dict[Any, Any], path: Path) -> bool:
    """Take a step for an update if its kind, or what goes with that, is broken; False if it is anything else.

    Other steps may be refused for the edges that this changes: see config.load.
    """
    steps = tree.get("steps")
    whole = len(path) == 2  # noqa: PLR2004 - steps and a number
    if path[:1] != ("steps",) or not isinstance(steps, list) or not (whole or path[2:] == ("kind",)):
        return False
    step = steps[cast("int", path[1])]
    if not isinstance(step, dict) or "mark" in step or not isinstance(step.get("call"), str):
        return False
    answers = step.get("kind") in ("decide", "enrich")  # then its response may be read, whatever else is wrong
    for key in ("budget", "default"):
        step.pop(key, None)
    step["kind"] = "enrich" if answers else "update"
    return True


class _Walk:
    """The first pass over one file."""

    def __init__(self, file: str, places: Places) -> None:
        self.file = file
        self.places = places
        self.problems: list[Problem] = []
        self.unknown: set[Path] = set()  # keys that mean nothing: without them nothing is missing
        self.choices: dict[Path, str] = {}  # of keys that are missing: the words they take, if they are few
        self.unread: set[Path] = set()  # refused or unreadable: pydantic's errors at or under these say nothing new

    def node(self, annotation: Any, node: object, path: Path) -> object:
        """Return `node` without what was refused."""
        if node is UNREAD:
            self.unread.add(path)
            return None
        section, container = expected(annotation)
        if section is not None and isinstance(node, dict):
            return self._section(section, node, path)
        if container is None:
            self._free(node, path)
        elif isinstance(node, list):
            return [self._child(container, part, (*path, index)) for index, part in enumerate(node)]
        elif isinstance(node, dict):
            return {key: self._child(container, part, (*path, key)) for key, part in node.items()}
        return node

    def _child(self, annotation: Any, node: object, path: Path) -> object:
        if node is None and annotation is not Any:
            self.refuse(path, "has no value", "leave the key out for its default")
            return None
        return self.node(annotation, node, path)

    def _section(self, section: type[Section], node: dict[Any, object], path: Path) -> dict[str, object]:
        fields = {field.alias or name: field for name, field in section.model_fields.items()}
        kept: dict[str, object] = {}
        if wrong := section.misread(node):
            self.unread.add(path)
            self.refuse((*path, wrong[0]), *wrong[1:], at_key=True)
            return kept
        self.choices |= {(*path, key): _choices(fields[key].annotation) for key in fields.keys() - node.keys()}
        for key, part in node.items():
            at = (*path, key)
            if key in fields:
                kept[key] = self._child(fields[key].annotation, part, at)
            elif section.open_keys:
                flaw = section.flaw(key, part)
                if flaw is None:
                    kept[key] = part
                else:
                    meant = suggestion(key, fields)
                    self.unread.add((*path, meant.rpartition(" ")[2]))
                    self.refuse(at, flaw[0], meant or flaw[1])
            else:
                message, hint = section.unknown
                belongs, place = section.elsewhere.get(key, ("", ()))
                meant = belongs or suggestion(key, fields)
                self.unknown.add(at)
                if place:
                    self.unread.add((*path, *place))  # not missed there
                self.unread.add((*path, meant.rpartition(" ")[2]))  # not missed: it is here, misspelt
                self.refuse(at, message, meant or hint, at_key=True)
        return kept

    def _free(self, node: object, path: Path) -> None:
        """Look for unread parts where anything goes."""
        parts: Sequence[tuple[Any, object]] = ()
        if isinstance(node, dict):
            parts = tuple(node.items())
        elif isinstance(node, list):
            parts = tuple(enumerate(node))
        for key, part in parts:
            if part is UNREAD:
                self.unread.add((*path, key))
            else:
                self._free(part, (*path, key))

    def refuse(self, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note a problem, once; nothing more is said about this node."""
        self.unread.add(path)
        self.problems.append(self.places.problem(self.file, path, message, hint, at_key=at_key))

    def is_unread(self, path: Path) -> bool:
        """Whether the node or one around it was refused already."""
        return any(path[:end] in self.unread for end in range(len(path) + 1))

    def is_partly_unread(self, path: Path) -> bool:
        """Whether something in the node was refused already, so that nothing can be said of it as a whole."""
        return any(each[: len(path)] == path for each in self.unread)


def _choices(annotation: Any) -> str:
    return ", ".join(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ""


def expected(annotation: Any) -> tuple[type[Section] | None, Any]:
    """Say what a field takes: a section, a list or mapping of what, or neither (free)."""
    known = _EXPECTED.get(id(annotation))
    if known is None:
        _EXPECTED[id(annotation)] = known = annotation, _expected(annotation)
    return known[1]


_EXPECTED: Final[dict[int, tuple[Any, tuple[type[Section] | None, Any]]]] = {}
"""What `expected` found, by the annotation's identity; kept beside it, so that no other gets the same. One a field."""


def _expected(annotation: Any) -> tuple[type[Section] | None, Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return expected(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        found = [expected(each) for each in get_args(annotation) if each is not types.NoneType]
        return next((each for each in found if each != (None, None)), (None, None))
    if isinstance(annotation, type) and origin is None and issubclass(annotation, Section):
        return annotation, None
    if origin is tuple and get_args(annotation)[1:] == (...,):
        return None, get_args(annotation)[0]
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return None, get_args(annotation)[1]
    return None, None


def _worded(error: ErrorDetails, tree: object, walk: _Walk) -> Problem | None:
    """Put one of pydantic's errors into a problem; None if its node was refused before."""
    path = _existing(error["loc"], tree)
    if error["type"] == "missing":
        key = str(error["loc"][-1])
        if walk.is_unread(path) or walk.is_unread((*path, key)):
            return None
        problem = walk.places.problem(walk.file, path, "is required")
        problem_field = f"{problem.field}.{key}" if problem.field else key
        choices = walk.choices.get((*path, key))
        hint = f"one of: {choices}" if choices else ""
        return type(problem)(problem.file, problem.line, problem.column, problem_field, "is required", hint)
    of_the_whole = error["type"] in ("refused", "too_short") and isinstance(_at(path, tree), (dict, list))
    if walk.is_unread(path) or (of_the_whole and walk.is_partly_unread(path)):
        return None
    if error["type"] == "too_short" and _at(path, tree):
        return None  # pydantic counts the valid entries only
    at_key = error["loc"][-1:] == ("[key]",)
    message, hint = _words(error)
    return walk.places.problem(walk.file, path, message, hint, at_key=at_key)


def _existing(location: tuple[str | int, ...], tree: object) -> Path:
    """Drop from pydantic's location what is no key or index of the tree: union tags, `[key]`, field names."""
    path: Path = ()
    for part in location:
        if (isinstance(tree, dict) and part in tree) or (isinstance(tree, list) and part in range(len(tree))):
            tree, path = cast("Any", tree)[part], (*path, part)
    return path


def _at(path: Path, tree: object) -> object:
    for part in path:
        tree = cast("Any", tree)[part]
    return tree


def _words(error: ErrorDetails) -> tuple[str, str]:
    kind, context = error["type"], cast("Mapping[str, Any]", error.get("ctx", {}))
    if kind == "refused":
        return context["text"], context["hint"]
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        message = f"must be one of: {', '.join(allowed)}" if len(allowed) > 1 else f"must be {allowed[0]}"
        return message, suggestion(error["input"], allowed) if isinstance(error["input"], str) else ""
    message, hint = _WORDS.get(kind, (f"is not valid here ({kind})", ""))
    return message.format_map(context), hint
