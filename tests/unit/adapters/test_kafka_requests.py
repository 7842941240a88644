"""adapters/kafka/requests: the latest wins, what is not ours is dropped, what cannot work is not asked for again."""

from __future__ import annotations

from confluent_kafka import KafkaError, TopicPartition

from pipeline.adapters.kafka.requests import Requests

MINE = {("t", 0), ("t", 1)}


def of(requests: Requests, owned=MINE) -> list[tuple[int, int, str]]:
    return sorted((each.partition, each.offset, each.metadata or "") for each in requests.take_commits(owned))


def test_the_latest_commit_of_a_partition_is_taken_once_and_only_of_what_is_owned() -> None:
    requests = Requests()
    requests.commit([("t", 0, 1, "a"), ("t", 1, 5, ""), ("t", 2, 9, "")])
    requests.commit([("t", 0, 2, "b")])
    assert requests.commits()
    assert of(requests) == [(0, 2, "b"), (1, 5, "")]
    assert not requests.commits()
    assert of(requests) == []


def test_connect_4477_a_failed_commit_of_a_partition_that_went_is_not_asked_for_again() -> None:
    requests = Requests()
    requests.commit([("t", 0, 1, ""), ("t", 1, 1, "")])
    of(requests)
    requests.forget([("t", 0)])
    failed = [TopicPartition("t", 0, 1), TopicPartition("t", 1, 1)]
    requests.failed(KafkaError(KafkaError.REBALANCE_IN_PROGRESS), failed, {("t", 1)})
    assert of(requests) == [(1, 1, "")]


def test_metadata_that_is_too_large_lowers_the_limit_and_is_not_asked_for_again() -> None:
    requests = Requests()
    requests.commit([("t", 0, 1, "x" * 1_000)])
    of(requests)
    requests.failed(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE), [TopicPartition("t", 0, 1)], MINE)
    assert requests.metadata_chars == 750
    assert not requests.commits()


def test_pauses_are_taken_once() -> None:
    requests = Requests()
    requests.pause(("t", 0), paused=True)
    requests.pause(("t", 1), paused=True)
    requests.pause(("t", 1), paused=False)
    assert requests.take_pauses() == {("t", 0): True, ("t", 1): False}
    assert requests.take_pauses() == {}


def test_a_commit_beside_one_whose_metadata_is_too_large_is_asked_for_again() -> None:
    requests = Requests()
    requests.commit([("t", 0, 1, "x" * 4_096), ("t", 1, 1, "y" * 100)])
    of(requests)
    both = [TopicPartition("t", 0, 1), TopicPartition("t", 1, 1)]  # the client tells the same error of both
    requests.failed(KafkaError(KafkaError.OFFSET_METADATA_TOO_LARGE), both, MINE)
    assert requests.metadata_chars == 3_072
    assert of(requests) == [(1, 1, "y" * 100)]


def test_a_commit_is_open_until_it_is_answered() -> None:
    requests = Requests()
    assert not requests.open()
    requests.commit([("t", 0, 1, "")])
    assert requests.open()
    of(requests)
    assert requests.open(), "sent and not answered: leaving now would lose it"
    requests.answered()
    assert not requests.open()


def test_what_is_under_way_is_asked_for_again_before_a_partition_goes() -> None:
    requests = Requests()
    requests.commit([("t", 0, 7, "x"), ("t", 1, 3, "")])
    of(requests)
    requests.again([("t", 0), ("t", 9)])
    assert of(requests) == [(0, 7, "x")]
    requests.answered()
    requests.answered()
    requests.again([("t", 0)])
    assert of(requests) == [], "all was answered"


def test_nothing_of_ours_is_nothing_under_way() -> None:
    requests = Requests()
    requests.commit([("t", 2, 9, "")])
    assert of(requests) == []
    assert not requests.open()
