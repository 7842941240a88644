"""Decides which of several rows about one delivery counts, and keeps what was read of one input partition.

A delivery is two ints: its key (offset, stated number of deliveries, ID) and its state, ordered so that the larger one
counts: `delivered` beats all, then the later hop, in one hop a final outcome beats `retrying`, then the newest. What a
replay handed over beats the failure it is of: until its hop ends, it waits.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.model import REPLAYED, Outcome, value

if TYPE_CHECKING:
    from pipeline.core.account.ranges import Range

_ID_BITS: Final = 64
_COUNT_BITS: Final = 32
_TRIGGER_BITS: Final = 40  # 34 years in ms
_CODE_BITS: Final = 16
_HOP_BITS: Final = 16
_SETTLED_BITS: Final = 48
_HOPS_MAX: Final = 1_024
_RANK_BITS: Final = 2
_RETRYING, _FINAL, _REPLAYED = range(3)


class OutcomeLike(Protocol):
    """What is read of an outcome row (schemas/outcome.avsc). Times are Unix ms."""

    event_id: str
    delivery_id: str
    topic: str
    partition: int
    offset: int
    record_time_ms: int
    deliveries: int
    outcome: Outcome
    reason: str
    first_attempt_at_ms: int
    settled_at_ms: int
    hop: int
    due_ms: int


class LedgerLike(Protocol):
    """What is read of a ledger row (schemas/ledger.avsc)."""

    topic: str
    partition: int
    first: int
    next: int
    at_ms: int
    empty: tuple[tuple[int, int, str], ...]


@value
class Waiting:
    """A delivery whose newest outcome is `retrying`. `due_ms` is Unix ms."""

    due_ms: int
    event_id: str
    delivery_id: str


class Reasons:
    """Numbers for pairs of outcome and reason: there are few, so a state holds a number."""

    def __init__(self) -> None:
        self._codes: dict[tuple[Outcome, str], int] = {}
        self._pairs: list[tuple[Outcome, str]] = []

    def code(self, outcome: Outcome, reason: str) -> int:
        """Return the number of a pair."""
        pair = (outcome, reason)
        code = self._codes.get(pair)
        if code is None:
            code = self._codes[pair] = len(self._pairs)
            self._pairs.append(pair)
        return code

    def pair(self, code: int) -> tuple[Outcome, str]:
        """Return the pair of a number."""
        return self._pairs[code]

    def larger(self, one: int, other: int) -> int:
        """Return the state that counts. Pairs decide only full ties, by name: order of arrival must not."""
        above = _TRIGGER_BITS + _CODE_BITS
        if one == other or one >> above != other >> above:
            return max(one, other)
        return max(one, other, key=self._tie)

    def _tie(self, state: int) -> tuple[str, str, int]:
        outcome, reason = self._pairs[code(state)]
        return outcome.value, reason, state & (1 << _TRIGGER_BITS) - 1


def _cut(number: int, bits: int) -> int:
    return min(max(number, 0), (1 << bits) - 1)


def _bit(hop: int) -> int:
    return 1 << min(max(hop, 0), _HOPS_MAX)


def _state(row: OutcomeLike, code: int) -> int:
    trigger = 0
    if row.first_attempt_at_ms > 0:
        trigger = 1 + _cut(row.first_attempt_at_ms - row.record_time_ms, _TRIGGER_BITS - 1)
    state = (row.outcome is Outcome.DELIVERED) << _HOP_BITS | _cut(row.hop, _HOP_BITS)
    state = state << _RANK_BITS | _rank(row)
    state = state << _SETTLED_BITS | _cut(row.settled_at_ms, _SETTLED_BITS)
    return (state << _CODE_BITS | code) << _TRIGGER_BITS | trigger


def _rank(row: OutcomeLike) -> int:
    if row.outcome is not Outcome.RETRYING:
        return _FINAL
    return _REPLAYED if row.reason == REPLAYED else _RETRYING


def final(state: int) -> bool:
    """Whether a delivery is settled for good."""
    return state >> _TRIGGER_BITS + _CODE_BITS + _SETTLED_BITS & (1 << _RANK_BITS) - 1 == _FINAL


def hop(state: int) -> int:
    """Return at which hop this was decided."""
    return state >> _TRIGGER_BITS + _CODE_BITS + _SETTLED_BITS + _RANK_BITS & (1 << _HOP_BITS) - 1


def settled_at_ms(state: int) -> int:
    """Return when this was decided, Unix ms."""
    return state >> _TRIGGER_BITS + _CODE_BITS & (1 << _SETTLED_BITS) - 1


def code(state: int) -> int:
    """Return the number of outcome and reason; see Reasons."""
    return state >> _TRIGGER_BITS & (1 << _CODE_BITS) - 1


def trigger_ms(state: int) -> int | None:
    """Return record time to first attempt, None without an attempt."""
    trigger = state & (1 << _TRIGGER_BITS) - 1
    return trigger - 1 if trigger else None


def _key(row: OutcomeLike) -> int:
    identity = int.from_bytes(blake2b(row.delivery_id.encode(), digest_size=8).digest(), "big")
    return (row.offset << _COUNT_BITS | _cut(row.deliveries, _COUNT_BITS)) << _ID_BITS | identity


def offset_of(key: int) -> int:
    """Return the offset a key belongs to; keys sort by it."""
    return key >> _ID_BITS + _COUNT_BITS


def stated(key: int) -> int:
    """Return how many deliveries the row said its event has."""
    return key >> _ID_BITS & (1 << _COUNT_BITS) - 1


def identity(key: int) -> int:
    """Return 64 bits that tell the deliveries of one position apart."""
    return key & (1 << _ID_BITS) - 1


class PartitionRows:
    """All that was read about one input partition. Owner: Account."""

    __slots__ = ("covers", "deliveries", "empty", "waiting", "_final_rows", "_finals", "_hops", "_retry_rows")  # noqa: RUF023 - what judges read first

    def __init__(self) -> None:
        self.covers: list[tuple[int, int, int]] = []
        """Ledger ranges: first, next, when written."""
        self.empty: dict[str, list[Range]] = {}
        """Ranges without any delivery, by reason."""
        self.deliveries: dict[int, int] = {}
        """Key to state."""
        self.waiting: dict[int, Waiting] = {}
        """By key, those whose state is `retrying`."""
        self._hops: dict[int, int] = {}  # by key, bits of the hops it was handed over at
        self._finals: dict[int, int] = {}  # likewise those it was settled at, where that is not what counts
        self._final_rows = 0
        self._retry_rows = 0

    def ledger(self, row: LedgerLike) -> None:
        """Take note of a ledger row."""
        self.covers.append((row.first, row.next, row.at_ms))
        for first, last, reason in row.empty:
            self.empty.setdefault(reason, []).append((first, last + 1))

    def outcome(self, row: OutcomeLike, reasons: Reasons) -> None:
        """Take note of an outcome row."""
        key, state = _key(row), _state(row, reasons.code(row.outcome, row.reason))
        known = self.deliveries.get(key)
        counts = state if known is None else reasons.larger(known, state)
        self.deliveries[key] = counts
        if row.outcome is Outcome.RETRYING:
            self._retry_rows += 1
            self._hops[key] = self._hops.get(key, 0) | _bit(row.hop)
            if counts == state:
                waiting = Waiting(row.due_ms, row.event_id, row.delivery_id)
                was = self.waiting.get(key)
                if known != state or was is None or was.due_ms < waiting.due_ms:
                    self.waiting[key] = waiting
        else:
            self._final_rows += 1
            if counts == state:
                self.waiting.pop(key, None)
        beaten = known if counts == state else state
        if beaten is not None and beaten != counts and final(beaten):
            self._finals[key] = self._finals.get(key, 0) | _bit(hop(beaten))

    def repeats(self) -> int:
        """Count the rows that settled a delivery, or handed it over, at the same hop once more."""
        settled = 0
        for key, state in self.deliveries.items():
            hops = self._finals.get(key, 0)
            settled += (hops | _bit(hop(state))).bit_count() if final(state) else hops.bit_count()
        handed = sum(hops.bit_count() for hops in self._hops.values())
        return self._final_rows - settled + self._retry_rows - handed
