"""What gates are asked with: what is known of one customer, what a step may do when, and what a gate answers.

Part of `pipeline.model`. Tables and memory fill `Known`; core/gates decides; run/ performs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.frozen import value
from pipeline.words import SkipReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from pipeline.model import Datum
    from pipeline.prepared import ConsentSaid, Suppress


# --------------------------------------------------------------------------------------------- what is known of one


@value
class Contact:
    """The customer was contacted on a channel: by which delivery (its ID) of a journey of which category, when."""

    category: str
    channel: str
    at_ms: int
    delivery: str


@value
class Happened:
    """An event of the customer, by type and ID, that a `cancel_on` or an `until` names, and its time.

    `match` is its correlation hash, "" for none: an event has one of these for each `match` it may have to answer.
    """

    event: str
    match: str
    at_ms: int
    id: str


@value
class Entered:
    """The customer entered a journey with a key of its `once`. `event` is the ID of the event that did it."""

    journey: str
    key: str
    until_ms: int
    event: str


@value
class Memory:
    """What is remembered of one customer (core/memory). What has expired may still be in it."""

    contacts: Sequence[Contact] = ()
    happened: Sequence[Happened] = ()
    entered: Sequence[Entered] = ()


@value
class Known:
    """What tables and memory say of one customer, as of when they were asked.

    `consent`: the newest word by its key, which is a channel, a purpose or `purpose.channel`. A deleted one is a
    denial as of its deletion for as long as tables know of it, and after that nothing. `suppressions` are those nobody
    lifted, whatever their end. `erased_ms` 0 is not erased. `stale_ms` is how far the tables may be behind.
    `unreadable`: a record of this customer is damaged, so that nothing is known to be granted.
    `memory` None: it cannot be told, or nobody asked.
    """

    consent: Mapping[str, ConsentSaid]
    suppressions: Sequence[Suppress] = ()
    erased_ms: int = 0
    stale_ms: int = 0
    unreadable: bool = False
    memory: Memory | None = None


NOTHING: Final = Known({})
"""What is known of a customer without tables."""


# ---------------------------------------------------------------------------------------- what configuration says


@value
class GatePolicy:
    """What hookline.yaml says to all gates. Times in ms."""

    flag_max_age_ms: int = 86_400_000  # of what an event says of consent
    lag_max_ms: int = 30_000  # of the tables
    skew_ms: int = 300_000  # two words so close together are taken to be one: the denial


@value
class Cap:
    """At most `most` contacts of this category on this channel within any `per_ms`."""

    category: str
    channel: str
    most: int
    per_ms: int


@value
class QuietHours:
    """From `from_s` to `to_s` (seconds of the customer's local day; may span midnight) nobody is contacted.

    `zone(datum, now_ms)` is the customer's time zone, by `zone_absent` where the event has none or a wrong one.
    """

    from_s: int
    to_s: int
    zone: Callable[[Datum, int], tzinfo]
    skips: bool  # instead of holding until they are over


@value
class Once:
    """A customer enters once per key within `per_ms`: `key(datum, now_ms)` is its hash, None if it cannot be told."""

    key: Callable[[Datum, int], str | None]
    per_ms: int


@value
class Sign:
    """What is remembered of an event, for `keep_ms` from its time: `match(datum, now_ms)` is its correlation hash.

    "" if nothing is compared, None if it cannot be told: then it matches nothing, and is not remembered.
    """

    match: Callable[[Datum, int], str | None]
    keep_ms: int


@value
class CancelOn:
    """Such an event since the trigger ends the run: `match(datum, now_ms)` is the trigger's correlation hash.

    "" is any event of that type, None cannot be told.
    """

    event: str
    match: Callable[[Datum, int], str | None]


# --------------------------------------------------------------------------------------------- what a gate answers


QUIET_HOURS: Final = "quiet_hours"
TABLE_STALE: Final = "table_stale"
PAUSED: Final = "paused"
CAP: Final = "cap"
WAITS: Final = (QUIET_HOURS, TABLE_STALE, PAUSED, CAP)
"""Why a gate holds; in a `retrying` outcome in the place of a failure class."""
REPLAYED: Final = "replayed"
"""Why a delivery waits that a replay handed over; its `retrying` outcome is of the hop that failed."""
TURN: Final = "turn"
"""Why a delivery of a journey that keeps order waits in its log: the customer's events before it are not over yet."""


@value
class Hold:
    """Not now: to be asked again at `until_ms`, no attempt used. `why` is one of WAITS."""

    until_ms: int
    why: str


Gate: TypeAlias = SkipReason | Hold | None
"""Skip with a reason, hold, or None: go on."""
