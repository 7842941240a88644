"""Wires what is remembered of customers, where a journey asks for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeline.adapters.kafka.follower import KafkaFollower
from pipeline.config import topics
from pipeline.core import rekey
from pipeline.errors import BrokerError
from pipeline.run.memory import Recall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.compile import Compiled
    from pipeline.ports import Producer
    from pipeline.run.memory import Home


def check(group: str, compiled: Compiled, partitions: Mapping[str, int]) -> None:
    """Refuse to start where what is remembered is not kept by partition as the events are. Raises BrokerError.

    `partitions` are those of each topic there is.
    """
    if not compiled.remembers:
        return
    name = topics.memory(group)
    for each in (topics.events(group),) if compiled.rekeyed else compiled.input_topics:
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
    copies: str,
) -> Recall | None:
    """Begin to follow the memory topic, on the running loop; None where no journey asks for what is remembered.

    `copies` is the topic of events under their customers' IDs, "" if there is none.
    """
    if not compiled.remembers:
        return None
    name = topics.memory(group)
    home = _home(copies, producer.partitions(name), rekeyed=compiled.rekeyed) if copies else None
    return Recall(KafkaFollower(settings, name, log, fatal), name, producer, time.time_ns, log, home=home)


def _home(copies: str, partitions: int, *, rekeyed: bool) -> Home:
    """Return what finds the partition of a customer for runs that began before events were copied, or after that ended.

    What is remembered is kept by the partition of the events that are taken up now; a run that began otherwise came
    from a partition that says nothing of it.
    """

    def home(customer_id: str, source: tuple[str, int, int, int]) -> int:
        if (source[0] == copies) == rekeyed:
            return source[1]
        return rekey.partition(customer_id.encode(), partitions)

    return home
