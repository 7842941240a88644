"""The values that travel between stages, in the order one event meets them.

Values are slotted and frozen to the type checker; under pytest they are really frozen (freezing each costs 3 µs a
delivery, see docs/decisions/0003-values.md). Those of owned.py are mutable and name their one owner.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias, TypeVar, dataclass_transform

from pipeline.errors import Problem as Problem  # noqa: PLC0414 - part of the vocabulary, as what follows is
from pipeline.owned import Delivery as Delivery  # noqa: PLC0414
from pipeline.owned import Flight as Flight  # noqa: PLC0414
from pipeline.owned import Run as Run  # noqa: PLC0414
from pipeline.owned import Waiting as Waiting  # noqa: PLC0414
from pipeline.words import FailureClass as FailureClass  # noqa: PLC0414, TC001
from pipeline.words import Kind as Kind  # noqa: PLC0414, TC001
from pipeline.words import LedgerReason as LedgerReason  # noqa: PLC0414
from pipeline.words import Outcome as Outcome  # noqa: PLC0414
from pipeline.words import SkipReason as SkipReason  # noqa: PLC0414

_T = TypeVar("_T")
_REALLY_FROZEN: Final = "pytest" in sys.modules


@dataclass_transform(frozen_default=True)
def value(cls: type[_T]) -> type[_T]:
    """Make `cls` a slotted value: immutable to mypy always, at run time under pytest."""
    return dataclass(slots=True, frozen=_REALLY_FROZEN)(cls)


class Absent(Enum):
    """The one value of a field that is missing or null: CEL's `has()` is false for it."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

Datum: TypeAlias = Any
"""A decoded Avro record as fastavro returns it with logical types stripped: timestamps are ints, decimals bytes."""

Getter: TypeAlias = Callable[[Datum, int], object]
"""`(datum, now_ms)` to a JSON-ready value (str, int, float, bool, list, dict), or ABSENT. Never raises."""

SchemaRef: TypeAlias = int | bytes
"""Names a writer schema: an int is a registry ID, 16 bytes a schema GUID, 8 bytes a CRC-64-AVRO fingerprint."""


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


# ------------------------------------------------------------------------------------- compiled from configuration


@value
class Refused:
    """A request that cannot be built; `field` is a payload key, a code, or where a contract breaks: never content."""

    cls: FailureClass
    field: str


@value
class Broken:
    """A response that breaks its operation's contract. `detail` is a JSON pointer and a keyword, never a value."""

    detail: str


@value
class RetryPolicy:
    """When a failed delivery is tried again. Times in ms; `tiers_ms` ascends and names `<group>.retry.<delay>`."""

    max_attempts: int
    max_age_ms: int
    retry_ambiguous: bool
    tiers_ms: tuple[int, ...]
    on_status: Mapping[int, str]  # delivered | rejected | retry | hold | disable
    in_process_ms: tuple[int, ...] = (250, 1_000)
    retry_after_cap_ms: int = 21_600_000


@value
class Step:
    """One webhook action, with everything prepared that could be known at start.

    `render(datum, now_ms)` gives the body; `head(delivery_id, event_headers, traceparent, now_s, body, target)` gives
    the whole request head including signature and Content-Length, ending in a blank line. `when` answers None for an
    error. `max_age_ms` counts from the event's time. `outcome_prefix` is the constant start of its outcome record.
    Of operations that ask for more: `target(datum, now_ms)` gives path and query that events change,
    `metadata(body, event, delivery_id)` the body with metadata in it; `response` reads the answer that took a delivery.
    """

    journey: str
    name: str
    kind: Kind
    destination: str
    operation: str
    method: str
    url_template: str
    basis: str
    purpose: str
    channels: tuple[str, ...]  # any of these must be consented; see core/gates.py
    max_age_ms: int
    id_suffix: bytes  # "/<journey>/<step>", after the event ID in the delivery ID's name
    when: Callable[[Datum, int], bool | None] | None
    render: Callable[[Datum, int], bytes | Refused]
    head: Callable[[str, bytes, str, int, bytes, bytes], bytes]
    retry: RetryPolicy
    outcome_prefix: bytes
    target: Callable[[Datum, int], bytes | Refused] | None = None
    metadata: Callable[[bytes, Event, str], bytes] | None = None
    response: Callable[[Answer], Mapping[str, object] | Broken] | None = None
    keep_bytes: int = 0  # of a response's body
    excerpt_bytes: int = 0  # of the body of an error response, for a dead letter
    batch: BatchPolicy | None = None


