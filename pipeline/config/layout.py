"""Decides the one layout of a configuration file: keys in the order of the reference, comments kept.

What a file means is never touched: that is checked on every file, and so is that no comment is lost. Order is a matter
of whole lines, so that a comment above a key stays with it; indentation and quotes are ruamel's.
"""

from __future__ import annotations

import io
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from pipeline.config import yaml
from pipeline.config.places import Places
from pipeline.config.shape import expected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config.section import Section

PASSES_MAX: Final = 3
"""Passes until nothing changes any more; the second is there to see that."""
ORDER: Final = {
    "JourneyConfig": (
        "journey", "formerly", "status", "rollout", "owner", "goal", "category", "basis", "purpose", "trigger",
        "cancel_on", "ordering", "holdout", "success", "on_failure", "steps",
    ),
    "StepConfig": (
        "step", "formerly", "after", "join", "when", "call", "mark", "kind", "reaches", "basis", "purpose", "ordering",
        "budget", "max_age", "deadline", "payload", "default", "on_failure",
    ),
    "HooklineFile": (
        "group", "kafka", "registry", "state_dir", "retry_tiers", "retention", "events", "lookups", "classes",
        "identity", "purposes", "consent", "caps", "quiet_hours", "brakes", "alerts", "telemetry",
    ),
    "Brakes": ("intake", "destination"),
    "EnvFile": ("mode", "redirect_to", "group", "kafka", "registry", "telemetry", "destinations"),
}  # fmt: skip
"""By model: the order its keys are read in, where that is not the order of its fields."""
_LINE_CHARS_MAX: Final = 1_000_000  # no line is ever broken


class LayoutError(ValueError):
    """A file that cannot be laid out without changing what it means, or losing a comment."""


def laid_out(model: type[Section] | None, text: str) -> str:
    """Return a readable file (see config.yaml) in the one layout; `model` tells the order of its keys.

    Laid out again it stays as it is. Raises LayoutError.
    """
    before = _meaning(text)
    made = text.removeprefix("\ufeff").replace("\r\n", "\n")
    for _ in range(PASSES_MAX):
        ordered, last = _reordered(model, made), made
        made = _tidied(_indented(model, ordered), _anchors(ordered))
        if _meaning(made) != before:
            raise LayoutError("would mean something else")
        if sorted(_comments(made)) != sorted(_comments(text)):
            raise LayoutError("would lose a comment")
        if made == last:
            return made
    raise LayoutError("has no layout that stays")


def _meaning(text: str) -> object:
    tree, problems = yaml.parse("", text.encode(), Places())
    if problems:
        raise LayoutError("is not readable")
    return tree


# ------------------------------------------------------------------------------------------------------------- order


def _reordered(model: type[Section] | None, text: str) -> str:
    """Return the text with the keys of block mappings in the order of their section, each with what stands above it."""
    text = text if text.endswith("\n") else text + "\n"
    root = _yaml().compose(text)
    return text if root is None or model is None else _Order(text).node(root, model, 0, len(text))


def _order(section: type[Section], keys: list[str]) -> list[int]:
    """Return the indices of keys in the section's order; what it does not know comes last, as it was."""
    known = ORDER.get(section.__name__) or [field.alias or name for name, field in section.model_fields.items()]
    place = {key: at for at, key in enumerate(known)}
    return sorted(range(len(keys)), key=lambda at: place.get(keys[at], len(place)))


def _end(node: Node) -> int:
    """Return the index where the text of a node ends, comments after it left out."""
    if not isinstance(node, (MappingNode, SequenceNode)) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


