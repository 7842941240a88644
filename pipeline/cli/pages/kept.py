"""What Hookline itself keeps of customers, and how long: a row for each topic, as the configuration has it.

`hookline topics check` holds the broker to it; after an erasure `hookline erase` says what is still there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.config import topics, units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config.models import Config

HEAD: Final = ("topic", "holds", "kept")
OTHERS: Final = "as long as the topic's own retention, which is its owner's to say"


def rows(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield each topic that holds something of customers: its name, what it holds, and for how long."""
    group, retention = config.group, config.retention
    longest = units.duration_text(max((each.trigger.max_age_ms for each in config.journeys.values()), default=0))
    settled = f"until settled, at most {longest} (`max_age`)"
    for name in topics.inputs(config):
        yield _code(name), "events as they were published", OTHERS
    for name in topics.lookups(config):
        yield _code(name), "rows of a look-up, the newest of each customer", OTHERS
    if topics.events(group) in topics.own(config):
        yield (
            _code(topics.events(group)),
            "copies of events, under the customer ID",
            "until settled, and two hours more",
        )
    if config.retry_tiers:
        yield _code(topics.retry(group, "*")), "events of runs that wait, with answers that later steps read", settled
    for name in topics.logs(config).values():
        yield _code(name), "events that wait for their turn", f"{settled}, and two hours more"
    dead, outcomes = units.duration_text(retention.dead_ms), units.duration_text(retention.outcomes_ms)
    yield _code(topics.dead(group)), "events that could not be delivered", f"{dead} (`retention.dead`)"
    held = "how every delivery ended, under a keyed hash of the customer ID"
    yield _code(topics.outcomes(group)), held, f"{outcomes} (`retention.outcomes`)"
    yield _code(topics.consent(group)), "consent by purpose and channel", "until superseded or erased"
    yield (
        _code(topics.suppressions(group)),
        "reasons not to be contacted",
        "until they end; the mark of an erasure stays",
    )
    if topics.memory(group) in topics.own(config):
        memory = units.duration_text(retention.memory_ms)
        held = "what journeys remember of a customer, as hashes under the customer ID"
        yield _code(topics.memory(group)), held, f"until superseded, at most {memory} (`retention.memory`)"


def _code(name: str) -> str:
    return f"`{name}`"
