"""What the configuration was compiled to, before the first event came. Part of `pipeline.model`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipeline.frozen import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.known import CancelOn, Cap, Once, QuietHours, Sign
    from pipeline.model import Answer, Datum, Event, Failure, Record, Undecodable
    from pipeline.words import FailureClass, Kind, Outcome


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
class Result:
    """How a step of a run ended, as the steps after it read it. `response` None: it kept nothing."""

    outcome: Outcome
    cls: str
    status: int
    response: Mapping[str, object] | None = None


RESULTS: Final = "\0steps"
"""Key under which a datum carries the Results of its run's steps, by name. No Avro field is called so."""


Rows: TypeAlias = "Mapping[str, Mapping[str, object]]"
"""What look-ups have of one customer, by look-up."""
ROWS: Final = "\0tables"
"""Key under which a datum carries the rows of look-ups of its customer, by look-up. No Avro field is called so."""


@value
class Edge:
    """A step that another comes after, and the outcomes of it that let the other start."""

    parent: str
    outcomes: frozenset[Outcome]


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
    channels: tuple[str, ...]  # any of these must be consented; see core/gates
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
    after: tuple[Edge, ...] = ()  # none: starts with the run
    any_parent: bool = False  # one of `after` is enough
    budget_ms: int = 0  # of a `decide`: from when it could start to its answer, else its default
    default: Callable[[Datum, int], Mapping[str, object] | Refused] | None = None  # instead of a response
    deadline: Callable[[Datum, int], object] | None = None  # Unix ms, ABSENT for none, None for an error
    mark: Callable[[Datum, int], Mark | Refused] | None = None  # instead of a call
    alerts: tuple[str, ...] = ()  # names of hookline.yaml's `alerts`, told of its failures
    reaches: str = ""  # the channel the customer is contacted on
    caps: tuple[Cap, ...] = ()  # of its category and channel, if its basis asks for any
    quiet: tuple[QuietHours, ...] = ()  # of its channel, likewise
    looks_up: tuple[str, ...] = ()  # names of the look-ups it reads


@value
class Suppress:
    """Promotions and the like are to stop: `scope` is category, channel or journey, `of` its name.

    Active until an event of type `until_event` whose correlation hash is `match` comes ("" is any), or `until_ms`.
    """

    id: str
    scope: str
    of: str
    until_event: str
    match: str
    until_ms: int
    at_ms: int = 0  # since when: no event before it ends it


@value
class Unsuppress:
    """One reason to suppress is gone."""

    id: str


@value
class ConsentSaid:
    """The customer's word on a channel, a purpose or `purpose.channel`, as of `at_ms`."""

    key: str
    granted: bool
    at_ms: int


Mark: TypeAlias = Suppress | Unsuppress | ConsentSaid
"""What a step without a call writes to our own tables."""


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


INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
"""The least and the greatest int there are to CEL."""


@value
class Ask:
    """What a condition asks of an event at least; see core/expressions/sieve.

    `get` reads what is at `path`. Of a value of that `kind` (an int: of 64 bits) `holds` or the condition is false,
    of any other CEL says what it means. `literals` are the values it names: of all that lie between two of them, or of
    all other texts, the same holds.
    """

    path: str
    get: Callable[[Datum, int], object]
    kind: type[Any]
    holds: Callable[[Any], bool]
    literals: tuple[Any, ...]


@value
class Route:
    """One journey that an event type may start. `condition` answers None for an error."""

    journey: str
    hash: str
    max_age_ms: int
    condition: Callable[[Datum, int], bool | None] | None
    steps: tuple[Step, ...]
    status: str = "live"  # draft | shadow | dry | live | paused; a draft one starts nothing
    category: str = ""
    shares: str = ""  # what customers are drawn by, with their ID: the journey's first name
    rollout: float = 1.0  # share of the customers who may enter
    holdout: float = 0.0  # share of those who are left out to compare with
    once: Once | None = None
    cancel_on: tuple[CancelOn, ...] = ()
    asks: tuple[Ask, ...] = ()  # of its condition; see core/routes
    ordered: bool = False  # a customer's events one after the other, by the journey's log


@value
class Plan:
    """All that is done with records of one writer schema on one topic.

    `read(value, start)` decodes; `envelope(datum, record)` maps; `routes` by event type. None of the three raises.
    `pinned(hash)` gives the route of a definition that runs began with and the configuration does not have any more,
    or says in a word why there is none; it compiles, once for each hash. `signs`: what is to be remembered of events,
    by their type.
    """

    read: Callable[[bytes, int], Datum | Undecodable]
    envelope: Callable[[Datum, Record], Event | Undecodable]
    routes: Mapping[str, tuple[Route, ...]]
    pinned: Callable[[str], Route | str] | None = None
    signs: Mapping[str, tuple[Sign, ...]] = field(default_factory=dict)


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
