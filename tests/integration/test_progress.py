"""What is finished above the committed offset survives a crash, on a real Kafka, and only where it was written."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.adapters.kafka import starts
from pipeline.adapters.kafka.place import log_ends, places
from pipeline.adapters.kafka.source import KafkaSource
from pipeline.core.progress import CHARS_MAX, Ignored, decode, encode, identity
from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.inbox import Inbox
from tests.support.system import System, event, step
from tests.support.system import encode as event_bytes

CLUSTER = {"group.protocol": "consumer"}


class Silent:
    """An HTTP endpoint that reads requests and answers none, until `answering`."""

    def __init__(self) -> None:
        self.requests = 0
        self.answering = False
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                self.requests += 1
                if self.answering:
                    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    def stop(self) -> None:
        self._server.close()
        for writer in self._open:
            writer.close()


@pytest.fixture
async def silent():
    made = Silent()
    yield made
    made.stop()


TOTAL, NOBODYS, CONNECTIONS = 2_400, 600, 16


@pytest.fixture
async def stuck_system(tmp_path, kafka, unique, receiver, silent):
    """The first event of the only partition is never answered; above it are deliveries, and events nobody wants."""
    system = System(tmp_path / "config", kafka, unique, partitions=1)
    receiver.behaviour = Behaviour(latency_ms=20)
    system.destination("crm", receiver.url, limits={"concurrency": CONNECTIONS})
    system.destination("stuck", await silent.start(), timeout="60s")
    system.journey("slow", step("stuck", "stuck.upsert"), trigger={"events": ["slow.started"]})
    system.prepare()
    system.feed([event(0, type="slow.started")])
    for first in range(0, TOTAL, 400):
        system.feed([event(first + n) for n in range(400)])
        system.feed([event(first + n, type="unheard.of") for n in range(NOBODYS * 400 // TOTAL)])
    yield system
    system.stop()


@pytest.mark.timeout(180)
async def test_after_kill_9_only_what_no_commit_covered_is_repeated(stuck_system, receiver, silent) -> None:
    system, kafka = stuck_system, stuck_system.broker
    (place,) = places({"bootstrap.servers": kafka.bootstrap}, system.group, [(system.topic, 0)]).values()

    def covered() -> set[int]:
        base, metadata = kafka.committed(system.group, system.topic)[0]
        assert base == 0, "the first position is stuck"
        assert len(metadata) <= CHARS_MAX
        runs = decode(place, base, metadata)
        assert not isinstance(runs, Ignored)
        return {offset for first, end in runs for offset in range(first, end)}

    def attempts() -> dict[int, int]:
        offsets = {row.delivery_id: row.offset for row in system.outcomes()}
        return {offsets[each]: number for each, (number, _) in receiver.snapshot()["ids"].items()}

    worker = system.worker()
    await eventually(lambda: receiver.accepted() >= TOTAL // 2, timeout_s=60)
    worker.kill()
    await eventually(lambda: worker.returncode is not None)
    before, stored = receiver.accepted(), covered()
    assert len(stored) > 500
    system.worker()
    await eventually(lambda: receiver.accepted() == TOTAL, timeout_s=60, what="every delivery ID accepted")
    await eventually(lambda: covered() >= attempts().keys(), what="a commit covered all of them")
    numbers = attempts()
    assert {numbers[each] for each in stored & numbers.keys()} == {1}, "what a commit covered was sent again"
    repeats = sum(number - 1 for number in numbers.values())
    beyond = before - len(stored & numbers.keys())  # finished since the last commit
    assert repeats <= beyond + CONNECTIONS
    print(f"accepted before the kill: {before}, of them since the last commit: {beyond}; sent again: {repeats}")  # noqa: T201

    system.children[-1].kill()  # and once more: what was restored was stored again, with all that came to it
    assert silent.requests == 2
    silent.answering = True
    system.worker()
    await eventually(system.settled, timeout_s=60)
    assert attempts() == numbers, "after the second crash nothing is sent again but what was stuck"
    assert silent.requests == 3
    account = system.account()
    assert account["balanced"] is True
    assert account["positions"] == 1 + TOTAL + NOBODYS
    assert account["deliveries"] == {"delivered": 1 + TOTAL}
    assert account["ledger"] == {"no_journey": NOBODYS}


@pytest.mark.timeout(120)
async def test_foreign_mirrored_and_damaged_metadata_is_ignored(tmp_path, kafka, unique, receiver) -> None:
    system = System(tmp_path / "config", kafka, unique, partitions=4)
    system.destination("crm", receiver.url)
    try:
        system.prepare()
        keys = [(system.topic, number) for number in range(4)]
        found = places({"bootstrap.servers": kafka.bootstrap}, system.group, keys)
        mirrored = identity("another-cluster", "AAAAAAAAAAAAAAAAAAAAAQ", system.group, 1)
        system.broker.produce(
            system.topic,
            [Outgoing(event_bytes(event(10 * n + p)), b"k", partition=p) for p in range(4) for n in range(10)],
        )
        good = encode(found[keys[3]], 2, [(3, 10)])
        kafka.commit(system.group, system.topic, {
            0: (2, "bAACAAEBAQEBAQ=="),  # Parallel Consumer's
            1: (2, encode(mirrored, 2, [(3, 10)])),  # as MirrorMaker 2 copies it
            2: (2, encode(found[keys[2]], 1, [(2, 10)])),  # ours, but of another offset
            3: (2, good[:-1] + ("A" if good[-1] != "A" else "B")),  # damaged
        })  # fmt: skip
        system.worker()
        await eventually(lambda: receiver.accepted() == 32, timeout_s=60)
        await eventually(system.settled, timeout_s=60)
        log = system.children[0].log.read_text()
        for reason in ("foreign", "unproven", "moved"):
            assert f'"reason":"{reason}"' in log.replace('": "', '":"')
    finally:
        system.stop()


@pytest.mark.parametrize("settings", [{}, CLUSTER], ids=["cooperative-sticky", "kip-848"])
async def test_what_is_stored_survives_a_rebalance_and_a_restart(topic_factory, open_source, settings) -> None:
    topic = topic_factory(partitions=2)
    first = open_source(topic, **settings)
    await eventually(lambda: len(first.stored) == 2, timeout_s=30)
    wanted = first.finish(1, 50)
    second = open_source(topic, **settings)
    await eventually(lambda: len(first.stored) == 1 and len(second.stored) == 1, timeout_s=60)
    ((key, (place, text, _)),) = second.stored.items()
    assert text == wanted[key]
    assert decode(place, 0, text) == ((1 + key[1], 50),)
    await first.source.stop()
    await eventually(lambda: len(second.stored) == 2, timeout_s=60)
    await second.source.stop()
    third = open_source(topic, **settings)
    await eventually(lambda: third.metadata() == wanted, timeout_s=60)
    await third.source.stop()


async def test_metadata_the_broker_refuses_lowers_the_limit_and_stops_no_other_partition(
    kafka, topic_factory, open_source, unique
) -> None:
    topic = topic_factory(partitions=2)
    inbox = open_source(topic)
    await eventually(lambda: len(inbox.stored) == 2, timeout_s=30)
    assert inbox.source.metadata_chars == CHARS_MAX
    inbox.source.commit([(topic, 0, 0, "x" * 4_096), (topic, 1, 0, "y" * 4_000)])
    await eventually(lambda: inbox.source.metadata_chars == 3_072)
    await eventually(lambda: kafka.committed(unique, topic) == {1: (0, "y" * 4_000)})
    inbox.source.commit([(topic, 0, 0, "x" * 3_072)])
    await eventually(lambda: kafka.committed(unique, topic).get(0) == (0, "x" * 3_072))
    await inbox.source.stop()


async def test_a_topic_made_anew_is_another_place(kafka, topic_factory) -> None:
    topic = topic_factory(partitions=2)
    plain = {"bootstrap.servers": kafka.bootstrap}
    before = places(plain, "g", [(topic, 0), (topic, 1)])
    assert len(set(before.values())) == 2
    assert places(plain, "g", [(topic, 0)])[topic, 0] == before[topic, 0]
    kafka.delete_topic(topic)

    def made_anew() -> bool:
        with suppress(KafkaException):  # while the broker is still deleting it
            kafka.create_topic(topic)
            return True
        return False

    await eventually(made_anew)
    assert places(plain, "g", [(topic, 0)])[topic, 0] not in before.values()


@pytest.mark.timeout(120)
async def test_events_at_offsets_that_a_log_lost_are_sent_whatever_was_finished_there(
    tmp_path, kafka, unique, receiver
) -> None:
    """The commit says that 3 to 19 are finished, and the log ends at 10: so it was cut, as by an unclean election."""
    system = System(tmp_path / "config", kafka, unique, partitions=2)
    system.destination("crm", receiver.url)
    try:
        system.prepare()
        keys = [(system.topic, number) for number in range(2)]
        found = places({"bootstrap.servers": kafka.bootstrap}, system.group, keys)
        for partition in range(2):
            feed(system, partition, range(10))
        system.broker.commit(system.group, system.topic, {
            0: (2, encode(found[keys[0]], 2, [(3, 20)])),
            1: (2, encode(found[keys[1]], 2, [(3, 10)])),  # of this one nothing was lost
        })  # fmt: skip
        system.worker()
        await eventually(lambda: receiver.accepted() == 8 + 1, timeout_s=60)
        for partition in range(2):
            feed(system, partition, range(10, 25))
        await eventually(lambda: receiver.accepted() == 8 + 1 + 30, timeout_s=60)
        await eventually(system.settled, timeout_s=60)
        log = system.children[0].log.read_text().replace('": "', '":"')
        assert log.count('"reason":"truncated"') == 1
    finally:
        system.stop()


def feed(system, partition, numbers) -> None:
    records = [Outgoing(event_bytes(event(100 * partition + n)), b"k", partition=partition) for n in numbers]
    system.broker.produce(system.topic, records)


async def test_an_own_log_that_lost_what_was_committed_goes_on_where_it_ends_now(
    kafka, topic_factory, open_source, unique
) -> None:
    """From its beginning all of it would come again, up to the offset committed; and what is new there be dropped."""
    topic = topic_factory()
    kafka.produce(topic, [b"x"] * 3)
    kafka.commit(unique, topic, {0: (50, "")})
    inbox = open_source(topic, role="retry")
    await eventually(lambda: inbox.owned)
    assert inbox.starts == {(topic, 0): 3}
    await eventually(lambda: kafka.committed(unique, topic) == {0: (3, "")})  # at once: offsets below 50 are new ones
    kafka.produce(topic, [b"new"] * 2)
    await eventually(lambda: len(inbox.records) == 2)
    assert inbox.offsets() == [3, 4]
    await inbox.source.stop()


async def test_slow_answers_on_the_place_or_the_end_cost_time_not_what_is_stored(
    kafka, topic_factory, open_source, monkeypatch
) -> None:
    topic = topic_factory(partitions=2)
    first = open_source(topic)
    await eventually(lambda: len(first.stored) == 2, timeout_s=30)
    wanted = first.finish(1, 50)
    await first.source.stop()
    trouble = [TimeoutError(), KafkaException(KafkaError(KafkaError._TIMED_OUT))]
    silent = [{}, {}]

    def slow_places(*asked):
        if trouble:
            raise trouble.pop()
        return places(*asked)

    monkeypatch.setattr(starts, "places", slow_places)
    monkeypatch.setattr(starts, "log_ends", lambda *asked: silent.pop() if silent else log_ends(*asked))
    second = open_source(topic)
    await eventually(lambda: second.metadata() == wanted, timeout_s=60)
    assert {end for _, _, end in second.stored.values()} == {0}
    assert not trouble + silent
    await second.source.stop()


async def test_a_broker_that_never_names_the_place_delays_an_assignment_no_longer_than_the_bound(
    topic_factory, open_source, monkeypatch
) -> None:
    monkeypatch.setattr(starts, "ASSIGN_S", 1.0)
    asked = []

    def never(*_):
        asked.append(None)
        raise TimeoutError

    monkeypatch.setattr(starts, "places", never)
    topic = topic_factory()
    inbox = open_source(topic)
    await eventually(lambda: inbox.owned)
    assert inbox.stored == {}
    assert len(asked) > 1
    await inbox.source.stop()
    asked.clear()
    monkeypatch.setattr(starts, "ASSIGN_S", 3_600.0)

    def refused(*_):
        asked.append(None)
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    monkeypatch.setattr(starts, "places", refused)
    inbox = open_source(topic)
    await eventually(lambda: inbox.owned)
    assert len(asked) == 1, "asking again would change nothing"
    await inbox.source.stop()


async def test_a_log_ends_where_no_consumer_was_given_more(kafka, topic_factory, unique) -> None:
    topic = topic_factory(partitions=2)
    plain = {"bootstrap.servers": kafka.bootstrap}
    kafka.produce(topic, [Outgoing(b"x", partition=1)] * 3)
    assert log_ends(plain, [(topic, 0), (topic, 1), (topic, 7)]) == {(topic, 0): 0, (topic, 1): 3}
    writer = Producer({**plain, "transactional.id": unique})
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(topic, b"not yet", partition=1)
    assert writer.flush(20) == 0
    assert log_ends(plain, [(topic, 1)]) == {(topic, 1): 3}
    writer.commit_transaction(20)
    await eventually(lambda: log_ends(plain, [(topic, 1)]) == {(topic, 1): 5})


@pytest.mark.timeout(180)
async def test_an_own_log_that_is_cut_while_it_is_read_is_begun_anew_from_its_commit(kafka_private, unique) -> None:
    """The client goes back to the new end without a word; those offsets were handed out, and would count as repeats."""
    topic, group = kafka_private.create_topic(f"{unique}.own", partitions=2), unique
    for _ in range(10):
        kafka_private.produce(topic, [Outgoing(b"old", partition=partition) for partition in range(2)])
    said = []
    source = KafkaSource(
        {"bootstrap.servers": kafka_private.bootstrap}, group, [topic], "retry", lambda _, what, **__: said.append(what)
    )
    inbox = Inbox(source)
    await eventually(lambda: len(inbox.records) == 20, timeout_s=60)
    place, _, _ = inbox.stored[topic, 0]
    stored = encode(place, 2, [(3, 8)])
    source.commit([(topic, 0, 2, stored), (topic, 1, 7, "")])
    await eventually(lambda: kafka_private.committed(group, topic) == {0: (2, stored), 1: (7, "")})
    kafka_private.kill()
    for partition in range(2):
        cut(kafka_private, topic, partition, 4)
    await asyncio.to_thread(kafka_private.start)
    inbox.records.clear()
    new = [Outgoing(b"new", partition=partition) for partition in range(2)] * 8
    await asyncio.to_thread(kafka_private.produce, topic, new)
    await eventually(lambda: inbox.offsets(0)[-1:] == inbox.offsets(1)[-1:] == [11], timeout_s=90)
    assert inbox.offsets(0) == list(range(2, 12)), "from the commit on, and what is new"
    assert inbox.offsets(1) == list(range(4, 12)), "only what is new: the rest was finished"
    assert inbox.starts == {(topic, 0): 2, (topic, 1): 4}
    assert inbox.stored[topic, 0][1:] == (stored, 4), "so that nobody believes it"
    assert {(each.partitions, each.lost) for each in inbox.revocations} == {(((topic, n),), True) for n in range(2)}
    await eventually(lambda: kafka_private.committed(group, topic)[1] == (4, ""))
    assert said.count("log_truncated") == 1
    await source.stop()


def cut(broker, topic, partition, offset) -> None:
    """Take away what a dead broker's log has from an offset on, as a power cut does to what was not on disk yet."""
    (folder,) = broker.folder.glob(f"**/{topic}-{partition}")
    (log,) = folder.glob("*.log")
    content, at = log.read_bytes(), 0
    while at < len(content):
        base, size = struct.unpack_from(">qi", content, at)
        if base >= offset or size == 0:
            break
        at += 12 + size
    log.write_bytes(content[:at])
    for each in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
        each.unlink()
