"""The values that travel between stages, in the order one event meets them.

Values are slotted and frozen to the type checker; under pytest they are really frozen (freezing each costs 3 µs a
delivery, see docs/decisions/0003-values.md). Those of owned.py are mutable and name their one owner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from pipeline.errors import Problem as Problem  # noqa: PLC0414 - part of the vocabulary, as what follows is
from pipeline.frozen import ABSENT as ABSENT  # noqa: PLC0414
from pipeline.frozen import Absent as Absent  # noqa: PLC0414
from pipeline.frozen import value as value  # noqa: PLC0414
from pipeline.known import NOTHING as NOTHING  # noqa: PLC0414
from pipeline.known import REPLAYED as REPLAYED  # noqa: PLC0414
from pipeline.known import TABLE_STALE as TABLE_STALE  # noqa: PLC0414
from pipeline.known import TURN as TURN  # noqa: PLC0414
from pipeline.known import WAITS as WAITS  # noqa: PLC0414
from pipeline.known import CancelOn as CancelOn  # noqa: PLC0414
from pipeline.known import Cap as Cap  # noqa: PLC0414
from pipeline.known import Contact as Contact  # noqa: PLC0414
from pipeline.known import Entered as Entered  # noqa: PLC0414
from pipeline.known import Gate as Gate  # noqa: PLC0414
from pipeline.known import GatePolicy as GatePolicy  # noqa: PLC0414
from pipeline.known import Happened as Happened  # noqa: PLC0414
from pipeline.known import Hold as Hold  # noqa: PLC0414
from pipeline.known import Known as Known  # noqa: PLC0414
from pipeline.known import Memory as Memory  # noqa: PLC0414
from pipeline.known import Once as Once  # noqa: PLC0414
from pipeline.known import QuietHours as QuietHours  # noqa: PLC0414
from pipeline.known import Sign as Sign  # noqa: PLC0414
from pipeline.owned import Delivery as Delivery  # noqa: PLC0414
from pipeline.owned import Flight as Flight  # noqa: PLC0414
from pipeline.owned import Run as Run  # noqa: PLC0414
from pipeline.owned import Waiting as Waiting  # noqa: PLC0414
from pipeline.prepared import INT_MAX as INT_MAX  # noqa: PLC0414
from pipeline.prepared import INT_MIN as INT_MIN  # noqa: PLC0414
from pipeline.prepared import RESULTS as RESULTS  # noqa: PLC0414
from pipeline.prepared import ROWS as ROWS  # noqa: PLC0414
from pipeline.prepared import Ask as Ask  # noqa: PLC0414
from pipeline.prepared import BatchPolicy as BatchPolicy  # noqa: PLC0414
from pipeline.prepared import BreakerPolicy as BreakerPolicy  # noqa: PLC0414
from pipeline.prepared import Broken as Broken  # noqa: PLC0414
from pipeline.prepared import ConsentSaid as ConsentSaid  # noqa: PLC0414
from pipeline.prepared import Credentials as Credentials  # noqa: PLC0414
from pipeline.prepared import Destination as Destination  # noqa: PLC0414
from pipeline.prepared import Edge as Edge  # noqa: PLC0414
from pipeline.prepared import Mark as Mark  # noqa: PLC0414
from pipeline.prepared import Plan as Plan  # noqa: PLC0414
from pipeline.prepared import Proxy as Proxy  # noqa: PLC0414
from pipeline.prepared import Refused as Refused  # noqa: PLC0414
from pipeline.prepared import Result as Result  # noqa: PLC0414
from pipeline.prepared import RetryPolicy as RetryPolicy  # noqa: PLC0414
from pipeline.prepared import Route as Route  # noqa: PLC0414
from pipeline.prepared import Rows as Rows  # noqa: PLC0414
from pipeline.prepared import Step as Step  # noqa: PLC0414
from pipeline.prepared import Suppress as Suppress  # noqa: PLC0414
from pipeline.prepared import Unsuppress as Unsuppress  # noqa: PLC0414
from pipeline.words import UNSENT as UNSENT  # noqa: PLC0414
from pipeline.words import FailureClass as FailureClass  # noqa: PLC0414
from pipeline.words import Kind as Kind  # noqa: PLC0414
from pipeline.words import LedgerReason as LedgerReason  # noqa: PLC0414
from pipeline.words import Outcome as Outcome  # noqa: PLC0414
from pipeline.words import SkipReason as SkipReason  # noqa: PLC0414

Datum: TypeAlias = Any
"""A decoded Avro record as fastavro returns it with logical types stripped: timestamps are ints, decimals bytes."""

Getter: TypeAlias = Callable[[Datum, int], object]
"""`(datum, now_ms)` to a JSON-ready value (str, int, float, bool, list, dict), or ABSENT. Never raises."""

SchemaRef: TypeAlias = int | bytes
"""Names a writer schema: an int is a registry ID, 16 bytes a schema GUID, 8 bytes a CRC-64-AVRO fingerprint."""


ORIGIN: Final = "hookline-origin"
"""Header of an event copied under its customer's ID (core/rekey), and of what is made of it: where it came from.

