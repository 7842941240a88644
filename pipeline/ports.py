"""What `run/` asks of the world. Adapters implement these; `pipeline.testing` has fakes of them.

Ports are called per batch, per connection or per outcome, never per field, and are bound at construction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.model import (
    Answer,
    Delivery,
    Failure,
    FailureClass,
    Flight,
    Known,
    Mark,
    Memory,
    Outcome,
    Record,
    Rows,
    SchemaRef,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Headers = list[tuple[str, bytes]]


# --------------------------------------------------------------------------------------------------------- Kafka in


@value
class Assigned:
    """Partitions this consumer now owns: `(topic, partition, first offset to be read or -1 if unknown)`.

    `stored`: by partition, what binds commit metadata to it (core/progress), the metadata of its last commit, which
    anybody may have written, and where its log ends (-1 if unknown). A partition that is left out can store none.
    """

    partitions: tuple[tuple[str, int, int], ...]
    stored: Mapping[tuple[str, int], tuple[bytes, str, int]]


@value
class Revoked:
    """Partitions about to go (`lost` false: finish, commit, then call `done`) or gone (`lost` true: forget them)."""

    partitions: tuple[tuple[str, int], ...]
    lost: bool
    done: Callable[[], None]


@value
class Fatal:
    """The consumer cannot go on; it was discarded uncommitted."""

    error: Exception


Notice = list[Record] | Assigned | Revoked | Fatal
"""What a source posts, in order: everything about a partition comes after its Assigned and before its Revoked."""


class Source(Protocol):
    """One consumer in one group. It polls in its own thread and posts to the loop it was started on."""

    role: str  # "input", "retry" or "ordered"
    topics: tuple[str, ...]

    @property
    def metadata_chars(self) -> int:
        """The longest metadata `commit` may be given; falls if the broker turns out to take less."""

    def start(self, inbox: Callable[[Notice], None]) -> None:
        """Begin polling; `inbox` is called on the event loop, never concurrently. Does not block."""

    def taken(self, records: int) -> None:
        """Say that many posted records left the inbox; the thread stops fetching while too many wait there."""

    def commit(self, offsets: Sequence[tuple[str, int, int, str]]) -> None:
        """Ask the thread to commit `(topic, partition, next offset, metadata)` asynchronously. Later calls win."""

    def pause(self, topic: str, partition: int) -> None:
        """Stop fetching one partition; records already posted stay. Purges the prefetch: pause for a second or more."""

    def resume(self, topic: str, partition: int) -> None:
        """Fetch a paused partition again, from after the last posted record."""

    def partitions_total(self, topic: str) -> int:
        """Partition count of a topic as last seen; 0 while unknown."""

    async def stop(self, *, commit: bool = True) -> None:
        """Commit what was asked for, if `commit`, and leave the group. Idempotent; at most 30 s, else 5 s."""


# -------------------------------------------------------------------------------------------------------- Kafka out


Acked = Callable[[object, object], None]
"""`acked(refused, record)`, the client's own callback, so that nothing stands between: `refused` None says the broker
has it. Anything else goes to `Producer.refused`, both as they are."""


class Producer(Protocol):
    """The one idempotent producer of a worker; lives on the loop and never waits."""

    def produce(
        self,
        topic: str,
        key: bytes | None,
        content: bytes | None,
        headers: Headers,
        acked: Acked,
        partition: int = -1,
    ) -> bool:
        """Queue one record; `acked` runs on the loop once the broker has it. False: too large for this topic.

        An exception in `acked` is posted to the fatal handler, like a refusal: what waited is never marked done.
        """

    def refused(self, why: object, record: object, acked: Acked) -> None:
        """Take what `acked` got: what the broker refuses is written again until it takes it, and `acked` called then.

        Until then it is `full`. What a stop drops is dropped.
        """

    def full(self) -> bool:
        """Whether consumption must stop: too much is unacked, for too long, or refused."""

    def partitions(self, topic: str) -> int:
        """Partition count of one of our own topics (asked once, then cached)."""

    async def flush(self, timeout_s: float) -> int:
        """Wait until all is acked or time is up; return what is still unacked."""


# -------------------------------------------------------------------------------------------------------------- HTTP


class Connection(Protocol):
    """One open connection, used by one seat at a time."""

    def usable(self) -> bool:
        """Whether a request may be written: connected, clean, no unsolicited bytes. Asked before each write."""

    async def exchange(self, head: bytes, body: bytes, keep_bytes: int = 0) -> Answer | Failure:
        """Write head and body in one write, read the whole bounded answer. Never raises but CancelledError.

        At most `keep_bytes` of the answer's body are kept, decompressed; 0 drops it.
        """

    def abort(self, cls: FailureClass) -> None:
        """Make the exchange under way end now with that failure class."""

    def close(self) -> None:
        """Close; idempotent."""


class Sender(Protocol):
    """Opens connections to one destination, addresses checked."""

    async def connect(self) -> Connection | Failure:
        """Resolve, check every address, connect, shake hands. Bounded by the destination's timeout; never raises."""

    async def close(self) -> None:
        """Close everything; idempotent."""


