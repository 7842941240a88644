"""The reason of a failed connection is kept, and the clients' own words are used only for want of one."""

from __future__ import annotations

from confluent_kafka import KafkaError

from pipeline.adapters.kafka.trouble import Trouble

REFUSED = KafkaError(KafkaError._TRANSPORT, "broker:9092/bootstrap: Connect failed:\n  Connection refused")
ALL_DOWN = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
TIMED_OUT = KafkaError(KafkaError._TIMED_OUT, "Local: Timed out")


class Client:
    """A client that has had one thing to tell since it was last polled."""

    def __init__(self, trouble: Trouble, error: KafkaError) -> None:
        self._trouble = trouble
        self._error = error

    def poll(self, timeout_s: float) -> None:
        assert timeout_s == 0, "must not wait"
        self._trouble.note(self._error)


def test_the_reason_is_kept_on_one_line_and_not_replaced_by_its_consequence():
    trouble = Trouble()
    trouble.note(REFUSED)
    trouble.note(ALL_DOWN)
    assert trouble.said == "broker:9092/bootstrap: Connect failed: Connection refused"


def test_a_newer_reason_replaces_an_older_one():
    trouble = Trouble()
    trouble.note(ALL_DOWN)
    assert trouble.said == "1/1 brokers are down"
    trouble.note(REFUSED)
    assert trouble.said.endswith("Connection refused")


def test_what_has_not_been_told_yet_is_asked_for():
    trouble = Trouble()
    assert trouble.why(Client(trouble, REFUSED), TIMED_OUT).endswith("Connection refused")


def test_without_a_reason_the_questions_own_words_count():
    class Silent:
        def poll(self, _timeout_s: float) -> None: ...

    assert Trouble().why(Silent(), TIMED_OUT) == "Local: Timed out"
