"""Names the events at positions of the input topics: reads the records again, and decodes them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pipeline.model import Plan, Undecodable, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipeline.config.models import Config
    from pipeline.model import Record
    from pipeline.ports import Found, Unknown, Unreachable

NEAR: Final = 5_000
"""Positions no further apart than this are read in one go."""

Position = tuple[str, int, int]
"""Topic, partition and offset."""

GONE: Final = "no record is there any more"


@value
class Named:
    """The event at a position; `why` says why it has no name. Neither is personal data."""

    event_id: str = ""
    event_type: str = ""
    why: str = ""


def names(config: Config, settings: Mapping[str, str], positions: Iterable[Position]) -> dict[Position, Named]:
    """Return who is at these positions. Blocks while reading; raises TopicMissing, BrokerError, ConfigError."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.adapters.schemas import KnownSchemas  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.config.compile import compile as compile_  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415
    from pipeline.config.staged import bare  # noqa: PLC0415
    from pipeline.core import rekey  # noqa: PLC0415

    found = dict.fromkeys(positions, Named(why=GONE))
    copies = topics.events(config.group)
    schemas = KnownSchemas.of(config, Secrets(config.folder))
    try:
        compiled = compile_(bare(config), Secrets(config.folder, {}), schemas.reader_schemas())
        reader = Reader(compiled.plan, lambda ref: asyncio.run(schemas.fetch(ref)))
        for topic, begin, end in spans(found):
            for record in read_topic(settings, topic, begin=begin, end=end):
                position = record.topic, record.partition, record.offset
                if position in found:
                    original = rekey.consumed(record) if record.topic == copies else None
                    found[position] = reader.name(original or record)
    finally:
        schemas.close()
    return found


def spans(positions: Iterable[Position]) -> Iterator[tuple[str, dict[int, int], dict[int, int]]]:
    """Yield what is to be read for positions, as topic, begins and ends: stretches without large holes in between."""
    ordered = sorted(positions)
    first: Position | None = None
    for index, (topic, partition, offset) in enumerate(ordered):
        if first is None:
            first = ordered[index]
        following = ordered[index + 1] if index + 1 < len(ordered) else None
        if following is None or following[:2] != (topic, partition) or following[2] - offset > NEAR:
            yield topic, {partition: first[2]}, {partition: offset + 1}
            first = None


class Reader:
    """Decodes records only as far as their names."""

    def __init__(
        self,
        plan: Callable[[str, object], Plan | Undecodable | None],
        fetch: Callable[[Any], Found | Unknown | Unreachable],
    ) -> None:
        """`plan` is the configuration's; `fetch` finds a schema, and blocks."""
        self._plan = plan
        self._fetch = fetch
        self._plans: dict[tuple[str, object], Plan | str] = {}

    def name(self, record: Record) -> Named:
        """Return what a record's event is called. Never raises for what it holds."""
        from pipeline.core import decode  # noqa: PLC0415

        if record.value is None:
            return Named(why="a tombstone")
        frame = decode.locate(record.value, record.headers)
        if isinstance(frame, Undecodable):
            return Named(why=f"no event: {frame.detail}")
        ref, start = frame
        key = record.topic, ref
        if key not in self._plans:
            self._plans[key] = self._planned(*key)
        plan = self._plans[key]
        if isinstance(plan, str):
            return Named(why=plan)
        datum = plan.read(record.value, start)
        event = datum if isinstance(datum, Undecodable) else plan.envelope(datum, record)
        if isinstance(event, Undecodable):
            return Named(why=f"no event: {event.detail}")
        return Named(event.id, event.type)

    def _planned(self, topic: str, ref: Any) -> Plan | str:
        from pipeline.ports import Found  # noqa: PLC0415

        schema = self._fetch(ref)
        if not isinstance(schema, Found):
            return schema.detail
        plan = self._plan(topic, schema.schema)
        if plan is None:
            return "no entry of events: maps it"
        return f"no event: {plan.detail}" if isinstance(plan, Undecodable) else plan
