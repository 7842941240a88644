"""Decides the names of a group's own topics and consumer groups, and what each of its topics must be like.

Own topics begin with the group's name, so that one prefix ACL covers them all.
"""

from __future__ import annotations

import re
from typing import Final

_RETRY: Final = re.compile(r"\.retry\.([0-9]+(?:ms|s|m|h|d|y))$", re.ASCII)


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


def delay_name(topic: str) -> str | None:
    """Return the delay a retry topic is named after, or None for any other topic."""
    found = _RETRY.search(topic)
    return found.group(1) if found else None