Topic, partition, offset and timestamp (Unix ms) of the record that was copied, with slashes between.
"""
ORIGINAL_KEY: Final = "hookline-key"
"""Header of what is keyed by customer, a copy or an entry of a log: the input record's key, where it had one."""

# ------------------------------------------------------------------------------------------------------ one event in


@value
class Record:
    """One Kafka record as consumed. `timestamp_ms` is the broker's or producer's, Unix epoch."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int

    def header(self, name: str) -> bytes | None:
        """Return the last header of that name, or None."""
        for key, content in reversed(self.headers):
            if key == name:
                return content
        return None


@value
class Undecodable:
    """Bytes that are no event. `detail` names the place and kind of damage, never a value."""

    detail: str


@value
class Event:
    """One lifecycle fact about one customer. `consent` holds the flags the event itself carries (True is granted).

    What is kept until the event is settled: its datum, ten times as large, is handed on beside it and free at once.
    """

    id: str
    type: str
    time_ms: int
    customer_id: str
    consent: Mapping[str, bool]


@value
class Trace:
    """Where this event stands in its trace. IDs are lower-case hex of 32 and 16 digits; `parent_id` "" is none."""

    trace_id: str
    parent_id: str
    sampled: bool
    state: str = ""


# ------------------------------------------------------------------------------------------------------- one attempt


@value
class Answer:
    """A complete HTTP response; `retry_after` is the raw header.

    `body` is kept, decompressed, only as far as asked for. `cut` says that it went on where keeping it ended.
    """

    status: int
    retry_after: str = ""
    body: bytes = b""
    cut: bool = False


@value
class Failure:
    """No usable response. `sent` says request bytes may have reached the receiver: the attempt is ambiguous.

    `holds` says that we are refused as such, not this delivery.
    """

    cls: FailureClass
    sent: bool
    detail: str = ""
    holds: bool = False


@value
class Attempt:
    """One HTTP exchange, kept when it failed or its trace is sampled. Times are Unix ns; `status` 0 means no answer."""

    number: int
    span_id: str
    started_ns: int
    ended_ns: int
    status: int
    cls: str


# -------------------------------------------------------------------------------------------- what was written of one


class Word(Protocol):
    """What an outcome record says of its delivery. `settled_at_ms` is Unix ms."""

    __slots__ = ()

    @property
    def outcome(self) -> Outcome: ...  # noqa: D102

    @property
    def reason(self) -> str: ...  # noqa: D102

    @property
    def hop(self) -> int: ...  # noqa: D102

    @property
    def settled_at_ms(self) -> int: ...  # noqa: D102


def last_word(row: Word) -> tuple[bool, int, bool, bool, int]:
    """Order what was written of one delivery: the largest says how it stands.

    Delivered beats all, then the later hop, in one hop a final outcome beats `retrying`, then the newest. What a replay
    handed over beats the failure it is of: until its hop ends, it waits. core/account packs the same into an int.
    """
    waits = row.outcome is Outcome.RETRYING
    return row.outcome is Outcome.DELIVERED, row.hop, waits and row.reason == REPLAYED, not waits, row.settled_at_ms
