"""adapters/kafka/source on a real Kafka: order, back-pressure, commits, rebalances, nothing lost to a callback."""

from __future__ import annotations

import asyncio
import math
import signal
import sys
import threading
import time

from confluent_kafka import KafkaError, TopicPartition

from pipeline.adapters.kafka import source as source_module
from pipeline.adapters.kafka.backlog import BACKLOG_RECORDS
from pipeline.adapters.kafka.source import BATCH_RECORDS, KafkaSource
from pipeline.errors import BrokerError
from pipeline.ports import Assigned, Revoked
from tests.support.broker import Outgoing
from tests.support.children import Child
from tests.support.conditions import eventually


async def test_records_come_in_order_from_the_beginning(kafka, topic_factory, open_source) -> None:
    topic = topic_factory(partitions=2)
    kafka.produce(topic, [f"{number}".encode() for number in range(1_000)])
    inbox = open_source(topic)
    await eventually(lambda: len(inbox.records) == 1_000)
    for partition in (0, 1):
        assert inbox.offsets(partition) == list(range(len(inbox.offsets(partition))))
    assert inbox.source.partitions_total(topic) == 2
    await inbox.source.stop()


async def test_a_commit_is_where_the_next_one_starts(kafka, topic_factory, open_source, unique) -> None:
    topic = topic_factory()
    kafka.produce(topic, [b"x"] * 10)
    first = open_source(topic)
    await eventually(lambda: len(first.records) == 10)
    first.source.commit([(topic, 0, 4, "")])
    await first.source.stop()
    assert kafka.committed(unique, topic) == {0: (4, "")}
    second = open_source(topic)
    await eventually(lambda: len(second.records) == 6)
    assert second.offsets() == [4, 5, 6, 7, 8, 9]
    await second.source.stop()


async def test_fetching_waits_while_nothing_is_taken_and_nothing_is_lost(kafka, topic_factory, open_source) -> None:
    topic = topic_factory()
    kafka.produce(topic, [b"x"] * 9_000)
    inbox = open_source(topic)
    inbox.taking = False
    await eventually(lambda: len(inbox.records) >= BACKLOG_RECORDS)
    await eventually(lambda: inbox.source._all_paused)
    bound = BACKLOG_RECORDS + BATCH_RECORDS
    assert len(inbox.records) <= bound
    inbox.taking = True
    inbox.source.taken(len(inbox.records))
    await eventually(lambda: len(inbox.records) == 9_000)
    assert inbox.offsets() == list(range(9_000))
    await inbox.source.stop()


async def test_partitions_that_come_while_all_are_paused_are_paused_too(kafka, topic_factory, open_source) -> None:
    topic = topic_factory(partitions=2)
    first, second = open_source(topic), open_source(topic)
    first.taking = False
    await eventually(lambda: len(first.owned) == 1 and len(second.owned) == 1, timeout_s=60)
    (kept,) = first.owned
    other = 1 - kept[1]
    for partition, number in ((kept[1], 5_000), (other, 9_000)):
        kafka.produce(topic, [Outgoing(b"x", partition=partition)] * number)
    await eventually(lambda: first.source._all_paused)
    await second.source.stop()
    await eventually(lambda: len(first.owned) == 2, timeout_s=60)
    await asyncio.sleep(1.0)  # a bound holds by nothing happening
    assert len(first.records) <= BACKLOG_RECORDS + 2 * BATCH_RECORDS
    first.taking = True
    first.source.taken(len(first.records))
    await eventually(lambda: len(first.offsets(kept[1])) == 5_000)
    await first.source.stop()


async def test_one_partition_pauses_alone_and_goes_on_where_it_stopped(kafka, topic_factory, open_source) -> None:
    topic = topic_factory(partitions=2)
    inbox = open_source(topic)
    await eventually(lambda: len(inbox.owned) == 2)
    inbox.source.pause(topic, 0)
    await eventually(lambda: (topic, 0) in inbox.source._paused)
    kafka.produce(topic, [Outgoing(b"x", partition=number % 2) for number in range(400)])
    await eventually(lambda: len(inbox.offsets(1)) > 0)
    ends = {partition: end for partition, (_, end) in kafka.ends(topic).items()}
    await eventually(lambda: len(inbox.offsets(1)) == ends[1])
    assert inbox.offsets(0) == []
    inbox.source.resume(topic, 0)
    await eventually(lambda: len(inbox.offsets(0)) == ends[0])
    await inbox.source.stop()