class _Order:
    """One text, and regions of it with their keys in order."""

    def __init__(self, text: str) -> None:
        self._text = text

    def node(self, node: Node, annotation: Any, low: int, high: int) -> str:
        """Return the text from `low` to `high`, which holds `node`, in order."""
        section, container = expected(annotation)
        if isinstance(node, MappingNode) and not node.flow_style and node.value:
            if section is not None:
                fields = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
                return self._mapping(node, section, fields, low, high)
            if container is not None:
                return self._mapping(node, None, {key.value: container for key, _ in node.value}, low, high)
        if isinstance(node, SequenceNode) and not node.flow_style and container is not None:
            return self._sequence(node, container, low, high)
        return self._text[low:high]

    def _mapping(
        self, node: MappingNode, section: type[Section] | None, fields: dict[str, Any], low: int, high: int
    ) -> str:
        keys = [key.start_mark.index for key, _ in node.value]
        column = node.value[0][0].start_mark.column
        ends = [_end(part) for _, part in node.value]
        tail = self._above(high, high, ends[-1])
        starts = [keys[0], *(self._above(at, column, end) for at, end in zip(keys[1:], ends, strict=False)), tail]
        parts = []
        for at, (key, part) in enumerate(node.value):
            body = self.node(part, fields.get(key.value), keys[at], starts[at + 1])
            lead = self._text[starts[at] : self._line(keys[at])] if at else ""
            parts.append((lead, body))
        if section is not None:
            parts = [parts[at] for at in _order(section, [key.value for key, _ in node.value])]
        line = self._line(keys[0])
        head, first = self._text[low : max(low, line)], self._text[max(low, line) : keys[0]]
        rest = "".join(lead + " " * column + body for lead, body in parts[1:])
        return head + parts[0][0].lstrip("\n") + first + parts[0][1] + rest + self._text[tail:high]

    def _sequence(self, node: SequenceNode, item: Any, low: int, high: int) -> str:
        starts = [low]
        for before, each in pairwise(node.value):
            dash = self._text.rindex("-", 0, each.start_mark.index)
            starts.append(self._above(dash, dash - self._line(dash), _end(before)))
        ends = [*starts[1:], high]
        return "".join(
            self.node(each, item, start, end) for each, start, end in zip(node.value, starts, ends, strict=True)
        )

    def _above(self, at: int, column: int, low: int) -> int:
        """Return where the blank and comment lines begin that stand directly above what is at `at`, not before `low`.

        A comment further to the right than `column` belongs to what is above it.
        """
        start = self._line(at)
        while start > low and (above := self._line(start - 1)) >= low:
            line = self._text[above : start - 1]
            bare = line.lstrip(" ")
            if bare and (not bare.startswith("#") or len(line) - len(bare) > column):
                break
            start = above
        return start

    def _line(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1


# ------------------------------------------------------------------------------------------------ indentation, quotes


class _AsWritten(VersionedResolver):
    """Takes every plain scalar for text, so that it is written as it was: `0x1F`, `1e3`, a time."""

    @property
    def versioned_resolver(self) -> dict[str, Any]:
        """No rules."""
        return {}


def _yaml() -> YAML:
    """Return a round trip that keeps every scalar as it is written: whether it is a number is not asked."""
    made = YAML()
    made.Resolver = _AsWritten
    made.preserve_quotes = True
    made.width = _LINE_CHARS_MAX
    made.allow_unicode = True
    made.indent(mapping=2, sequence=4, offset=2)
    return made


def _indented(model: type[Section] | None, text: str) -> str:
    rounds = _yaml()
    tree = rounds.load(text)
    out = io.StringIO()
    rounds.dump(_quoted(tree, model), out)
    return out.getvalue()


def _quoted(node: Any, annotation: Any) -> Any:
    """Return the node with double quotes where there are single ones, and flow mappings in order."""
    section, container = expected(annotation)
    if isinstance(node, SingleQuotedScalarString):
        plain = node.isprintable() and not set(node) & {'"', "\\"}
        return DoubleQuotedScalarString(node) if plain else node
    if isinstance(node, list):
        for at, part in enumerate(node):
            node[at] = _quoted(part, container)
    elif isinstance(node, CommentedMap):
        fields = {} if section is None else {f.alias or name: f.annotation for name, f in section.model_fields.items()}
        for key in node:
            node[key] = _quoted(node[key], fields.get(str(key), container))
        keys = list(node)
        if section is not None and node.fa.flow_style():
            for at in _order(section, [str(key) for key in keys]):
                node.move_to_end(keys[at])
    return node


# ------------------------------------------------------------------------------------------------- lines and comments


def _tidied(text: str, anchors: list[int]) -> str:
    """Return the text without blanks at line ends and more than one empty line, comments indented as `anchors` say."""
    kept = _inside(text)
    lines: list[str] = []
    for at, line in enumerate(text.split("\n")):
        bare = line.rstrip()
        if at in kept:
            lines.append(line)
        elif bare or (lines and lines[-1]):
            lines.append(bare)
    lines = ("\n".join(lines).rstrip("\n") + "\n").split("\n")
    comments, code = _told_apart(lines)
    for at, anchor in zip(comments, anchors, strict=False):
        bare = lines[at].lstrip(" ")
        if at == 0 or len(lines[at]) - len(bare) != _comment_at(lines[at - 1]):  # else it goes on with that one
            above = [each for each in code if each < at]
            below = [each for each in code if each > at]
            line = lines[above[-anchor]] if 0 < anchor <= len(above) else lines[below[0]] if below else ""
            lines[at] = " " * (_column(line) if anchor else _indent(line)) + bare
    return "\n".join(lines)


def _anchors(text: str) -> list[int]:
    """Return for each comment line what it belongs to: 0 the line below, else so many lines of content above.

    It belongs above if it is further to the right than what follows: the end of a block.
    """
    lines = text.split("\n")
    comments, code = _told_apart(lines)
    found = []
    for at in comments:
        column = _indent(lines[at])
        below = next((_indent(lines[each]) for each in code if each > at), 0)
        above = [each for each in code if each < at]
        ups = [up for up in range(1, len(above) + 1) if _column(lines[above[-up]]) <= column]
        found.append(ups[0] if column > below and ups else 0)
    return found


def _told_apart(lines: list[str]) -> tuple[list[int], list[int]]:
    """Return the numbers of the lines that are a comment, and of those where content begins."""
    kept = _inside("\n".join(lines))
    outside = [at for at, line in enumerate(lines) if at not in kept and line.strip()]
    comments = [at for at in outside if lines[at].lstrip(" ").startswith("#")]
    return comments, [at for at in outside if at not in set(comments)]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _column(line: str) -> int:
    """Return the column (from 0) where the content of a line begins, after the dashes of a list."""
    return len(line) - len(line.lstrip(" -"))


def _comment_at(line: str) -> int:
    """Return the column (from 0) where the comment at the end of a line begins, 0 if there is none."""
    return line.rfind(" #") + 1


def _scalars(node: Node | None) -> Iterator[ScalarNode]:
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, SequenceNode):
        for each in node.value:
            yield from _scalars(each)
    elif isinstance(node, MappingNode):
        for key, part in node.value:
            yield from _scalars(key)
            yield from _scalars(part)


def _inside(text: str) -> set[int]:
    """Return the numbers (from 0) of lines that continue a scalar: there every blank counts, and `#` is text."""
    found: set[int] = set()
    for each in _scalars(_yaml().compose(text)):
        last = each.end_mark.line - (1 if each.style in ("|", ">") else 0)
        found.update(range(each.start_mark.line + 1, last + 1))
    return found


def _comments(text: str) -> list[str]:
    lines = text.split("\n")
    covered: dict[int, list[tuple[int, int]]] = {}
    for each in _scalars(_yaml().compose(text)):
        start, end = each.start_mark, each.end_mark
        for line in range(start.line, end.line + 1):
            low = start.column if line == start.line else 0
            high = end.column if line == end.line else len(lines[line]) + 1
            covered.setdefault(line, []).append((low, high))
    found = []
    for at, text_line in enumerate(lines):
        for hit in re.finditer(r"(?:^|(?<=\s))#", text_line):
            if not any(low <= hit.start() < high for low, high in covered.get(at, ())):
                found.append(text_line[hit.start() :].rstrip())
                break
    return found
