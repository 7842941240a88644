"""Wires what is remembered of customers, where a journey asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeline.adapters.kafka.follower import KafkaFollower
from pipeline.config import topics
from pipeline.errors import BrokerError
from pipeline.run.memory import Recall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.compile import Compiled
    from pipeline.ports import Producer


def check(group: str, compiled: Compiled, partitions: Mapping[str, int]) -> None:
    """Refuse to start where what is remembered is not kept by partition as the input is. Raises BrokerError.

    `partitions` are those of each topic there is.
    """
    if not compiled.remembers:
        return
    name = topics.memory(group)
    for each in compiled.input_topics:
        if partitions[each] != partitions[name]:
            raise BrokerError(
                f"{name} has {partitions[name]} partitions and {each} {partitions[each]}: they belong together by "
                "their number; hookline topics check says what to do"
            )


def recall(
    group: str,
    compiled: Compiled,
    settings: Mapping[str, str],
    producer: Producer,
    log: Callable[..., None],
    fatal: Callable[[BaseException], None],
) -> Recall | None:
    """Begin to follow the memory topic, on the running loop; None where no journey asks for what is remembered."""
    if not compiled.remembers:
        return None
    name = topics.memory(group)
    return Recall(KafkaFollower(settings, name, log, fatal), name, producer, time.time_ns, log)
