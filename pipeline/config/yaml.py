"""Reads one YAML 1.2 file strictly: plain values with the position of every node, or problems, never a guess.

Scalars follow the core schema (YAML 1.2.2, section 10.3): `on`, `NO` and `22:00` are text. Refused because they make a
file mean something else than it seems to: duplicate keys, anchors, aliases, tags, merge keys, directives, several
documents. Everything is bounded, and nothing can multiply (no aliases), so a hostile file costs at most its own size.
Two parsers read: libyaml what is usual, because it is fast; ruamel, whose word counts, whatever that leaves in doubt.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import yaml as libyaml  # type: ignore[import-untyped]
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)

from pipeline.config.places import Path, Place, Places, dotted
from pipeline.model import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

try:
    from yaml.cyaml import CParser  # type: ignore[import-untyped]
except ImportError:  # built without libyaml: ruamel reads all
    CParser = None

FILE_BYTES_MAX: Final = 256 * 1024
DEPTH_MAX: Final = 24
PROBLEMS_MAX: Final = 100  # of one file; a broken file is not repeated line by line

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN", re.ASCII)
_UNPRINTABLE: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_DOUBTFUL: Final = re.compile("[\t\x85\u2028\u2029]")
_ENDS: Final[dict[type[Any], type[Event]]] = {
    libyaml.StreamStartEvent: StreamStartEvent,
    libyaml.StreamEndEvent: StreamEndEvent,
    libyaml.DocumentEndEvent: DocumentEndEvent,
    libyaml.MappingEndEvent: MappingEndEvent,
    libyaml.SequenceEndEvent: SequenceEndEvent,
}
"""Events that say nothing but where they are."""
_INT_DIGITS_MAX: Final = 20
_INT_MAX: Final = 2**63


class Unread(Enum):
    """The one value of a node that was refused; nothing more is said about it."""

    UNREAD = "unread"


UNREAD: Final = Unread.UNREAD


class _Stop(Exception):
    pass


class _DoubtError(Exception):
    pass


def parse(file: str, raw: bytes, places: Places) -> tuple[object, tuple[Problem, ...]]:
    """Read `raw`, noting positions under `file`; return the value (UNREAD if there is none) and all problems.

    Mappings are dicts with text or int keys, sequences lists, scalars str, int, float, bool or None.
    """
    if CParser is not None:
        found = Places()
        quick = _Reader(file, found, _quick_events)
        try:
            value = quick.document(raw)
        except (_Stop, _DoubtError):
            pass
        else:
            if not quick.problems:
                places.take(found)
                return value, ()
    reader = _Reader(file, places, _events)
    try:
        value = reader.document(raw)
    except _Stop:
        value = UNREAD
    return value, tuple(reader.problems[:PROBLEMS_MAX])


def _events(text: str) -> Iterator[Event]:
    """Read with ruamel: YAML 1.2, and the words for what is wrong."""
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


def _quick_events(text: str) -> Iterator[Event]:
    """Read with libyaml, ten times as fast; raises _DoubtError wherever ruamel may see anything else, or any problem.

    That is where it is no YAML, and at line breaks of YAML 1.1, tabs, block scalars, anchors, tags, directives, and
    where nothing stands for a value.
    """
    if _DOUBTFUL.search(text):
        raise _DoubtError
    parser = CParser(text)
    try:
        while parser.check_event():
            yield _certain(parser.get_event())
    except libyaml.YAMLError:
        raise _DoubtError from None


def _certain(event: Any) -> Event:
    """Return ruamel's event for one of libyaml's."""
    start, end = event.start_mark, event.end_mark
    match event:
        case libyaml.ScalarEvent():
            style = event.style or None
            if event.anchor or event.tag or style in ("|", ">") or (style is None and not event.value):
                raise _DoubtError
            return ScalarEvent(None, None, event.implicit, event.value, start, end, style)
        case libyaml.MappingStartEvent() | libyaml.SequenceStartEvent():
            if event.anchor or event.tag:
                raise _DoubtError
            kind = MappingStartEvent if isinstance(event, libyaml.MappingStartEvent) else SequenceStartEvent
            return kind(None, None, event.implicit, start, end)
        case libyaml.DocumentStartEvent():
            if event.version or event.tags:
                raise _DoubtError
            return DocumentStartEvent(start, end)
    if type(event) not in _ENDS:
        raise _DoubtError
    return _ENDS[type(event)](start, end)


class _Reader:
    def __init__(self, file: str, places: Places, events: Callable[[str], Iterator[Event]]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._places = places
        self._read = events
        self._events: Iterator[Event] = iter(())
        self._lines: list[str] = []

    def document(self, raw: bytes) -> object:
        """Read the one document of a file."""
        text = self._text(raw)
        self._lines = text.split("\n")
        self._events = self._read(text)
        self._next()  # the start of the stream
        start = self._next()
        if isinstance(start, StreamEndEvent):
            raise self._stop(1, 1, "the file is empty")
        assert isinstance(start, DocumentStartEvent)
        if start.version or start.tags:
            raise self._stop(1, 1, "directives are refused", "the file is YAML 1.2 anyway")
        value = self._node(self._next(), ())
        self._next()  # the end of the document
        after = self._next()
        if not isinstance(after, StreamEndEvent):
            raise self._stop(*_at(after), "a second document is refused", "one file is one object")
        return value

    def _text(self, raw: bytes) -> str:
        if len(raw) > FILE_BYTES_MAX:
            raise self._stop(0, 0, f"the file is larger than {FILE_BYTES_MAX // 1024} KiB")
        try:
            text = raw.removeprefix(b"\xef\xbb\xbf").decode()
        except UnicodeDecodeError as error:
            before = raw[: error.start]
            line = before.count(b"\n") + 1
            column = error.start - (before.rfind(b"\n") + 1) + 1
            raise self._stop(line, column, "the file is not UTF-8") from None
        if found := _UNPRINTABLE.search(text):
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - text.rfind("\n", 0, found.start())
            raise self._stop(line, column, "a control character is refused")
        return text

    def _next(self) -> Event:
        try:
            return next(self._events)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            hint = "inside { } and [ ] put ${…} in quotes" if self._after_dollar(line, column) else ""
            raise self._stop(line, column, f"not YAML: {_why(error)}", hint) from None
        except (YAMLError, ValueError, OverflowError):  # an escape beyond Unicode
            raise self._stop(0, 0, "not YAML") from None

    def _after_dollar(self, line: int, column: int) -> bool:
        """Whether `{` was met where `${` was meant: the commonest slip in a flow mapping."""
        lines = self._lines[line - 1 : line]
        return bool(lines) and lines[0][:column].endswith("${")

    def _node(self, event: Event, path: Path, key: Place | None = None) -> object:
        line, column = _at(event)
        self._places.add(self._file, path, Place(self._file, line, column), key)
        if isinstance(event, AliasEvent):
            self._refuse(event, path, "aliases are refused", "write the value out")
            return UNREAD
        if getattr(event, "anchor", None):
            self._refuse(event, path, "anchors are refused", "write the value out where it is needed")
        if _tagged(event):
            self._refuse(event, path, "tags are refused", "quotes make text of anything")
        if len(path) > DEPTH_MAX:
            raise self._stop(line, column, f"nested deeper than {DEPTH_MAX} levels")
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(path)
        assert isinstance(event, MappingStartEvent)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[object]:
        items: list[object] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str | int, object]:
        pairs: dict[str | int, object] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event, path)
            place = Place(self._file, *_at(event))
            if key is None or key in pairs:
                if key is not None:
                    first = self._places.key(self._file, (*path, key))
                    self._refuse(event, (*path, key), "is here twice", f"first on line {first.line}")
                self._skip()
                continue
            pairs[key] = self._node(self._next(), (*path, key), place)
        return pairs

    def _key(self, event: Event, path: Path) -> str | int | None:
        """Read a key; None if it was refused."""
        if not isinstance(event, ScalarEvent):
            self._refuse(event, path, "a key must be text")
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                self._skip(1)
            return None
        if event.anchor or _tagged(event):
            self._refuse(event, path, "anchors and tags are refused")
        if event.style is None and event.value == "<<":
            self._refuse(event, path, "merge keys are refused", "write the keys out")
            return None
        key = self._scalar(event, path)
        if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
            return key
        if key is not UNREAD:
            self._refuse(event, path, "a key must be text", "put it in quotes")
        return None

    def _skip(self, depth: int = 0) -> None:
        """Read over one node, or to the end of the `depth` nodes around."""
        while True:
            event = self._next()
            if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
                depth += 1
            elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
                depth -= 1
            if depth == 0:
                return

    def _scalar(self, event: ScalarEvent, path: Path) -> object:
        text: str = event.value
        if event.style is None:
            value = _resolve(text)
            if isinstance(value, int) and not -_INT_MAX <= value < _INT_MAX:
                self._refuse(event, path, "is beyond 64 bits", "quotes make it text")
                return UNREAD
            if isinstance(value, float) and not math.isfinite(value):
                self._refuse(event, path, "is not a finite number", "quotes make it text")
                return UNREAD
            return value
        if _SURROGATE.search(text):
            self._refuse(event, path, "half of a surrogate pair is no character")
            return UNREAD
        return text

    def _refuse(self, event: Event, path: Path, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self._file, *_at(event), dotted(path), message, hint))

    def _stop(self, line: int, column: int, message: str, hint: str = "") -> _Stop:
        self.problems.append(Problem(self._file, line, column, "", message, hint))
        return _Stop()


def _resolve(text: str) -> object:
    """Read a plain scalar by the core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        if len(text) > _INT_DIGITS_MAX:  # Python refuses to read thousands of digits
            return _INT_MAX
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if _FLOAT.fullmatch(text):
        return float(text)
    return math.inf if _NOT_FINITE.fullmatch(text) else text


def _at(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _tagged(event: Event) -> bool:
    return getattr(event, "ctag", None) is not None or getattr(event, "tag", None) is not None


def _why(error: MarkedYAMLError) -> str:
    """Say what the scanner stumbled over; its words name tokens and single characters, never a value."""
    return " ".join(part for part in (error.problem, error.context) if part)
