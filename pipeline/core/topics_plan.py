"""Decides what topics a group needs, and what is wrong with those there are.

Bounds rather than values where more does no harm: a topic somebody made roomier by hand is left in peace.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEADROOM_BYTES: Final = 131_072
"""What own topics must take beyond the input's largest record: run state (64 KiB), dead-letter headers, framing."""
CONTROL_ROLL_MS: Final = 3_600_000
"""Longest the control topic keeps superseded worker reports, so that reading it whole stays quick."""
TOMBSTONES_MS: Final = 86_400_000
"""Least time a tombstone of a table stays: a worker's file that is older than half of it is read anew."""
FOREVER: Final = -1

_EXACTLY: Final[Mapping[str, tuple[str, str]]] = {
    "control": ("it is read as one log", "delete it, then: hookline topics create"),
    "table": (
        "of two records with one key, in two partitions, nobody can tell which is the newer one",
        "move it: a topic with one partition, filled again by whoever writes to it",
    ),
    "memory": (
        "its partitions belong to those of the same number that events are on",
        "add the missing ones; where events have fewer or more than they had, what was remembered stays where it was",
    ),
}
"""Why a topic must have just so many partitions, and what to do, by its role."""

_SIZES: Final = ("retention.ms", "retention.bytes")  # -1 means unlimited


@value
class Demand:
    """One config a topic must have: `create` is what we set; `low` to `high` are accepted, else only `create`."""

    key: str
    create: str
    why: str
    low: float | None = None
    high: float | None = None


@value
class Wanted:
    """One topic that must be there. `partitions` is for creating it; `exactly`: any other number is wrong."""

    name: str
    role: str  # input | lookup | retry | ordered | dead | outcomes | control | table | memory | events
    partitions: int
    demands: tuple[Demand, ...] = ()
    exactly: bool = False


_WITHDRAWN: Final = Demand(
    "delete.retention.ms", str(TOMBSTONES_MS), "a worker that was away must still hear of what was taken away",
    low=TOMBSTONES_MS,
)  # fmt: skip


@value
class Present:
    """One topic that is there. `configs` are the effective values."""

    partitions: int
    configs: Mapping[str, str]


@value
class Finding:
    """What is wrong with a topic, why it matters and what to do. `serious` false: only to be known."""

    topic: str
    what: str
    why: str
    remedy: str
    serious: bool = True


def inputs(names: Sequence[str], partitions: int = 0) -> tuple[Wanted, ...]:
    """Return the input topics: they belong to others, so nothing is asked of them but to exist."""
    return tuple(Wanted(name, "input", partitions) for name in names)


def lookups(names: Sequence[str]) -> tuple[Wanted, ...]:
    """Return the topics of look-ups: they belong to others, and a row must stay there until it is superseded."""
    why = "the row of a customer must stay until it is superseded"
    return tuple(Wanted(name, "lookup", 0, (Demand("cleanup.policy", "compact", why), _WITHDRAWN)) for name in names)


def own(
    retry: Sequence[str],
    dead: str,
    outcomes: str,
    control: str,
    tables: Sequence[str],
    *,
    partitions: int,
    input_bytes: int,
    longest_age_ms: int,
    dead_ms: int,
    outcomes_ms: int,
    memory: str = "",
    memory_ms: int = 0,
    memory_partitions: int = 0,
    logs: Sequence[str] = (),
    copies: str = "",
) -> tuple[Wanted, ...]:
    """Return the group's own topics. `input_bytes` is the largest `max.message.bytes` of the inputs; ages in ms.

    `memory` "" is none; it has as many partitions as what events are taken up from, since they belong together by their
    number: the input, or `copies`, the topic of events under their customers' IDs ("" is none). `logs` are those of
    journeys that keep order.
    """
    shared = (
        Demand("message.timestamp.type", "LogAppendTime", "retry delays and retention count from the broker's clock"),
        Demand(
            "max.message.bytes", str(input_bytes + HEADROOM_BYTES), "the largest input record and our headers must fit",
            low=input_bytes + HEADROOM_BYTES,
        ),
    )  # fmt: skip
    delete = Demand("cleanup.policy", "delete", "compaction would drop records that share a key")
    unbounded = Demand("retention.bytes", str(FOREVER), "records would go by size before their time", low=inf)
    waiting = Demand("retention.ms", str(FOREVER), "a run may wait as long as its event's max_age", low=longest_age_ms)
    untouched = Demand("retention.ms", str(FOREVER), "workers delete what is settled; the rest must stay", low=inf)
    kept = (*shared, delete, unbounded)
    return (
        *(Wanted(name, "retry", partitions, (*kept, waiting)) for name in retry),
        *(Wanted(name, "ordered", partitions, (*kept, waiting)) for name in logs),
        Wanted(dead, "dead", partitions, (*kept, _kept("retention.dead", dead_ms))),
        Wanted(outcomes, "outcomes", partitions, (*kept, _kept("retention.outcomes", outcomes_ms))),
        Wanted(control, "control", 1, (*shared, *_compacted("the newest report of a worker")), exactly=True),
        *(
            Wanted(name, "table", 1, (*shared, *_compacted("what is known of a customer"), _WITHDRAWN), exactly=True)
            for name in tables
        ),
        *(
            Wanted(name, "memory", memory_partitions, (*shared, *_remembered(memory_ms)), exactly=True)
            for name in [memory]
            if name
        ),
        *(Wanted(name, "events", memory_partitions, (*kept, untouched)) for name in [copies] if name),
    )  # fmt: skip