class Authentication(Protocol):
    """What attempts on one destination wait for before a request can be written. Most destinations have none."""

    async def lines(self, delivery_id: str, body: bytes) -> bytes | Failure:
        """Return more header lines: an access token, a signature made elsewhere for the present second.

        Or why there are none: a Failure with `sent` false. Raises nothing but CancelledError; its caller bounds it.
        """

    async def refused(self, lines: bytes) -> bool:
        """Note that a request with these lines was answered 401; return whether `lines` gives others now."""

    async def close(self) -> None:
        """Close everything; idempotent."""


class Signer(Protocol):
    """A signer outside Hookline, such as a key management service; see docs/howto/sign-requests.md."""

    async def sign(self, content: bytes) -> str:
        """Return the value of `webhook-signature` for `content`, which is `<id>.<Unix seconds>.<body>`.

        One or several signatures such as `v1a,<base64>`, separated by spaces. Awaited before each write and cancelled
        at the attempt's deadline; must not block. Whatever it raises makes the attempt fail with class `auth`, to be
        retried.
        """


# ----------------------------------------------------------------------------------------------------------- schemas


@value
class Found:
    """The writer schema behind a reference, as parsed JSON."""

    schema: Any


@value
class Unknown:
    """The registry answered: there is no such schema. The record is undecodable."""

    detail: str


@value
class Unreachable:
    """The registry did not answer: the partition holds, nothing is dead-lettered."""

    detail: str


class Schemas(Protocol):
    """Finds writer schemas: the `schemas/` folder first, then the registry."""

    async def fetch(self, ref: SchemaRef) -> Found | Unknown | Unreachable:
        """Look a schema up; waits for the registry, at most 10 s. Never raises. What was found once comes at once."""


# ------------------------------------------------------------------------------------------- what is known of customers


class Tables(Protocol):
    """Consent and suppressions of every customer, as of a moment ago."""

    @property
    def erasures(self) -> bool:
        """Whether anybody may be erased: if not, what asks for no more than that needs no look-up."""

    def known(self, customer_id: str) -> Known:
        """Return what the tables say, with `memory` None. Never waits, never raises: what cannot be read is `stale`."""


class Lookups(Protocol):
    """What other systems know of customers, as of a moment ago."""

    def rows(self, customer_id: str, names: tuple[str, ...], lag_max_ms: int) -> Rows | None:
        """Return the row of each, empty for none; None while one may be further behind. Never waits, never raises."""


class Marks(Protocol):
    """Writes what journeys mark of a customer."""

    def write(self, customer_id: str, mark: Mark, now_ms: int, acked: Acked) -> bool:
        """Write one mark; `acked` runs on a later turn of the loop, once it is durable and Tables know of it here.

        A word on consent that is older than a known one changes nothing, and is acked. A suppression that does not say
        when begins at `now_ms`. False: it never can be written (core/tables.written); `acked` is not called then.
        """


class Memories(Protocol):
    """What is remembered of customers, kept by partition of the input."""

    def remembered(self, customer_id: str, source: tuple[str, int, int, int]) -> Memory | None:
        """Return what is remembered as of the position `source` (see Flight); None: not here and now. Never waits."""


# ------------------------------------------------------------------------------------------------------ time, chance


class Clock(Protocol):
    """Wall-clock time, Unix nanoseconds."""

    def __call__(self) -> int:
        """Return now."""


