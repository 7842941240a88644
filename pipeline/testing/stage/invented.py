"""Makes up an event that a journey does something for, of what the journey reads: for journeys nobody wrote a case for.

What a condition compares with says which values to try; whether they are right is asked of the worker itself.
"""

from __future__ import annotations

import itertools
import re
import uuid
from typing import TYPE_CHECKING, Any, Final

from pipeline.config.plain import NoEventError
from pipeline.core.expressions import scan
from pipeline.model import Outcome, SkipReason, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipeline.config.models import Config, JourneyConfig
    from pipeline.config.staged import Shape
    from pipeline.testing.stage.explain import Ended

Path = tuple[str, ...]

TRIES_MAX: Final = 500
"""Events that are tried for a journey: each is a performance of some milliseconds."""
LISTS_MAX: Final = 16
"""Kinds of lists that are tried for one field."""
TIME: Final = "2026-11-23T12:00:00Z"
"""A Monday at noon: no quiet hours worth the name."""
_NAMESPACE: Final = uuid.UUID("5a8b0a55-4e1f-5b0f-9a4e-2f7f0c7f3c42")
_KNOWN: Final[Mapping[Path, str]] = {
    ("customer", "id"): "c-1",
    ("customer", "email"): "ann@example.org",
    ("customer", "phone"): "+12025550123",
    ("customer", "timezone"): "Europe/Berlin",
}
_FREE: Final[tuple[Any, ...]] = ("example", 1, 12.5, "11.77", TIME, True)
"""Where nothing says of which type a value is: one of each."""
_TYPICAL: Final[Mapping[str, Any]] = {
    "string": "example", "map": {}, "int": 1, "long": 1, "double": 12.5, "float": 12.5, "boolean": True,
}  # fmt: skip
_COMPARED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERATORS: Final = ("==", "!=", "<", "<=", ">", ">=")
_CONTAINING: Final = ("startsWith", "endsWith", "contains")
_WHOLE: Final = frozenset(("when", "each"))
"""Keys whose text is CEL as a whole."""
_OF_OTHERS: Final = frozenset(("match", "value"))
"""Keys in which `event` is another one; what started the run is `trigger` there."""


def event(
    config: Config, journey: JourneyConfig, shape: Callable[[str], Shape | None],
    ended: Callable[[Mapping[str, Any]], Mapping[str, Ended]],
) -> dict[str, Any] | None:  # fmt: skip
    """Return an event that the journey delivers something for, or None if none was found.

    `ended` performs an event and says how its steps ended; it may raise NoEventError.
    """
    reads = _Reads(config, journey)
    best: tuple[tuple[int, ...], dict[str, Any]] | None = None
    for made in itertools.islice(_events(journey, reads, shape), TRIES_MAX):
        try:
            score = _score(ended(made))
        except NoEventError:
            continue
        if score[0] and (best is None or score > best[0]):
            best = score, made
        if score[0] and not score[1]:
            break
    return None if best is None else best[1]


def _score(ended: Mapping[str, Ended]) -> tuple[int, int]:
    """Say how good an event is: how many steps it delivers, and that few fail."""
    good = sum(each.outcome is Outcome.DELIVERED for each in ended.values())
    bad = sum(
        each.outcome in (Outcome.DEAD, Outcome.REJECTED) or each.reason == SkipReason.CONDITION_ERROR
        for each in ended.values()
    )
    return good, -bad


