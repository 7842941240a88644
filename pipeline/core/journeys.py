"""Decides what of a run is handed over, to which retry tier, and how its state is written and read back.

A handed-over run is one Kafka record: original key, bytes and headers, plus one header with this state. Format of the
header: one version byte, CRC-32 (big endian) of what follows, then compact JSON. At most `STATE_BYTES_MAX`.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STATE_HEADER: Final = "hookline-run"
STATE_VERSION: Final = 1
STATE_BYTES_MAX: Final = 65_536
PARK_PERIOD_MS: Final = 3_600_000
"""In so much time a parked run is written twice at most."""


@value
class StepState:
    """A step that is still to be delivered. Times in Unix ms; `first_ms` 0 means never attempted."""

    attempts: int
    due_ms: int
    first_ms: int
    cls: str
    status: int


@value
class RunState:
    """One journey for one event between two hops. `source` is the input position and its record timestamp."""

    journey: str
    hash: str
    event_id: str
    source: tuple[str, int, int, int]
    deliveries: int
    started_ms: int
    hop: int
    parks: int
    due_ms: int
    trace_id: str
    sampled: bool
    link: str
    steps: Mapping[str, StepState]


@value
class Unreadable:
    """A state header that cannot be used. `newer`: written by a later version, so a later worker must read it."""

    newer: bool
    detail: str


def encode(state: RunState) -> bytes:
    """Write the header's value."""
    body = orjson.dumps(
        {
            "journey": state.journey, "hash": state.hash, "event": state.event_id, "source": state.source,
            "n": state.deliveries, "started": state.started_ms, "hop": state.hop, "parks": state.parks,
            "due": state.due_ms, "trace": state.trace_id, "sampled": state.sampled, "link": state.link,
            "steps": {name: [s.attempts, s.due_ms, s.first_ms, s.cls, s.status] for name, s in state.steps.items()},
        }
    )  # fmt: skip
    return bytes((STATE_VERSION,)) + zlib.crc32(body).to_bytes(4, "big") + body


def decode(header: bytes | None) -> RunState | Unreadable:
    """Read a header's value; anything damaged, too long or not of this shape is Unreadable. Never raises."""
    if header is None:
        return Unreadable(newer=False, detail="no run state")
    if not 5 < len(header) <= STATE_BYTES_MAX:  # noqa: PLR2004 - version and checksum
        return Unreadable(newer=False, detail="run state of impossible length")
    if header[0] != STATE_VERSION:
        return Unreadable(newer=header[0] > STATE_VERSION, detail=f"run state version {header[0]}")
    body = header[5:]
    if zlib.crc32(body).to_bytes(4, "big") != header[1:5]:
        return Unreadable(newer=False, detail="run state checksum")
    try:
        state = _shape(orjson.loads(body))
    except (ValueError, KeyError, TypeError):
        return Unreadable(newer=False, detail="run state shape")
    return state if state.steps else Unreadable(newer=False, detail="run state without steps")


def _shape(doc: Any) -> RunState:
    topic, partition, offset, stamp = doc["source"]
    steps = {
        str(name): StepState(int(s[0]), int(s[1]), int(s[2]), str(s[3]), int(s[4])) for name, s in doc["steps"].items()
    }
    return RunState(
        journey=str(doc["journey"]), hash=str(doc["hash"]), event_id=str(doc["event"]),
        source=(str(topic), int(partition), int(offset), int(stamp)), deliveries=int(doc["n"]),
        started_ms=int(doc["started"]), hop=int(doc["hop"]), parks=int(doc["parks"]), due_ms=int(doc["due"]),
        trace_id=str(doc["trace"]), sampled=bool(doc["sampled"]), link=str(doc["link"]), steps=steps,
    )  # fmt: skip


def identity(state: RunState) -> int:
    """Return what two copies of the same hop share: retry records repeated by a crash are dropped by it."""
    return hash((state.source[:3], state.journey, state.hop, tuple(state.steps)))


def spread(state: RunState) -> int:
    """Return a number that is the same for every hop of a run: copies of a hop land in the same partition."""
    topic, partition, offset, _ = state.source
    return zlib.crc32(f"{topic}/{partition}/{offset}/{state.journey}".encode())


def tier_for(wait_ms: int, tiers_ms: Sequence[int]) -> int:
    """Return the index of the largest tier not longer than the wait; the smallest when even that is too long."""
    best = 0
    for index, delay_ms in enumerate(tiers_ms):
        if delay_ms <= wait_ms:
            best = index
    return best


def park_tier(parks: int, tiers_ms: Sequence[int], park_max_ms: int) -> int:
    """Return the tier of the `parks`-th parking (from 0): one higher each time, never longer than `park_max_ms`.

    The first is the lowest from which a run is written fewer than three times in any hour (10 min with the default
    tiers), or the highest allowed if there is none. That is no wait: run/release lets parked runs go as soon as their
    destination is well again.
    """
    highest = tier_for(park_max_ms, tiers_ms)
    first = 0
    while first < highest and tiers_ms[first] + tiers_ms[first + 1] < PARK_PERIOD_MS:
        first += 1
    return min(first + parks, highest)
