"""Decides how the state of a run that is handed over is written, and reads it back.

A handed-over run is one Kafka record: original key, bytes and headers, plus one header with this state. Format of the
header: one version byte, CRC-32 (big endian) of what follows, then compact JSON. At most `STATE_BYTES_MAX`.

Version 2 has what steps after others need. A run without any is written as version 1, as ever: workers of two releases
may run side by side.
"""

from __future__ import annotations

import zlib
from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.model import Outcome, Result, value

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE_HEADER: Final = "hookline-run"
STATE_VERSION: Final = 2
"""The newest that is written and read."""
STATE_BYTES_MAX: Final = 65_536
FIRST_HOP: Final = 1
"""Of what an event itself put into the log of its journey."""
_PLAIN: Final = 1


@value
class StepState:
    """A step that is still to be delivered. Times in Unix ms; `first_ms` 0 means never attempted.

    `ambiguous`: one of its attempts may have arrived though no answer came.
    """

    attempts: int
    due_ms: int
    first_ms: int
    cls: str
    status: int
    ambiguous: bool = False


@value
class RunState:
    """One journey for one event between two hops. `source` is the input position and its record timestamp.

    `ahead` names the steps that have not started and are this hop's to start; `results` has how those ended that these,
    or the waiting `steps`, come after; `retried` names those that were ever handed over for a reason.
    """

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
    ahead: tuple[str, ...] = ()
    results: Mapping[str, Result] = field(default_factory=dict)
    retried: tuple[str, ...] = ()


@value
class Unreadable:
    """A state header that cannot be used. `newer`: written by a later version, so a later worker must read it."""

    newer: bool
    detail: str


def encode(state: RunState) -> bytes | None:
    """Write the header's value; None if it would be too long, or has what JSON cannot say. Never raises."""
    content: dict[str, Any] = {
        "journey": state.journey, "hash": state.hash, "event": state.event_id, "source": state.source,
        "n": state.deliveries, "started": state.started_ms, "hop": state.hop, "parks": state.parks,
        "due": state.due_ms, "trace": state.trace_id, "sampled": state.sampled, "link": state.link,
        "steps": {name: _waits(step) for name, step in state.steps.items()},
    }  # fmt: skip
    version = _PLAIN
    if state.ahead or state.results or state.retried:
        version = STATE_VERSION
        content["ahead"] = state.ahead
        content["results"] = {name: _written(result) for name, result in state.results.items()}
        content["retried"] = state.retried
    try:
        body = orjson.dumps(content)
    except TypeError:  # orjson.JSONEncodeError is one: an integer beyond 64 bits
        return None
    header = bytes((version,)) + zlib.crc32(body).to_bytes(4, "big") + body
    return header if len(header) <= STATE_BYTES_MAX else None


def decode(header: bytes | None) -> RunState | Unreadable:
    """Read a header's value; anything damaged, too long or not of this shape is Unreadable. Never raises."""
    if header is None:
        return Unreadable(newer=False, detail="no run state")
    if not 5 < len(header) <= STATE_BYTES_MAX:  # noqa: PLR2004 - version and checksum
        return Unreadable(newer=False, detail="run state of impossible length")
    if not 1 <= header[0] <= STATE_VERSION:
        return Unreadable(newer=header[0] > STATE_VERSION, detail=f"run state version {header[0]}")
    body = header[5:]
    if zlib.crc32(body).to_bytes(4, "big") != header[1:5]:
        return Unreadable(newer=False, detail="run state checksum")
    try:
        state = _shape(orjson.loads(body))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError):  # a time may be none in UTC
        return Unreadable(newer=False, detail="run state shape")
    return state if state.steps or state.ahead else Unreadable(newer=False, detail="run state without steps")


def _shape(doc: Any) -> RunState:
    topic, partition, offset, stamp = doc["source"]
    steps = {
        str(name): StepState(int(s[0]), int(s[1]), int(s[2]), str(s[3]), int(s[4]), bool(s[5:]))
        for name, s in doc["steps"].items()
    }
    return RunState(
        journey=str(doc["journey"]), hash=str(doc["hash"]), event_id=str(doc["event"]),
        source=(str(topic), int(partition), int(offset), int(stamp)), deliveries=int(doc["n"]),
        started_ms=int(doc["started"]), hop=int(doc["hop"]), parks=int(doc["parks"]), due_ms=int(doc["due"]),
        trace_id=str(doc["trace"]), sampled=bool(doc["sampled"]), link=str(doc["link"]), steps=steps,
        ahead=tuple(map(str, doc.get("ahead", ()))),
        results={str(name): _read(each) for name, each in doc.get("results", {}).items()},
        retried=tuple(map(str, doc.get("retried", ()))),
    )  # fmt: skip


def _waits(step: StepState) -> list[object]:
    """Give a waiting step as JSON: what is seldom so is said only where it is, and passed over by earlier releases."""
    told: list[object] = [step.attempts, step.due_ms, step.first_ms, step.cls, step.status]
    return [*told, 1] if step.ambiguous else told


def _written(result: Result) -> list[object]:
    """Give a result as JSON: what is a timestamp is named, for as text it would come back as text."""
    response = result.response
    times = {name: kept.isoformat() for name, kept in (response or {}).items() if isinstance(kept, datetime)}
    if times and response is not None:
        response = {**response, **times}
    return [result.outcome.value, result.cls, result.status, response, [*times]]


def _read(each: Any) -> Result:
    outcome, cls, status, response, times = each
    if response is not None:
        response = dict(response.items())
        for name in times:
            response[name] = datetime.fromisoformat(response[name]).astimezone(UTC)
    return Result(Outcome(outcome), str(cls), int(status), response)


def identity(state: RunState) -> int:
    """Return what two copies of the same hop share: retry records repeated by a crash are dropped by it.

    In which order its steps began to wait tells no two apart: done again, they end in another.
    """
    return hash((state.source[:3], state.journey, state.hop, frozenset(state.steps), state.ahead))


def entry_identity(state: RunState) -> int:
    """Return what two copies of one entry of a journey's log share.

    Of an event's own entry that is its position and the journey alone: written again after a crash by a worker of
    another configuration, it is the same event.
    """
    return hash((state.source[:3], state.journey)) if state.hop == FIRST_HOP else identity(state)


def log_partition(customer_id: str, partitions: int) -> int:
    """Return the partition of a customer's entries in a journey's log that has so many."""
    return zlib.crc32(customer_id.encode()) % partitions


def spread(state: RunState) -> int:
    """Return a number that is the same for every hop of a run: copies of a hop land in the same partition."""
    topic, partition, offset, _ = state.source
    return zlib.crc32(f"{topic}/{partition}/{offset}/{state.journey}".encode())
