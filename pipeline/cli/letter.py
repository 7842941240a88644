"""Reads dead letters: what their headers say, and the event they hold, masked unless it may be shown."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.core import runstate
from pipeline.core.deadletter import EXCERPT, OVERSIZE, PREFIX
from pipeline.core.runstate import RunState
from pipeline.model import Undecodable, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.core.types import Type
    from pipeline.model import Record
    from pipeline.ports import Schemas

OPEN_HEADERS: Final = ("traceparent", "tracestate", "__value_schema_id", "__key_schema_id")
"""Headers of producers whose content is no personal data by their own specifications."""
_BYTES: Final = (EXCERPT, runstate.STATE_HEADER)
"""Headers of ours that are no text."""
_NAMES_MAX: Final = 10_000
"""Field names of a schema that are looked at; those beyond are masked like keys of a map."""


@value
class Letter:
    """One record of the dead topic. `says` has our own headers without their prefix; `at_ms` is when it was written.

    What was kept of a response, and of the run's earlier steps, is not in `says`: it may hold anything.
    `original_headers` and the like show what may be personal, masked.
    """

    record: Record
    says: Mapping[str, str]
    at_ms: int

    @property
    def position(self) -> str:
        """Where it lies on the dead topic."""
        return f"{self.record.topic}/{self.record.partition}/{self.record.offset}"

    @property
    def source(self) -> str:
        """Where its event was read from."""
        return "/".join(self.says.get(f"source-{part}", "") for part in ("topic", "partition", "offset"))

    @property
    def run(self) -> RunState | None:
        """What it keeps of its run for a replay: the steps that ended before. None if it keeps nothing, or damaged."""
        kept = self.record.header(runstate.STATE_HEADER)
        state = None if kept is None else runstate.decode(kept)
        return state if isinstance(state, RunState) else None

    @property
    def origin(self) -> str:
        """Where its event was copied from, "" if it was not: the input position."""
        return self.says.get("origin", "").rpartition("/")[0]

    def named(self, text: str) -> bool:
        """Whether `text` is its event ID, delivery ID, trace ID, source or input position, or own position."""
        ids = [self.says.get(name) for name in ("event-id", "delivery-id", "trace-id")]
        return text in (*ids, self.source, self.position) or (text != "" and text == self.origin)


def letter(record: Record) -> Letter:
    """Read a record of the dead topic; never raises."""
    says = {
        name.removeprefix(PREFIX): (content or b"").decode("utf-8", "replace")
        for name, content in record.headers
        if name.startswith(PREFIX) and name not in _BYTES
    }
    return Letter(record, says, record.timestamp_ms)


def original_headers(of: Letter, *, reveal: bool) -> dict[str, str]:
    """Return the producer's headers; content that may be personal is only measured unless `reveal`."""
    shown: dict[str, str] = {}
    for name, content in of.record.headers:
        if not name.startswith(PREFIX):
            shown[name] = _text(content) if reveal or name in OPEN_HEADERS else _measure(content)
    return shown


def excerpt(of: Letter, *, reveal: bool) -> str:
    """Return what was kept of the response, "" if nothing was; only its length unless `reveal`."""
    kept = of.record.header(EXCERPT)
    return "" if kept is None else kept.decode("utf-8", "backslashreplace") if reveal else _measure(kept)


def earlier(of: Letter, *, reveal: bool) -> dict[str, object]:
    """Return how the run's earlier steps ended, by name; what they were answered only if `reveal`, else its fields."""
    shown: dict[str, object] = {}
    for name, result in of.run.results.items() if of.run is not None else ():
        told: dict[str, object] = {"outcome": result.outcome.value}
        told |= {key: said for key, said in (("class", result.cls), ("status", result.status)) if said}
        if result.response is not None:
            told["response"] = {
                field: _plain(kept) if reveal else mask(kept, frozenset()) for field, kept in result.response.items()
            }
        shown[name] = told
    return shown


def original_key(of: Letter, *, reveal: bool) -> str:
    """Return the record's key, which often is the customer's ID; only its length unless `reveal`."""
    return _text(of.record.key) if reveal else _measure(of.record.key)


def original_value(of: Letter, schemas: Schemas, *, reveal: bool) -> object:
    """Decode the event; text in brackets if that is not possible. Masked unless `reveal`: field names and kinds only.

    Blocks while a registry is asked, at most its own bound. Never raises for bytes.
    """
    from pipeline.core import decode, types  # noqa: PLC0415 - only `show` decodes
    from pipeline.ports import Found  # noqa: PLC0415

    content = of.record.value
    if content is None:
        size = of.says.get(OVERSIZE.removeprefix(PREFIX), "")
        return f"({size} bytes, too large to be kept here: read {of.source})" if size else "(empty)"
    frame = decode.locate(content, of.record.headers)
    if isinstance(frame, Undecodable):
        return f"({len(content)} bytes: {frame.detail})"
    ref, start = frame
    found = asyncio.run(_fetched(schemas, ref))
    if not isinstance(found, Found):
        return f"({len(content)} bytes: {found.detail})"
    datum = decode.reader(found.schema)(content, start)
    if isinstance(datum, Undecodable):
        return f"({len(content)} bytes: {datum.detail})"
    tree = types.tree(found.schema)
    convert = types.conversion(tree, types.JSON)
    document = datum if convert is None else convert(datum)
    return document if reveal else mask(document, frozenset(_field_names(tree)))


async def _fetched(schemas: Schemas, ref: Any) -> Any:
    return await schemas.fetch(ref)


def mask(document: object, names: frozenset[str]) -> object:
    """Return a JSON document with kinds instead of values; of keys only those that are field names of the schema."""
    if isinstance(document, dict):
        return {key if key in names else f"(key {number})": mask(each, names)
                for number, (key, each) in enumerate(document.items(), 1)}  # fmt: skip
    if isinstance(document, list):
        return [mask(each, names) for each in document]
    if document is None:
        return None
    if isinstance(document, bool):
        return "(true or false)"
    return "(number)" if isinstance(document, (int, float)) else "(text)"


def _plain(kept: object) -> object:
    return kept.isoformat() if isinstance(kept, datetime) else kept


def _field_names(tree: Type) -> Iterator[str]:
    from pipeline.core import types  # noqa: PLC0415

    waiting, seen, number = [tree], set[int](), 0
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, types.RecordOf):
            for name, field in each.fields.items():
                waiting.append(field.type)
                number += 1
                if number <= _NAMES_MAX:
                    yield name
        elif isinstance(each, types.MapOf):
            waiting.append(each.values)
        elif isinstance(each, types.ListOf):
            waiting.append(each.items)
        elif isinstance(each, types.UnionOf):
            waiting += each.branches


def _measure(content: bytes | None) -> str:
    return "" if content is None else f"({len(content)} bytes)"


def _text(content: bytes | None) -> str:
    if content is None:
        return ""
    text = content.decode("utf-8", "replace")
    return text if text.isprintable() and "�" not in text else f"0x{content.hex()}"
