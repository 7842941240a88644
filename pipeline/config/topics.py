"""Decides the names of a group's own topics and of the consumer groups that read.

Own topics begin with the group's name, so that one prefix ACL covers them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config.models import Config


def retry(group: str, delay_name: str) -> str:
    """Name the retry topic of one tier; `delay_name` as written in the configuration, such as `10s`."""
    return f"{group}.retry.{delay_name}"


def dead(group: str) -> str:
    """Name the topic of dead letters."""
    return f"{group}.dead"


def outcomes(group: str) -> str:
    """Name the topic of outcomes and ledgers."""
    return f"{group}.outcomes"


def control(group: str) -> str:
    """Name the topic of worker reports and definitions."""
    return f"{group}.control"


def retry_group(group: str) -> str:
    """Name the consumer group that reads the retry topics; the input topics' group is `group` itself."""
    return f"{group}.retry"


def retry_topics(config: Config) -> tuple[str, ...]:
    """Name all retry topics, in the order of the configuration's tiers."""
    return tuple(retry(config.group, tier.name) for tier in config.retry_tiers)


def own(config: Config) -> tuple[str, ...]:
    """Name every topic of the group's own."""
    group = config.group
    return (*retry_topics(config), dead(group), outcomes(group), control(group))


def inputs(config: Config) -> tuple[str, ...]:
    """Name the input topics, each once, in the order of `events:`."""
    return tuple(dict.fromkeys(mapping.topic for mapping in config.events))