async def test_a_second_member_shares_cooperatively_without_loss_or_repeat(kafka, topic_factory, open_source) -> None:
    topic = topic_factory(partitions=4)
    first = open_source(topic)
    await eventually(lambda: len(first.owned) == 4)
    second = open_source(topic)
    await eventually(lambda: len(first.owned) == 2 and len(second.owned) == 2, timeout_s=60)
    assert not first.owned & second.owned
    kafka.produce(topic, [b"x"] * 1_000)
    await eventually(lambda: len(first.records) + len(second.records) == 1_000)
    await second.source.stop()
    await eventually(lambda: len(first.owned) == 4, timeout_s=60)
    await first.source.stop()


async def test_an_exception_in_a_callback_discards_the_consumer_uncommitted(
    kafka, topic_factory, open_source, unique, monkeypatch
) -> None:
    topic = topic_factory()
    kafka.produce(topic, [b"x"] * 10)

    def broken(self, keys) -> None:
        raise ZeroDivisionError

    inbox = open_source(topic)
    await eventually(lambda: len(inbox.records) == 10)
    monkeypatch.setattr(KafkaSource, "_forget", broken)
    inbox.source.commit([(topic, 0, 10, "")])
    await eventually(lambda: kafka.committed(unique, topic) == {0: (10, "")})
    inbox.source._on_lost(None, [])  # what librdkafka would call inside consume()
    kafka.produce(topic, [b"x"] * 5)
    await eventually(lambda: bool(inbox.fatal))
    assert isinstance(inbox.fatal[0], ZeroDivisionError)
    assert kafka.committed(unique, topic) == {0: (10, "")}
    monkeypatch.undo()
    again = open_source(topic)
    await eventually(lambda: len(again.records) == 5, timeout_s=60)
    assert again.offsets() == [10, 11, 12, 13, 14]
    await again.source.stop()


async def test_of_commits_that_failed_the_latest_is_asked_for_again(kafka, topic_factory, open_source, unique) -> None:
    topic = topic_factory()
    kafka.produce(topic, [b"x"] * 3)
    inbox = open_source(topic)
    await eventually(lambda: len(inbox.records) == 3)
    refused = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
    inbox.source._requests._asked[topic, 0] = (3, "")  # as if sent: three commits under way, all refused, in order
    for offset in (1, 2, 3):
        inbox.source._on_commit(refused, [TopicPartition(topic, 0, offset)])
    await eventually(lambda: kafka.committed(unique, topic) == {0: (3, "")})
    await inbox.source.stop()


async def test_a_start_that_retention_deleted_is_an_error_with_a_remedy(
    kafka, topic_factory, open_source, unique
) -> None:
    topic = topic_factory()
    kafka.produce(topic, [b"x"] * 3)
    kafka.commit(unique, topic, {0: (50, "")})
    inbox = open_source(topic)
    await eventually(lambda: bool(inbox.fatal))
    assert isinstance(inbox.fatal[0], BrokerError)
    assert "no longer exists" in str(inbox.fatal[0])
    assert kafka.committed(unique, topic) == {0: (50, "")}


async def test_a_revoke_waits_until_the_loop_let_go(kafka, topic_factory, unique) -> None:
    topic = topic_factory()
    source = KafkaSource({"bootstrap.servers": kafka.bootstrap}, unique, [topic], "input", lambda *_, **__: None)
    notices: list[object] = []
    source.start(notices.append)
    await eventually(lambda: any(isinstance(each, Assigned) for each in notices))
    thread = asyncio.to_thread(source._on_revoke, _Commits(), [TopicPartition(topic, 0)])
    waiting = asyncio.ensure_future(thread)
    await eventually(lambda: any(isinstance(each, Revoked) for each in notices))
    assert not waiting.done()
    source.commit([(topic, 0, 7, "")])
    next(each for each in notices if isinstance(each, Revoked)).done()
    await waiting
    assert _Commits.made == [(topic, 0, 7)]
    await source.stop()


class _Commits:
    """Only notes what would be committed: the thread's own consumer is busy polling."""

    made: list[tuple[str, int, int]] = []  # noqa: RUF012

    def commit(self, *, offsets, asynchronous) -> None:
        assert not asynchronous
        self.made += [(each.topic, each.partition, each.offset) for each in offsets]


