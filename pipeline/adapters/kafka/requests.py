"""Keeps what the loop asks of a poll thread, until the thread gets to it: commits, pauses. Safe from both."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, TopicPartition

from pipeline.core import progress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_Key = tuple[str, int]


class Requests:
    """Of one consumer. The lock is held for copies only; nothing blocks."""

    def __init__(self) -> None:
        self.metadata_chars = progress.CHARS_MAX
        self._lock = threading.Lock()
        self._commits: dict[_Key, tuple[int, str]] = {}
        self._asked: dict[_Key, tuple[int, str]] = {}  # the latest of each partition
        self._pausing: dict[_Key, bool] = {}
        self._under_way = 0  # commits sent and not answered; only the poll thread counts

    def commit(self, offsets: Sequence[tuple[str, int, int, str]]) -> None:
        """Ask for commits; later ones of a partition win."""
        with self._lock:
            for topic, partition, offset, metadata in offsets:
                self._commits[topic, partition] = self._asked[topic, partition] = (offset, metadata)

    def pause(self, key: _Key, *, paused: bool) -> None:
        """Ask for a pause, or for its end."""
        with self._lock:
            self._pausing[key] = paused

    def commits(self) -> bool:
        """Whether commits are asked for."""
        return bool(self._commits)

    def take_commits(self, owned: Collection[_Key]) -> list[TopicPartition]:
        """Take out the commits of these partitions; drop those of others, which Kafka would accept."""
        with self._lock:
            wanted, self._commits = self._commits, {}
        taken = [TopicPartition(*key, *what) for key, what in wanted.items() if key in owned]
        self._under_way += bool(taken)
        return taken

    def answered(self) -> None:
        """Note that one of those taken is under way no more, however it ended."""
        self._under_way -= 1

    def open(self) -> bool:
        """Whether any commit is asked for, or was sent and not answered."""
        return bool(self._commits) or self._under_way > 0

    def again(self, keys: Iterable[_Key]) -> None:
        """Ask again for the latest of these partitions if anything is under way: its answer may come too late."""
        with self._lock:
            if self._under_way > 0:
                self._commits |= {key: self._asked[key] for key in keys if key in self._asked}

    def take_pauses(self) -> dict[_Key, bool]:
        """Take out the pauses asked for."""
        if not self._pausing:
            return {}
        with self._lock:
            wanted, self._pausing = self._pausing, {}
        return wanted

    def failed(self, error: KafkaError | None, offsets: Iterable[TopicPartition], owned: Collection[_Key]) -> None:
        """Ask again for the latest of what was asked: of several under way any may fail first or alone.

        Metadata the broker has no room for is not asked for again: the loop gets to know of the limit and makes it
        shorter, while the partition waits until all that is finished fits. The Python client gives the error of one
        partition to all of the commit, so the longest is taken for the one refused; the others are asked for again.
        """
        with self._lock:
            keys = {(each.topic, each.partition) for each in offsets} & set(owned) & self._asked.keys()
            if keys and error is not None and error.code() == KafkaError.OFFSET_METADATA_TOO_LARGE:
                longest = max(len(self._asked[key][1]) for key in keys)
                self.metadata_chars = min(self.metadata_chars, longest * 3 // 4)
                keys = {key for key in keys if len(self._asked[key][1]) <= self.metadata_chars}
            for key in keys:
                self._commits[key] = self._asked[key]

    def forget(self, keys: Iterable[_Key]) -> None:
        """Drop what was asked for under this assignment: it is nothing to the next one."""
        with self._lock:
            for key in keys:
                self._asked.pop(key, None)
                self._commits.pop(key, None)
                self._pausing.pop(key, None)