def _events(
    journey: JourneyConfig, reads: _Reads, shape: Callable[[str], Shape | None]
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield events, the likeliest first: all first choices, then others of one field, of two, and so on."""
    for event_type in journey.trigger.events:
        found = shape(event_type)
        if found is None:
            continue
        choices = {path: made for path in reads.paths() if (made := _choices(path, reads, found.schema))}
        names = list(choices)
        for count in range(len(names) + 1):
            for changed in itertools.combinations(names, count):
                for others in itertools.product(*(choices[name][1:] for name in changed)):
                    values = {name: made[0] for name, made in choices.items()} | dict(zip(changed, others, strict=True))
                    yield _written(journey, event_type, reads.consent, values)


def _written(
    journey: JourneyConfig, event_type: str, consent: Mapping[str, str], values: Mapping[Path, Any]
) -> dict[str, Any]:  # fmt: skip
    made: dict[str, Any] = {
        "id": str(uuid.uuid5(_NAMESPACE, journey.name)), "type": event_type, "time": TIME, "consent": dict(consent),
        "customer": {},
    }  # fmt: skip
    for path, content in values.items():
        node = made
        for name in path[:-1]:
            below = node.setdefault(name, {})
            if not isinstance(below, dict):
                break
            node = below
        else:
            node.setdefault(path[-1], content)
    return made


# ------------------------------------------------------------------------------------------------ what a journey reads


@value
class Compared:
    """A constant that a path is compared with, as the path's own side: `path operator constant`."""

    operator: str
    constant: Any


class _Reads:
    """The paths of its event that a journey reads, and what each is compared with."""

    def __init__(self, config: Config, journey: JourneyConfig) -> None:
        self.compared: dict[Path, list[Compared]] = {}
        self.items: dict[Path, set[str]] = {}  # lists, and the keys that are read of their items
        self.consent = _granted(config, journey)
        self._sizes: set[Path] = set()
        texts = list(_texts(journey.model_dump(by_alias=True), whole=False))
        for step in journey.steps:
            if step.call:
                operation = config.destinations[step.destination].operations[step.operation]
                texts += _texts(operation.model_dump(by_alias=True), whole=False)
        for text, root in texts:
            self._read(text, root)
        self._lists(journey.model_dump(by_alias=True))

    def paths(self) -> list[Path]:
        """Return the paths to give values to: what is compared first, and a longer path before one that it goes on."""
        wanted = dict.fromkeys([*_KNOWN, *self.compared])
        return sorted(wanted, key=lambda path: (not self.compared.get(path), -len(path)))

    def _read(self, text: str, root: str) -> None:
        all_ = list(scan.tokens(text))
        at = {token.start: index for index, token in enumerate(all_)}
        for chain in scan.chains(text):
            path = chain.names[1:]
            if chain.names[0] != root or len(path) < 2 or path[0] not in ("customer", "source", "properties"):  # noqa: PLR2004
                continue
            first, last = at[chain.starts[0]], at[chain.starts[-1]]
            self.compared.setdefault(path, []).extend(_comparisons(all_, first, last))
            macro = _macro(all_, last)
            if macro:
                self.items.setdefault(path, set()).update(_keys(text, macro))

    def _lists(self, node: Any) -> None:
        """Note what list mappings read of the items."""
        if isinstance(node, dict):
            each, name = node.get("each"), node.get("as")
            if isinstance(each, str) and isinstance(name, str):
                keys = {
                    key for text, _ in _texts(node.get("item"), whole=False) for key in _keys(text, name)
                }  # fmt: skip
                for chain in scan.chains(each):
                    if chain.names[0] == "event":
                        self.items.setdefault(chain.names[1:], set()).update(keys)
            for part in node.values():
                self._lists(part)
        elif isinstance(node, (list, tuple)):
            for part in node:
                self._lists(part)


def _granted(config: Config, journey: JourneyConfig) -> dict[str, str]:
    """Consent to all that the journey may ask for."""
    channels = {step.reaches for step in journey.steps if step.reaches}
    purposes = set(config.purposes)
    keys = channels | purposes | {f"{purpose}.{channel}" for purpose in purposes for channel in channels}
    return dict.fromkeys(sorted(keys), "granted")


def _texts(node: Any, *, whole: bool, root: str = "event") -> Iterator[tuple[str, str]]:
    """Yield the CEL of what was written, and what its event is called there."""
    if isinstance(node, dict):
        for key, part in node.items():
            of_others = key in _OF_OTHERS
            yield from _texts(part, whole=key in _WHOLE or of_others, root="trigger" if of_others else root)
    elif isinstance(node, (list, tuple)):
        for part in node:
            yield from _texts(part, whole=whole, root=root)
    elif isinstance(node, str) and whole:
        yield node, root
    elif isinstance(node, str):
        cut = scan.pieces(node)
        yield from ((piece.text, root) for piece in (cut if isinstance(cut, list) else ()) if piece.expression)


def _keys(text: str, name: str) -> Iterator[str]:
    yield from (chain.names[1] for chain in scan.chains(text) if chain.names[0] == name and len(chain.names) > 1)


def _macro(all_: Sequence[scan.Token], last: int) -> str:
    """Return the variable that a macro on the path binds, as `line` in `path.all(line, …)`; "" without one."""
    texts = [token.text for token in all_[last + 1 : last + 6]]
    found = len(texts) == 5 and texts[0] == "." and texts[2] == "(" and texts[4] == ","  # noqa: PLR2004
    return texts[3] if found and texts[1] in ("all", "exists", "exists_one", "map", "filter") else ""


def _comparisons(all_: Sequence[scan.Token], first: int, last: int) -> Iterator[Compared]:
    """Yield what a path, between two tokens, is compared with: `path == "a"`, `2 < path`, `path in [1, 2]`."""
    after = [token.text for token in all_[last + 1 :]]
    if after[:1] == ["in"] and after[1:2] == ["["]:
        words = itertools.takewhile(lambda text: text != "]", after[2:])
        yield from (Compared("==", found) for word in words if (found := _literal([word])) is not None)
    elif after[:1] and after[0] in _OPERATORS and (found := _literal(after[1:3])) is not None:
        yield Compared(after[0], found)
    elif after[:1] == ["."] and after[1:2] and after[1] in _CONTAINING and (found := _literal(after[3:4])) is not None:
        yield Compared("==", found)
    before = [token.text for token in all_[max(0, first - 2) : first]]
    if before[1:] and before[1] in _OPERATORS and (found := _literal(before[:1])) is not None:
        yield Compared(_COMPARED.get(before[1], before[1]), found)


def _literal(words: Sequence[str]) -> Any:
    """Read a constant; None for anything else."""
    sign, word = (-1, words[1]) if words[:1] == ["-"] and len(words) > 1 else (1, words[0] if words else "")
    if word in ("true", "false"):
        return word == "true"
    if re.fullmatch(r"[0-9]+", word):
        return sign * int(word)
    if re.fullmatch(r"[0-9]+\.[0-9]+", word):
        return sign * float(word)
    return word[1:-1] if len(word) > 1 and word[0] in "\"'" and word[0] == word[-1] and "\\" not in word else None


# ------------------------------------------------------------------------------------------------------------- values


def _choices(path: Path, reads: _Reads, schema: Any) -> list[Any]:
    """Return values for a field, the likeliest first; none if the event has no such field."""
    found = _at(schema, path)
    if found is None:
        return []
    if path in reads.items:
        return _lists(sorted(reads.items[path]))
    tried = [each for compared in reads.compared.get(path, ()) for each in _near(compared)]
    branches = [each for each in (found if isinstance(found, list) else [found]) if each != "null"]
    usual = [_KNOWN[path]] if path in _KNOWN else list(_FREE)
    if len(branches) > 1:
        # A number may be meant as an amount of money: a decimal, which is written as text.
        forms = [[each] if isinstance(each, (str, bool)) else [each, f"{each:.2f}"] for each in tried]
        tried = [each for form in forms for each in form]
    else:
        tried = [made for each in tried if (made := _fitting(each, branches[0])) is not None]
        own = _all_of(branches[0])
        usual = usual if path in _KNOWN and own == ["example"] else own
    return list({repr(each): each for each in [*tried, *usual]}.values())


def _lists(keys: Sequence[str]) -> list[Any]:
    """Return lists of two items with these keys, each a text or a number."""
    forms = itertools.islice(itertools.product(("example", 1), repeat=len(keys)), LISTS_MAX)
    return [[dict(zip(keys, contents, strict=True))] * 2 for contents in forms]


def _near(compared: Compared) -> list[Any]:
    """Return values that hold for a comparison, then values for which it does not."""
    constant = compared.constant
    if isinstance(constant, bool):
        return [constant, not constant] if compared.operator == "==" else [not constant, constant]
    if isinstance(constant, str):
        return [f"{constant}-other", constant] if compared.operator == "!=" else [constant, f"{constant}-other"]
    above, below = constant + 1, constant - 1
    return {
        "==": [constant, above], "!=": [above, constant], "<": [below, above], "<=": [constant, below, above],
        ">": [above, below], ">=": [constant, above, below],
    }[compared.operator]  # fmt: skip


def _fitting(content: Any, schema: Any) -> Any:
    """Return a value as the only type the field has takes it; None if it does not."""
    kind, logical = (schema, "") if isinstance(schema, str) else (schema["type"], schema.get("logicalType", ""))
    number = isinstance(content, (int, float)) and not isinstance(content, bool)
    if logical == "decimal":
        return f"{content:.{schema.get('scale', 0)}f}" if number else None
    if kind in ("int", "long"):
        return int(content) if number else None
    if kind in ("double", "float"):
        return float(content) if number else None
    if kind == "boolean":
        return content if isinstance(content, bool) else None
    if kind == "enum":
        return content if content in schema["symbols"] else None
    return content if kind == "string" and isinstance(content, str) else None


def _all_of(schema: Any) -> list[Any]:
    """Return a value of each kind that a type has: all of few, else a typical one."""
    if isinstance(schema, dict) and schema["type"] == "enum":
        return list(schema["symbols"])
    made = _typical(schema)
    return [True, False] if made is True else [] if made is None else [made]


def _typical(schema: Any) -> Any:
    """Return a value such as a type has; None where there is none to be made up."""
    if isinstance(schema, list):
        return next((made for each in schema if (made := _typical(each)) is not None), None)
    kind, logical = (schema, "") if isinstance(schema, str) else (schema["type"], schema.get("logicalType", ""))
    if kind == "record":
        return {field["name"]: _typical(field["type"]) for field in schema["fields"] if "default" not in field}
    if kind == "array":
        made = _typical(schema["items"])
        return [] if made is None else [made]
    if logical == "decimal":
        return f"{12.5:.{schema.get('scale', 0)}f}"
    if logical == "uuid" or logical.startswith("timestamp-"):
        return str(_NAMESPACE) if logical == "uuid" else TIME
    return schema["symbols"][0] if kind == "enum" else _TYPICAL.get(kind)


def _at(schema: Any, path: Path) -> Any:
    """Return the schema of a field; None if the event has no such field."""
    for name in path:
        branches = schema if isinstance(schema, list) else [schema]
        inner = next((each for each in branches if isinstance(each, dict) and each["type"] in ("record", "map")), None)
        if inner is None:
            return None
        fields = {field["name"]: field["type"] for field in inner.get("fields", ())}
        schema = fields.get(name, inner.get("values"))
        if schema is None:
            return None
    return schema