class Dice(Protocol):
    """Chance: jitter and span IDs."""

    def random(self) -> float:
        """Return a float in [0, 1)."""

    def getrandbits(self, k: int, /) -> int:
        """Return `k` random bits."""


# --------------------------------------------------------------------------------------------------------- telemetry

LATENCY_BUCKETS_MS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000)
"""Upper bounds of the attempt and time-to-trigger histograms: OpenTelemetry's advice for HTTP durations, in ms."""


class LaneStats:
    """Counters of one destination, bumped by its lane and read by the telemetry adapter. No call on the hot path."""

    __slots__ = (
        "attempt_ms",
        "attempts",
        "connections_opened",
        "failures",
        "in_flight",
        "last_class",
        "last_event_id",
        "last_good_ns",
        "limit",
        "parked",
        "queued",
        "state",
        "state_since_ns",
        "trigger_ms",
    )

    def __init__(self) -> None:
        self.attempts = 0
        self.failures: dict[str, int] = {}  # by failure class
        self.attempt_ms = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        self.trigger_ms = [0] * (len(LATENCY_BUCKETS_MS) + 1)
        self.in_flight = 0
        self.limit = 0  # most in flight at present; follows the destination if its concurrency is adaptive
        self.queued = 0
        self.parked = 0
        self.connections_opened = 0
        self.state = "closed"  # of the breaker: closed | open | half-open
        self.state_since_ns = 0
        self.last_good_ns = 0
        self.last_class = ""
        self.last_event_id = ""


class Telemetry(Protocol):
    """Spans after the fact, metrics by observation, structured logs. Holds no personal data, whatever it is handed."""

    def sampled(self, trace_id: str) -> bool:
        """Whether a trace ID is kept, by its last 56 bits (W3C trace context level 2, random flag)."""

    def settled(self, delivery: Delivery, outcome: Outcome, reason: str, now_ns: int) -> None:
        """Export the spans of one delivery and, once, its consume span. Called for sampled and failed ones only."""

    def position(self, flight: Flight, reason: str, now_ns: int) -> None:
        """Export the consume span of a sampled or failed position that had no delivery."""

    def watch(self, destination: str, stats: LaneStats) -> None:
        """Export these counters from now on."""

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one JSON log line. Never on the success path of a delivery."""

    def close(self) -> None:
        """Flush, bounded by 5 s."""


class Notifier(Protocol):
    """Tells people, by whatever they named: a chat, a mailbox, a pager."""

    def send(self, alert: str, title: str, body: str, done: Callable[[bool], None], *, well: bool) -> bool:
        """Queue one message for an alert of the configuration; `well` says that it is good news. Never waits.

        `done` is called once, in any thread, with whether it was sent. False: too many wait, or it is closed; then
        `done` is not called.
        """

    def close(self) -> None:
        """Send what waits, bounded by 10 s. Blocks. Idempotent."""


@value
class Halt:
    """What of a worker stands still until its cause is gone, and goes on by itself then. Times in Unix ms.

    `why` holds classes, codes and names of topics, no data. `look_ms` is when it is tried next, 0: as soon as can be.
    """

    what: str
    since_ms: int
    why: str
    look_ms: int


# ------------------------------------------------------------------------------------- between dispatch and settle


class Settler(Protocol):
    """What a lane tells once it is done with a delivery. Each delivery gets exactly one of these calls."""

    def finish(self, delivery: Delivery, outcome: Outcome, cls: str, detail: str) -> None:
        """Settle for good: outcome, and a dead letter for `rejected` and `dead`."""

    def later(self, delivery: Delivery, due_ms: int, cls: str, *, parked: bool) -> None:
        """Hand over to a retry tier together with its run, once nothing of the run moves."""


__all__ = [
    "LATENCY_BUCKETS_MS", "Acked", "Assigned", "Authentication", "Clock", "Connection", "Dice", "Fatal", "Found",
    "Halt", "Headers", "LaneStats", "Lookups", "Marks", "Memories", "Notice", "Notifier", "Producer", "Revoked",
    "Schemas", "Sender", "Settler", "Signer", "Source", "Tables", "Telemetry", "Unknown", "Unreachable",
]  # fmt: skip
