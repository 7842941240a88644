"""Reads records: the first two stages, decode and envelope, by plans made for each topic and writer schema."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.core import decode, tracecontext
from pipeline.model import Datum, Event, Flight, LedgerReason, Plan, Record, Trace, Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.core.offsets import Tracker
    from pipeline.model import FailureClass, SchemaRef
    from pipeline.ports import Unknown

UNKNOWN_REMEMBERED: Final = 1_000
"""References without a schema remembered: damaged records name new ones without end."""

Read: TypeAlias = tuple[Plan, Event, Datum]
"""A record as the first two stages leave it."""

Foretell: TypeAlias = "Callable[[Record, int], FailureClass | tuple[str, SchemaRef] | None]"
"""Says, at a time (Unix ns), why a record would come to nothing, None if it would not; or which schema that takes."""


class Reading:
    """Of one worker. Owner of its plans. Nothing here waits or raises but for a bug of ours."""

    def __init__(self, planner: Callable[[str, object], Plan | Undecodable | None]) -> None:
        """`planner` makes a plan for a topic and a writer schema; see config/compile."""
        self.plans: dict[tuple[str, SchemaRef], Plan | Undecodable | None] = {}
        self._planner = planner
        self._unknown: OrderedDict[tuple[str, SchemaRef], None] = OrderedDict()

    def learn(self, topic: str, ref: SchemaRef, schema: object | Unknown) -> None:
        """Plan for records of a writer schema on a topic; an Unknown one makes them undecodable."""
        detail = getattr(schema, "detail", None)
        if detail is None:
            self.plans[topic, ref] = self._planner(topic, schema)
            return
        self._unknown[topic, ref] = None
        self.plans[topic, ref] = Undecodable(f"unknown schema: {detail}")
        if len(self._unknown) > UNKNOWN_REMEMBERED:
            del self.plans[self._unknown.popitem(last=False)[0]]

    def ask_again(self) -> None:
        """Forget which schemas the registry did not know: one may have been registered late, or its replica lagged."""
        while self._unknown:
            del self.plans[self._unknown.popitem(last=False)[0]]

    def read(self, record: Record) -> Read | Undecodable | LedgerReason | SchemaRef:
        """Decode and map a record with a value; a schema reference is asked back when its schema is not known yet."""
        assert record.value is not None
        frame = decode.locate(record.value, record.headers)
        if isinstance(frame, Undecodable):
            return frame
        ref, start = frame
        try:
            plan = self.plans[record.topic, ref]
        except KeyError:
            return ref
        if plan is None:
            return LedgerReason.UNMAPPED
        if isinstance(plan, Undecodable):
            return plan
        datum = plan.read(record.value, start)
        if isinstance(datum, Undecodable):
            return datum
        event = plan.envelope(datum, record)
        return event if isinstance(event, Undecodable) else (plan, event, datum)


def position(record: Record) -> tuple[str, int, int, int]:
    """Return where a record is, and its timestamp: Flight.source."""
    return record.topic, record.partition, record.offset, record.timestamp_ms


def unread(record: Record, tracker: Tracker, now_ns: int) -> Flight:
    """Make the flight of a record of whose event nothing is known."""
    where = position(record)
    trace_id, parent_id, sampled = tracecontext.parse(record.header(tracecontext.HEADER), "/".join(map(str, where[:3])))
    return Flight(record, tracker, where, None, Trace(trace_id, parent_id, sampled), now_ns)