@dataclass(slots=True, frozen=True, eq=False)
class BatchPolicy:
    """How deliveries of one operation share requests, sent as `step`; one object for all steps that call it.

    `read` finds items' results in the body of a 2xx answer: core/batch.py.
    """

    events_max: int
    bytes_max: int
    wait_ms: int
    lines: bool  # NDJSON, else a JSON array
    step: Step
    read: Callable[[bytes, Sequence[str]], list[Answer | Failure] | None] | None = None


@value
class Route:
    """One live journey that an event type may start. `condition` answers None for an error."""

    journey: str
    hash: str
    max_age_ms: int
    condition: Callable[[Datum, int], bool | None] | None
    steps: tuple[Step, ...]


@value
class Plan:
    """All that is done with records of one writer schema on one topic.

    `read(value, start)` decodes; `envelope(datum, record)` maps; `routes` by event type. None of the three raises.
    """

    read: Callable[[bytes, int], Datum | Undecodable]
    envelope: Callable[[Datum, Record], Event | Undecodable]
    routes: Mapping[str, tuple[Route, ...]]


@value
class Destination:
    """A system and the limits of its lane. Times in ms, sizes in bytes; `rate_per_s` 0 is unlimited, fleet-wide.

    `concurrency` is the most requests in flight, per worker; if `adaptive`, the lane finds out how many of them to use.
    """

    name: str
    host: str
    port: int
    tls: bool
    private_networks: tuple[str, ...]  # CIDRs
    timeout_ms: int
    concurrency: int
    queue: int
    rate_per_s: float
    breaker: BreakerPolicy
    response_bytes_max: int
    drops_repeats: bool
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    adaptive: bool = False
    proxy: Proxy | None = None


@value
class Proxy:
    """An HTTP proxy on the way to a destination; `authorization` is all of its Proxy-Authorization header, or ""."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)


@dataclass(slots=True, eq=False, repr=False)
class Credentials:
    """What the requests of one destination are let in by, ready to write. Owner: the worker, which replaces them whole.

    Nothing of it is ever shown: it has no repr. `path` is put before, and `query` (without `?`) into, the target of a
    request; `lines` are whole header lines; `sign(delivery_id, unix_s, body)` gives more of them; `token_request` is
    the head and the body of the request for an access token.
    """

    path: str = ""
    query: str = ""
    lines: bytes = b""
    sign: Callable[[bytes, bytes, bytes], bytes] | None = None
    token_request: tuple[bytes, bytes] | None = None
    watchers: list[Callable[[], None]] = field(default_factory=list)

    def watch(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` now, and again whenever they were replaced: what is made of them is made off the hot path."""
        self.watchers.append(prepare)
        prepare()

    def replace(self, other: Credentials) -> None:
        """Become what `other` is."""
        self.path, self.query, self.lines, self.sign = other.path, other.query, other.lines, other.sign
        self.token_request = other.token_request
        for prepare in self.watchers:
            prepare()


@value
class BreakerPolicy:
    """Open when `failures` (0..1) of the last `of` attempts failed; for `open_ms`, doubling up to `open_max_ms`.

    Likewise when `rejections` of the last `rejections_of` answers were rejections.
    """

    failures: float = 0.5
    of: int = 20
    open_ms: int = 30_000
    open_max_ms: int = 600_000
    rejections: float = 0.2
    rejections_of: int = 100


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
