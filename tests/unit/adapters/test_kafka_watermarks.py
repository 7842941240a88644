"""A broker that does not know a partition yet is asked again; what does not pass by itself is raised."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipeline.adapters.kafka.watermarks import MOVING, watermarks
from pipeline.errors import BrokerError


class Consumer:
    """Answers one after another, as the client would."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def get_watermark_offsets(self, _partition: object, timeout: float) -> object:
        assert timeout > 0
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise KafkaException(KafkaError(answer))
        return answer


@pytest.mark.parametrize("code", MOVING)
def test_a_partition_made_a_moment_ago_is_asked_for_again(code):
    consumer = Consumer(code, code, (3, 9))
    assert watermarks(consumer, "t", 0, 10.0) == (3, 9)


def test_the_bound_ends_it():
    with pytest.raises(KafkaException):
        watermarks(Consumer(*[KafkaError._UNKNOWN_PARTITION] * 5), "t", 0, 0.3)


def test_what_does_not_pass_is_raised_at_once():
    consumer = Consumer(KafkaError.TOPIC_AUTHORIZATION_FAILED, (0, 1))
    with pytest.raises(KafkaException):
        watermarks(consumer, "t", 0, 10.0)
    assert consumer.answers == [(0, 1)]


def test_no_answer_names_topic_and_partition():
    with pytest.raises(BrokerError, match="offsets of t/4 within 10 s"):
        watermarks(Consumer(None), "t", 4, 10.0)