async def test_a_loop_that_does_not_let_go_loses_the_partition_to_the_other_member(
    kafka, topic_factory, open_source, unique, monkeypatch
) -> None:
    monkeypatch.setattr(source_module, "REVOKE_WAIT_S", 0.5)
    topic = topic_factory(partitions=2)
    kafka.produce(topic, [Outgoing(b"x", partition=partition) for partition in (0, 1)] * 3)
    first = open_source(topic)
    await eventually(lambda: len(first.records) == 6)
    first.letting_go = False
    second = open_source(topic)
    await eventually(lambda: len(second.owned) == 1, timeout_s=60)
    assert [notice.lost for notice in first.revocations] == [False, True]
    gone = first.revocations[0].partitions
    assert first.revocations[1].partitions == gone == tuple(second.owned)
    first.source.commit([(*gone[0], 3, "")])  # the loop is done at last: too late
    (kept,) = first.owned
    first.source.commit([(*kept, 3, "")])
    await eventually(lambda: kept[1] in kafka.committed(unique, topic))
    assert kafka.committed(unique, topic) == {kept[1]: (3, "")}
    for each in (second, first):
        each.letting_go = True
        await each.source.stop()


async def test_what_an_old_assignment_asked_to_commit_is_not_committed_under_a_new_one(
    kafka, topic_factory, open_source, unique
) -> None:
    topic = topic_factory()
    kafka.produce(topic, [b"x"] * 10)
    short = {"session.timeout.ms": "1500", "heartbeat.interval.ms": "300", "max.poll.interval.ms": "1500"}
    first = open_source(topic, **short)
    await eventually(lambda: len(first.records) == 10)
    thread = Gate(first.source)
    thread.close()
    await eventually(lambda: thread.waits)
    first.source.commit([(topic, 0, 10, "")])
    first.source._commit_from_s = math.inf  # as after a commit that failed: asked for, not made yet
    second = open_source(topic)
    await eventually(lambda: len(second.records) == 10, timeout_s=60)
    second.source.commit([(topic, 0, 4, "")])
    await second.source.stop()
    thread.open()
    await eventually(lambda: first.revocations and first.owned, timeout_s=60, what="lost and assigned anew")
    assert first.revocations[0].lost
    await eventually(lambda: len(first.records) == 16)
    assert first.offsets()[10:] == [4, 5, 6, 7, 8, 9]
    late = KafkaError(KafkaError.ILLEGAL_GENERATION)
    first.source._on_commit(late, [TopicPartition(topic, 0, 10)])  # one more of the old ones, refused only now
    await first.source.stop()  # which makes what is still asked for
    assert kafka.committed(unique, topic) == {0: (4, "")}


MEMBER = """
import sys
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "session.timeout.ms": 6000,
                     "partition.assignment.strategy": "cooperative-sticky"})
consumer.subscribe([sys.argv[3]], on_assign=lambda *_: print("assigned", flush=True))
while True:
    consumer.poll(0.1)
"""


async def test_leaving_waits_for_commits_that_a_rebalance_holds_back(
    kafka, topic_factory, open_source, unique, tmp_path
) -> None:
    topic = topic_factory(partitions=2)
    first = open_source(topic)
    await eventually(lambda: len(first.owned) == 2)
    dead = Child([sys.executable, "-c", MEMBER, kafka.bootstrap, unique, topic], tmp_path / "member.log")
    try:
        await eventually(lambda: len(first.owned) == 1 and "assigned" in dead.tail(), timeout_s=60)
        (place,) = first.owned
        dead.send(signal.SIGSTOP)
        third = open_source(topic)  # whoever rejoins now waits for the dead member's session to end
        asked = await _until_held_back(kafka, unique, topic, place, first.source)
        await first.source.stop()
        assert kafka.committed(unique, topic)[place[1]] == (asked, "")
        await third.source.stop()
    finally:
        dead.kill()


async def _until_held_back(kafka, group, topic, place, source) -> int:
    """Commit one offset after the other; return the first that is not made within two seconds."""
    for offset in range(1, 200):
        source.commit([(*place, offset, "")])
        try:
            await eventually(lambda at=offset: kafka.committed(group, topic).get(place[1]) == (at, ""), timeout_s=2.0)
        except AssertionError:
            return offset
    raise AssertionError("no rebalance held a commit back")


class Gate:
    """Lets a source's poll thread stand still at the start of its next turn, as a stopped process does."""

    def __init__(self, source: KafkaSource) -> None:
        self.waits = False
        self._passable = threading.Event()
        self._passable.set()
        turn = source._turn

        def gated(consumer) -> None:
            if not self._passable.is_set():
                self.waits = True
                self._passable.wait(60)
            source._turned_s = time.monotonic()  # standing still for long is what another test is about
            turn(consumer)

        source._turn = gated

    def close(self) -> None:
        self._passable.clear()

    def open(self) -> None:
        self._passable.set()