def _kept(named: str, ms: int) -> Demand:
    return Demand("retention.ms", str(ms), f"hookline.yaml says so: {named}")


def _compacted(newest: str) -> tuple[Demand, ...]:
    why = "every reader reads it whole, so what is superseded must go"
    return (
        Demand("cleanup.policy", "compact", f"{newest} must stay, and nothing else"),
        Demand("segment.ms", str(CONTROL_ROLL_MS), why, high=CONTROL_ROLL_MS),
        Demand("max.compaction.lag.ms", str(CONTROL_ROLL_MS), why, high=CONTROL_ROLL_MS),
    )


def _remembered(ms: int) -> tuple[Demand, ...]:
    why = "an entry must stay until it is superseded, and for as long as it is asked for"
    return (
        Demand("cleanup.policy", "compact,delete", why),
        Demand("retention.bytes", str(FOREVER), "entries would go by size before their time", low=inf),
        _kept("retention.memory", ms),
    )


def configs(wanted: Wanted) -> dict[str, str]:
    """Return the configs to create a topic with. Of an input only what keeps a developer's old events alive."""
    if wanted.role == "input":
        return {"message.timestamp.type": "LogAppendTime"}
    return {demand.key: demand.create for demand in wanted.demands}


def examine(wanted: Sequence[Wanted], present: Mapping[str, Present]) -> tuple[Finding, ...]:
    """Return everything that is wrong, topic by topic in the given order, the missing ones included."""
    findings: list[Finding] = []
    for topic in wanted:
        there = present.get(topic.name)
        if there is None:
            findings.append(_missing(topic))
            continue
        if topic.exactly and topic.partitions and there.partitions != topic.partitions:
            findings.append(
                Finding(
                    topic.name, f"has {there.partitions} partitions, must have {topic.partitions}",
                    *_EXACTLY[topic.role],
                )
            )  # fmt: skip
        if topic.role == "input":
            findings += _input_notes(topic.name, there)
        findings += [_deviation(topic.name, each, there) for each in topic.demands if not _met(each, there)]
    return tuple(findings)


def _missing(topic: Wanted) -> Finding:
    if topic.role == "input":
        return Finding(
            topic.name, "is missing", "events are read from it",
            "whoever produces to it creates it; for development: hookline topics create --with-input PARTITIONS",
        )  # fmt: skip
    if topic.role == "lookup":
        return Finding(
            topic.name, "is missing", "a look-up is read from it", "the system it belongs to creates it, compacted"
        )
    return Finding(
        topic.name, "is missing", f"the worker writes its {topic.role} records there", "hookline topics create"
    )


def _input_notes(name: str, there: Present) -> list[Finding]:
    """Event time belongs into the value: a broker deletes by record time, which a producer may set to long ago."""
    retention = there.configs.get("retention.ms", str(FOREVER))
    deletes = "delete" in there.configs.get("cleanup.policy", "delete") and retention != str(FOREVER)
    if deletes and there.configs.get("message.timestamp.type") == "CreateTime":
        return [
            Finding(
                name, f"deletes by the producers' own timestamps (CreateTime, retention.ms={retention})",
                "a record stamped with an old event time is deleted within minutes, read or not",
                "producers leave the record timestamp alone, or the topic gets message.timestamp.type=LogAppendTime",
                serious=False,
            )
        ]  # fmt: skip
    return []


def _met(demand: Demand, there: Present) -> bool:
    found = there.configs.get(demand.key)
    if found is None:
        return True  # the broker does not know this config, or does not tell
    if demand.low is None and demand.high is None:
        return found == demand.create
    number = _number(demand.key, found)
    return (demand.low is None or number >= demand.low) and (demand.high is None or number <= demand.high)


def _number(key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return inf
    return inf if number == FOREVER and key in _SIZES else number


def _deviation(name: str, demand: Demand, there: Present) -> Finding:
    wanted = demand.create
    if demand.low is not None and demand.low != inf and demand.create != str(FOREVER):
        wanted = f"at least {demand.create}"
    elif demand.low is not None and demand.low != inf:
        wanted = f"{FOREVER} (unlimited) or at least {demand.low:.0f}"
    elif demand.high is not None:
        wanted = f"at most {demand.create}"
    return Finding(
        name, f"{demand.key} is {there.configs[demand.key]}, must be {wanted}", demand.why,
        f"kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config {demand.key}={demand.create}",
    )  # fmt: skip
