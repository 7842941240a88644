"""Decides what an erasure leaves behind: which topics may still hold something of a customer, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Mapping

FOREVER: Final = -1
COPIES_MS: Final = 7_200_000
"""How long a copy that is settled at once may stay: settled ones are deleted hourly, one round late."""

_TOMBSTONES: Final = "delete.retention.ms"
_NEVER_MS: Final = 2**62
"""Kafka's own default of max.compaction.lag.ms is about twice that."""

_HELD: Final = {
    "input": "events as they were published",
    "retry": "events of runs that wait; nothing is sent for them any more, they end as skipped(erased)",
    "ordered": "events that wait for their turn, under the customer ID; they end as skipped(erased), too",
    "events": "copies of events, under the customer ID",
    "dead": "events that could not be delivered",
    "outcomes": "outcomes, under a keyed hash of the customer ID",
    "table": "the marker of the erasure, which names the customer; what was taken away until compaction",
    "consent": "what was taken away until compaction, and that it was, under the customer ID",
    "lookup": "the customer's row, which is for its owner to take away",
    "memory": "hashes, under the customer ID, until compaction",
}


@value
class Holding:
    """A topic that may still hold something. `until_ms`: for how long from a record's time on; FOREVER without end."""

    topic: str
    what: str
    until_ms: int
    why: str


def holdings(roles: Mapping[str, str], configs: Mapping[str, Mapping[str, str]], retry_ms: int) -> tuple[Holding, ...]:
    """Return what may still be held, topic by topic.

    `roles` and `configs` are by topic, the latter the effective ones of the topics there are; `retry_ms` is the longest
    a run may wait.
    """
    found = []
    for topic, role in roles.items():
        there = configs.get(topic)
        if there is not None:
            until_ms, why = _until(role, there, retry_ms)
            found.append(Holding(topic, _HELD[role], until_ms, why))
    return tuple(found)


def _until(role: str, configs: Mapping[str, str], retry_ms: int) -> tuple[int, str]:
    fixed = {
        "retry": (retry_ms, "until settled; settled records are deleted hourly"),
        "ordered": (retry_ms, "until settled; settled records are deleted within two hours"),
        "events": (COPIES_MS, "until settled, and two hours more"),
        "table": (FOREVER, "the marker stays, so that the erasure does"),
    }
    if role in fixed:
        return fixed[role]
    if role == "consent":
        return _compacted(configs)
    policy = configs.get("cleanup.policy", "delete").split(",")
    kept_ms = _number(configs.get("retention.ms", "")) if "delete" in policy else FOREVER
    if "compact" in policy:
        kept = "nothing but a newer record with its key takes a record away"
        return kept_ms, kept if kept_ms == FOREVER else f"{kept}, or retention.ms"
    return kept_ms, "retention.ms" if kept_ms != FOREVER else "retention.ms is unlimited"


def _compacted(configs: Mapping[str, str]) -> tuple[int, str]:
    """Return how long what has a tombstone stays, and then the tombstone."""
    waits_ms, tombstones_ms = (_number(configs.get(key, "")) for key in ("max.compaction.lag.ms", _TOMBSTONES))
    if min(waits_ms, tombstones_ms) < 0 or waits_ms >= _NEVER_MS:
        return FOREVER, "until compaction, which max.compaction.lag.ms does not bound"
    return waits_ms + tombstones_ms, f"max.compaction.lag.ms, and {_TOMBSTONES} for the tombstones"


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return FOREVER
