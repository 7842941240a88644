"""Decides what an erasure leaves behind: which topics may still hold something of a customer, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Mapping

FOREVER: Final = -1
COPIES_MS: Final = 7_200_000
"""How long a copy that is settled at once may stay: settled ones are deleted hourly, one round late."""

_HELD: Final = {
    "input": "events as they were published",
    "retry": "events of runs that wait; nothing is sent for them any more, they end as skipped(erased)",
    "ordered": "events that wait for their turn, under the customer ID; they end as skipped(erased), too",
    "events": "copies of events, under the customer ID",
    "dead": "events that could not be delivered",
    "outcomes": "outcomes, under a keyed hash of the customer ID",
    "table": "the marker of the erasure, which names the customer; what was taken away until compaction",
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
    if role == "retry":
        return retry_ms, "until settled; settled records are deleted hourly"
    if role == "ordered":
        return retry_ms, "until settled; settled records are deleted within two hours"
    if role == "events":
        return COPIES_MS, "until settled, and two hours more"
    policy = configs.get("cleanup.policy", "delete").split(",")
    kept_ms = _number(configs.get("retention.ms", "")) if "delete" in policy else FOREVER
    if role == "table":
        return FOREVER, "the marker stays, so that the erasure does"
    if "compact" in policy:
        kept = "nothing but a newer record with its key takes a record away"
        return kept_ms, kept if kept_ms == FOREVER else f"{kept}, or retention.ms"
    return kept_ms, "retention.ms" if kept_ms != FOREVER else "retention.ms is unlimited"


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return FOREVER
