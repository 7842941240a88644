"""How a consumer ends, on a real Kafka: refused for good, after standing still, after a failure of its worker."""

from __future__ import annotations

import math
import time

from pipeline.adapters.kafka import grouped
from pipeline.adapters.kafka import source as source_module
from pipeline.errors import BrokerError
from tests.support.conditions import eventually


async def test_a_member_that_shares_partitions_in_another_way_is_refused_with_the_remedy(
    topic_factory, open_source
) -> None:
    topic = topic_factory(partitions=2)
    first = open_source(topic)
    await eventually(lambda: len(first.owned) == 2)  # from now on it tells what it had when it joins again
    second = open_source(topic)
    await eventually(lambda: len(first.owned) == len(second.owned) == 1, timeout_s=60)
    third = open_source(topic, **{"group.protocol": "consumer"})
    await eventually(lambda: third.fatal)
    assert isinstance(third.fatal[0], BrokerError)
    assert "stop all of them before it is changed" in str(third.fatal[0])
    for each in (first, second):
        assert not each.fatal
        await each.source.stop()


async def test_a_classic_member_may_join_a_group_of_the_newer_protocol(topic_factory, open_source) -> None:
    topic = topic_factory(partitions=2)
    first = open_source(topic, **{"group.protocol": "consumer"})
    await eventually(lambda: len(first.owned) == 2)
    second = open_source(topic)
    await eventually(lambda: len(first.owned) == len(second.owned) == 1, timeout_s=60)
    await first.source.stop()
    await eventually(lambda: len(second.owned) == 2, timeout_s=60)
    assert not first.fatal + second.fatal
    await second.source.stop()


async def test_who_leaves_after_a_failure_commits_nothing_and_is_not_waited_for(
    kafka, topic_factory, open_source, unique
) -> None:
    topic = topic_factory(partitions=2)
    kafka.produce(topic, [b"x"] * 10)
    first = open_source(topic)
    await eventually(lambda: len(first.records) == 10)
    second = open_source(topic)
    await eventually(lambda: len(first.owned) == len(second.owned) == 1, timeout_s=60)
    ((_, partition),) = first.owned
    first.source._commit_from_s = math.inf  # as after a commit that failed: asked for, not made yet
    first.source.commit([(topic, partition, 3, "")])
    await first.source.stop(commit=False)
    began_s = time.monotonic()
    await eventually(lambda: len(second.owned) == 2)
    assert time.monotonic() - began_s < grouped.TUNING["session.timeout.ms"] / 1000 - 3
    assert partition not in kafka.committed(unique, topic)
    await second.source.stop()


async def test_who_stood_still_ends_before_it_polls_and_joins_nothing_anew(
    kafka, topic_factory, open_source, unique, monkeypatch
) -> None:
    monkeypatch.setattr(source_module, "STOOD_S", 2.0)
    topic = topic_factory(partitions=2)
    short = {"session.timeout.ms": "1500", "heartbeat.interval.ms": "300", "max.poll.interval.ms": "1500"}
    first = open_source(topic, **short)
    await eventually(lambda: len(first.owned) == 2)
    turn = first.source._turn
    first.source._turn = lambda consumer: (time.sleep(3.0), turn(consumer))  # the thread, as a stopped process does
    await eventually(lambda: first.fatal)
    assert "stood still" in str(first.fatal[0])
    await eventually(lambda: kafka.members(unique) == 0)
    assert not first.revocations or first.revocations[0].lost
