"""adapters/kafka/refused: what Kafka refuses is written again, in order, in smaller company, and never given up."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaError

from pipeline.adapters.kafka.refused import AGAIN_S, Refused
from pipeline.ports import Halt
from pipeline.testing.fakes import FakeTelemetry
from pipeline.testing.virtual import VirtualLoop

TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
DENIED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)


class Topic:
    """A topic that takes at most `most` records written together; 0: nothing."""

    def __init__(self, most: int = 0) -> None:
        self.most = most
        self.taken: list[bytes] = []
        self.writes: list[int] = []
        self.written_s: list[float] = []
        self._batch: list = []
        self.refused = Refused(self.write, (telemetry := FakeTelemetry()).log)
        self.lines = telemetry.lines
        self.acked: list[bytes] = []

    def write(self, topic: str, record) -> KafkaError | None:
        assert topic == "t"
        if not self._batch:
            asyncio.get_running_loop().call_soon(self._answer)
        self._batch.append(record)
        return None

    def _answer(self) -> None:
        batch, self._batch = self._batch, []
        self.writes.append(len(batch))
        self.written_s.append(asyncio.get_running_loop().time())
        for key, *_, acked, _ in batch:
            if len(batch) <= self.most:
                self.taken.append(key)
                acked(None, None)
            else:
                acked(TOO_LARGE, None)

    def keep(self, *keys: bytes, error: KafkaError = TOO_LARGE) -> None:
        for key in keys:
            self.refused.keep("t", (key, b"v", [("h", b"x")], lambda why, _, key=key: self.done(why, key), 2), error)

    def done(self, why: object, key: bytes) -> None:
        assert why is None, "who waits for an ack hears of no second refusal"
        self.acked.append(key)


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def test_it_is_written_again_ever_more_seldom_and_acked_once_it_is_taken(loop):
    async def scene() -> None:
        topic = Topic()
        began_s = asyncio.get_running_loop().time()
        topic.keep(b"a", error=DENIED)
        (halt,) = topic.refused.halts()
        assert (halt.what, halt.why) == ("writing to t", "Kafka refuses it: TOPIC_AUTHORIZATION_FAILED")
        assert halt.look_ms >= halt.since_ms + 1_000
        await asyncio.sleep(sum(AGAIN_S) + 35)
        waits = [after - before for before, after in zip([began_s, *topic.written_s], topic.written_s, strict=False)]
        assert waits == pytest.approx([*AGAIN_S, AGAIN_S[-1]], abs=0.01)
        assert (topic.acked, len(topic.refused)) == ([], 1)
        assert isinstance(topic.refused.halts()[0], Halt)
        topic.most = 1
        await asyncio.sleep(AGAIN_S[-1])
        assert (topic.acked, len(topic.refused), topic.refused.halts()) == ([b"a"], 0, [])
        assert [name for _, name, _ in topic.lines] == ["writes_refused", "writes_resumed"]

    loop.run_until_complete(scene())


def test_what_comes_meanwhile_goes_behind_it_and_all_keep_their_order(loop):
    async def scene() -> None:
        topic = Topic()
        topic.keep(b"a", b"b")
        topic.refused.queue("t", (b"c", None, [], lambda why, _: topic.done(why, b"c"), -1))
        topic.most = 100
        await asyncio.sleep(2)
        assert topic.taken == topic.acked == [b"a", b"b", b"c"]
        assert topic.writes == [1, 2]

    loop.run_until_complete(scene())


def test_what_is_refused_together_is_taken_one_by_one(loop):
    async def scene() -> None:
        topic = Topic(most=3)
        keys = [b"%d" % number for number in range(100)]
        topic.keep(*keys)
        await asyncio.sleep(AGAIN_S[0] + 0.1)
        assert topic.acked == keys
        assert topic.writes[:5] == [1, 2, 4, 1, 2], "four together are too large, two are not"
        assert set(topic.writes[4:-1]) == {2}

    loop.run_until_complete(scene())


def test_at_the_end_nothing_is_written_any_more(loop):
    async def scene() -> None:
        topic = Topic()
        topic.keep(b"a")
        topic.refused.close()
        await asyncio.sleep(60)
        assert topic.writes == []

    loop.run_until_complete(scene())


def test_what_cannot_even_be_queued_is_as_good_as_refused(loop):
    async def scene() -> None:
        answers = [KafkaError(KafkaError._UNKNOWN_TOPIC), None]
        acked, written = [], []

        def write(_topic: str, record) -> KafkaError | None:
            written.append(record)
            return answers[len(written) - 1]

        refused = Refused(write, FakeTelemetry().log)
        refused.keep("t", (b"a", b"v", [], lambda why, _: acked.append(why), 0), DENIED)
        await asyncio.sleep(1.1)
        assert (len(written), refused.topics["t"].code) == (1, "_UNKNOWN_TOPIC")
        await asyncio.sleep(2)
        written[1][3](None, None)
        assert (acked, refused.topics) == ([None], {})

    loop.run_until_complete(scene())
