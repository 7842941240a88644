"""Asks where the partitions of an assignment start, and what above that is finished already.

Inside the consumer's rebalance callback, so of the consumer it calls `committed` alone (source.py says why). A broker
that is away or slow is asked again, all in all for ASSIGN_S: what is not known here is sent again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException

from pipeline.adapters.kafka.place import log_ends, places

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from confluent_kafka import Consumer, Message, TopicPartition

    from pipeline.adapters.kafka.requests import Requests

REQUEST_S: Final = 10.0
"""Bound on one question where to start."""
ASSIGN_S: Final = 60.0
"""How long an assignment waits for a broker that cannot say where to start, or what is finished already."""
AGAIN_S: Final = 0.5
"""How soon a question that was not answered is asked again."""
_IN_VAIN: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._UNSUPPORTED_FEATURE,  # noqa: SLF001 - the client's public name for it
)
"""Answers that asking again does not change."""

_Key = tuple[str, int]
Stored = dict[_Key, tuple[bytes, str, int]]
"""As ports.Assigned.stored."""


class Cuts:
    """Notices that a log was cut while it is read, of what the client reads again without a word (`earliest`)."""

    def __init__(self) -> None:
        self._last: dict[_Key, tuple[int, int]] = {}  # the highest offset handed out, and its leader epoch

    def found(self, key: _Key, message: Message) -> bool:
        """Whether this record got the offset of one that was handed out before.

        What is only read again is of no later leader than what came after it.
        """
        offset, epoch = message.offset() or 0, message.leader_epoch()
        last = self._last.get(key)
        if last is None or offset > last[0]:
            self._last[key] = (offset, -1 if epoch is None else epoch)
            return False
        return epoch is not None and epoch > last[1] >= 0

    def forget(self, keys: Iterable[_Key]) -> None:
        """Start over with these partitions."""
        for key in keys:
            self._last.pop(key, None)


class Starts:
    """Of one source; called in its poll thread."""

    def __init__(
        self,
        settings: Mapping[str, str],
        group: str,
        role: str,
        log: Callable[..., None],
        requests: Requests,
        stopping: threading.Event,
    ) -> None:
        """`settings` are those of a client that is in no group. Once `stopping` is set, nothing is asked again."""
        self._settings = settings
        self._group = group
        self._role = role
        self._log = log
        self._requests = requests
        self._stopping = stopping

    def ask(
        self, consumer: Consumer, partitions: Sequence[TopicPartition], cut: Mapping[_Key, int] | None = None
    ) -> tuple[list[TopicPartition], Stored]:
        """Return where to start, and what ports.Assigned tells of it. Raises KafkaException if there is no answer.

        `cut`: of logs that are known to have been cut, the offset of the first new record.
        """
        if not partitions:
            return [], {}
        until_s = time.monotonic() + ASSIGN_S
        starts = self._committed(consumer, partitions, until_s)
        notes = {(each.topic, each.partition): each.metadata or "" for each in starts}
        bound = self._places(notes, until_s)
        ends = self._ends(notes, {key for key in bound if notes[key]}, until_s)
        ends |= cut or {}
        for start in starts:
            self._look_beyond(start, ends.get((start.topic, start.partition), -1))
        return starts, {key: (place, notes[key], ends.get(key, -1)) for key, place in bound.items()}

    def _committed(
        self, consumer: Consumer, partitions: Sequence[TopicPartition], until_s: float
    ) -> list[TopicPartition]:
        """Without an answer there is no start."""
        while True:
            try:
                return consumer.committed(list(partitions), timeout=REQUEST_S)
            except KafkaException as error:
                if not self._again(until_s):
                    raise
                self._log("warning", "committed_unknown", role=self._role, code=error.args[0].name())

    def _places(self, notes: Mapping[_Key, str], until_s: float) -> dict[_Key, bytes]:
        """Without an answer nothing is restored, and the next commit would overwrite what is stored."""
        while True:
            try:
                return places(self._settings, self._group, notes)
            except (KafkaException, TimeoutError) as error:
                in_vain = isinstance(error, KafkaException) and error.args[0].code() in _IN_VAIN
                if in_vain or not self._again(until_s):
                    self._log("warning", "progress_unbound", role=self._role, detail=type(error).__name__)
                    return {}
                self._log("warning", "progress_unknown", role=self._role, detail=type(error).__name__)

    def _ends(self, notes: Mapping[_Key, str], needed: set[_Key], until_s: float) -> dict[_Key, int]:
        """Without an answer, what the metadata of a partition says is not believed: `needed` is asked for again."""
        ends = log_ends(self._settings, notes)
        while (missing := needed - ends.keys()) and self._again(until_s):
            self._log("warning", "end_unknown", role=self._role, partitions=len(missing))
            ends |= log_ends(self._settings, missing)
        return ends

    def _look_beyond(self, start: TopicPartition, end: int) -> None:
        """Start at the end of a log that lost what was committed: what is there next is new, whatever its offset.

        That is committed at once, before the log is as long again. Of the input not: the consumer says that its start
        is gone, and the worker stops with a remedy.
        """
        if not 0 <= end < start.offset:
            return
        self._log(
            "warning", "log_truncated", role=self._role, topic=start.topic, partition=start.partition,
            committed=start.offset, end=end,
        )  # fmt: skip
        if self._role != "input":
            start.offset = end
            self._requests.commit([(start.topic, start.partition, end, "")])

    def _again(self, until_s: float) -> bool:
        """Wait a little, unless time is up or the source stops: then return False."""
        return time.monotonic() < until_s and not self._stopping.wait(AGAIN_S)
