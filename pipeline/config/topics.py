"""Decides the names of a group's own topics and of the consumer groups that read.

Own topics begin with the group's name, so that one prefix ACL covers them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config import remember, rows, units

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.config.models import Config


def retry(group: str, delay_name: str) -> str:
    """Name the retry topic of one tier; `delay_name` as written in the configuration, such as `10s`."""
    return f"{group}.retry.{delay_name}"


def ordered(group: str, journey: str) -> str:
    """Name the log of a journey that keeps order, by the journey's first name."""
    return f"{group}.ordered.{journey}"


def dead(group: str) -> str:
    """Name the topic of dead letters."""
    return f"{group}.dead"


def outcomes(group: str) -> str:
    """Name the topic of outcomes and ledgers."""
    return f"{group}.outcomes"


def control(group: str) -> str:
    """Name the topic of worker reports and definitions."""
    return f"{group}.control"


def consent(group: str) -> str:
    """Name the topic of customers' consent."""
    return f"{group}.consent"


def suppressions(group: str) -> str:
    """Name the topic of reasons why customers are left in peace."""
    return f"{group}.suppressions"


def memory(group: str) -> str:
    """Name the topic of what is remembered of customers."""
    return f"{group}.memory"


def events(group: str) -> str:
    """Name the topic of events that were copied under their customers' IDs."""
    return f"{group}.events"


def events_group(group: str) -> str:
    """Name the consumer group that reads these copies."""
    return f"{group}.events"


def tables(group: str) -> tuple[str, str]:
    """Name the topics that every machine keeps whole, in the order of their numbers in core/tables."""
    return consent(group), suppressions(group)


def retry_group(group: str) -> str:
    """Name the consumer group that reads the retry topics; the input topics' group is `group` itself."""
    return f"{group}.retry"


def retry_topics(config: Config) -> tuple[str, ...]:
    """Name all retry topics, in the order of the configuration's tiers."""
    return tuple(retry(config.group, tier.name) for tier in config.retry_tiers)


def removed_retry_topics(config: Config, known: Iterable[str]) -> dict[str, int]:
    """Find retry topics on the broker that are no tier of the configuration any more, with their delays in ms.

    Runs may still wait there. Their names are all that is left of them.
    """
    prefix = retry(config.group, "")
    removed = {}
    for name in sorted(set(known) - set(retry_topics(config))):
        if name.startswith(prefix):
            try:
                removed[name] = units.duration_ms(name.removeprefix(prefix))
            except ValueError:
                continue  # another group's, whose name begins like this
    return removed


def ordered_group(group: str) -> str:
    """Name the consumer group that reads the logs of journeys that keep order."""
    return f"{group}.ordered"


def logs(config: Config) -> dict[str, str]:
    """Name the logs of the journeys that keep order and are no drafts, by journey."""
    return {
        name: ordered(config.group, each.first_name)
        for name, each in sorted(config.journeys.items())
        if each.ordered and each.status != "draft"
    }


def removed_logs(config: Config, known: Iterable[str]) -> tuple[str, ...]:
    """Find logs on the broker that no journey of the configuration has any more: runs may still wait there."""
    prefix, own_ = ordered(config.group, ""), {*logs(config).values()}
    there = (name for name in known if name.startswith(prefix) and "." not in name.removeprefix(prefix))
    return tuple(sorted(name for name in there if name not in own_))


def own(config: Config) -> tuple[str, ...]:
    """Name every topic of the group's own that the configuration needs."""
    group = config.group
    asked = [memory(group)] if remember.used(config) else []
    if remember.rekeyed(config):
        asked.append(events(group))
    return (
        *retry_topics(config),
        *logs(config).values(),
        dead(group),
        outcomes(group),
        control(group),
        *tables(group),
        *asked,
    )


def lookups(config: Config) -> tuple[str, ...]:
    """Name the topics of the look-ups that journeys read, each once."""
    return tuple(dict.fromkeys(each.topic for each in rows.used(config).values()))


def read(config: Config, known: Iterable[str]) -> dict[str, str]:
    """Name each topic that events are taken from, with the consumer group that reads it.

    The inputs, and copies: also those that a configuration before this one had made, if there are any (`known` are the
    topics on the broker).
    """
    found = dict.fromkeys(inputs(config), config.group)
    copies = events(config.group)
    if copies not in found and (remember.rekeyed(config) or copies in known):
        found[copies] = events_group(config.group)
    return found


def inputs(config: Config) -> tuple[str, ...]:
    """Name the input topics, each once, in the order of `events:`."""
    return tuple(dict.fromkeys(mapping.topic for mapping in config.events))
