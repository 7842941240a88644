"""The tables on a real Kafka: written by anybody, followed by one worker, taken over, read anew."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import fastavro
import pytest

from pipeline import cli
from pipeline.adapters.schemas import Folders, KnownSchemas, Registry, packaged
from pipeline.adapters.tables import Records
from pipeline.adapters.tables.pulse import STILL_S
from pipeline.core import tables
from pipeline.core.tables import CONSENT, SUPPRESSION
from pipeline.model import Record
from pipeline.testing.registry import FakeRegistry
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.folder import write_folder
from tests.support.tables import FRESH_MS, SHIPPED, Lines, Machine

SCHEMAS = Path(__file__).parents[2] / "schemas"
FOLLOWS = """
import sys, time
from pathlib import Path
from pipeline.adapters.kafka.compacted import Compacted
from pipeline.adapters.tables import Folder, Follower
from tests.support.tables import Lines, records
path, bootstrap, *topics = sys.argv[1:]
follower = Follower(
    Folder(Path(path)), lambda: Compacted({"bootstrap.servers": bootstrap}, tuple(topics)),
    records(tuple(topics), Lines()), time.time_ns, Lines(), lambda error: print(error, flush=True),
)
follower.start()
time.sleep(120)
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def consent(state: str, at: int | None = None, flag: str = "email") -> bytes:
    """What any system with an Avro library writes: fastavro and the shipped file, nothing of ours."""
    schema = fastavro.parse_schema(json.loads((SCHEMAS / "consent.avsc").read_text()))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, {"said": {flag: {"state": state, "at": at or now_ms()}}})
    fingerprint = fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return b"\xc3\x01" + bytes.fromhex(fingerprint) + out.getvalue()


@pytest.fixture
def topics(topic_factory) -> tuple[str, str]:
    settings = {"cleanup_policy": "compact", "message_timestamp_type": "LogAppendTime"}
    return topic_factory("consent", **settings), topic_factory("suppressions", **settings)


@pytest.fixture
async def machine(kafka, topics, tmp_path):
    made = Machine(tmp_path, {"bootstrap.servers": kafka.bootstrap}, topics)
    yield made
    made.close()
    assert made.errors == []


async def write(kafka, topic: str, *records: tuple[bytes | None, bytes | None]) -> None:
    outgoing = [Outgoing(value, key) for key, value in records]
    await asyncio.to_thread(kafka.produce, topic, outgoing)


def as_read(stored) -> Record:
    """What was stored, as a reader hands it out."""
    return Record(*(getattr(stored, name) for name in Record.__slots__))


def another_follower(path: Path, kafka, topics: tuple[str, str]) -> subprocess.Popen[bytes]:
    """A process of the same machine that follows."""
    argv = [sys.executable, "-c", FOLLOWS, str(path), kafka.bootstrap, *topics]
    return subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})


def stands_still(pid: int) -> bool:
    """Whether every thread of a process is stopped (proc(5), state T)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(task.read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


def granted(worker, customer: str) -> bool | None:
    word = worker.tables.known(customer).consent.get("email")
    return None if word is None else word.granted


async def test_any_client_may_write_and_every_worker_of_the_machine_hears_of_it(kafka, topics, machine):
    await write(kafka, topics[0], (b"c-1\0crm", consent("granted")), (b"c-2", consent("granted")))
    first, second = await machine.worker().ready(), await machine.worker().ready()
    assert [granted(each, f"c-{number}") for each in (first, second) for number in (1, 2, 3)] == [True, True, None] * 2

    await write(kafka, topics[0], (b"c-1\0preference-centre", consent("denied")), (b"c-2", None))
    await eventually(lambda: not granted(first, "c-1") and not granted(second, "c-1"))
    await eventually(lambda: granted(first, "c-2") is False and granted(second, "c-2") is False)
    await write(kafka, topics[0], (b"c-1\0crm", consent("granted", 5)))  # an export made before the customer spoke
    await write(kafka, topics[0], (b"c-3", consent("granted")))
    await eventually(lambda: granted(second, "c-3"))
    assert granted(second, "c-1") is False


async def test_the_example_for_other_systems_is_heard(kafka, topics, machine, tmp_path):
    page = (SCHEMAS.parent / "docs" / "howto" / "privacy.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    code = code.replace("localhost:9092", kafka.bootstrap).replace("hookline.consent", topics[0])
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], cwd=SCHEMAS.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    worker = await machine.worker().ready()
    said = worker.tables.known("c-1").consent
    assert {flag: word.granted for flag, word in said.items()} == {"email": True, "sms": False}
    assert abs(said["email"].at_ms - now_ms()) < 60_000


@pytest.mark.parametrize("wire", ["single-object", "confluent", "guid"])
async def test_a_file_of_entries_is_published_in_any_framing(kafka, topics, tmp_path, unique, wire):
    folder = write_folder(tmp_path / "config", unique, "events", kafka.bootstrap)
    lines = [
        {"customer": "c-1", "entry": "crm", "said": {"email": {"state": "granted", "at": "2026-11-23T10:00:00Z"}}},
        {"customer": "c-2", "said": {"email": {"state": "granted", "at": 5}}}, {"customer": "c-2", "gone": True},
    ]  # fmt: skip
    (tmp_path / "consent.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with FakeRegistry().in_thread() as url:
        whole = folder / "hookline.yaml"
        whole.write_text(f"{whole.read_text()}registry: {{url: '{url}'}}\n")
        argv = ["produce", str(tmp_path / "consent.jsonl"), "--table", "consent", "--config", str(folder)]
        assert await asyncio.to_thread(cli.main, [*argv, "--wire", wire]) == 0
        log, registry = Lines(), Registry({"url": url})
        readers = [SHIPPED.readers[name] for name in tables.RECORDS]
        known = KnownSchemas(Folders((packaged(),)), registry)
        reading = Records(topics, readers, lambda ref: asyncio.run(known.fetch(ref)), log)
        changes = [
            await asyncio.to_thread(reading.change, as_read(record)) for record in kafka.records(topics[CONSENT])
        ]
        known.close()
    assert [change[:3] for change in changes] == [(b"c-1", 0, b"crm"), (b"c-2", 0, b""), (b"c-2", 0, b"")]
    assert changes[0][3] == b'[["email",true,1795428000000]]'
    assert reading.unreadable == 0


async def test_a_record_nobody_can_read_denies_until_it_is_replaced(kafka, topics, machine):
    worker = await machine.worker().ready()
    await write(kafka, topics[0], (b"c-1\0crm", consent("granted")), (b"c-1\0bad", b"\xc3\x01 no such schema at all"))
    await eventually(lambda: worker.tables.known("c-1").unreadable)
    assert granted(worker, "c-1")
    await write(kafka, topics[0], (b"c-1\0bad", None), (b"\0crm", consent("granted")))
    await eventually(lambda: not worker.tables.known("c-1").unreadable)
    follower = next(each for each in machine.workers if each.records.unreadable)
    await eventually(lambda: follower.records.unreadable == 2)


async def test_a_killed_follower_is_replaced_and_nothing_is_read_twice(kafka, topics, machine, tmp_path):
    other = another_follower(tmp_path, kafka, topics)
    try:
        await write(kafka, topics[0], *((b"c-%d" % each, consent("granted")) for each in range(2_000)))
        await eventually((tmp_path / "current").exists)
        worker = await machine.worker().ready()
        assert granted(worker, "c-1999")
        assert worker.log.of("tables_caught_up") == [], "the other one follows"
        file = worker.folder.current()

        other.send_signal(signal.SIGKILL)
        other.wait(10)
        began_s = time.monotonic()
        await write(kafka, topics[0], (b"c-7", consent("denied")))
        await eventually(lambda: granted(worker, "c-7") is False)
        assert time.monotonic() - began_s < 10
        assert worker.folder.current() == file
        (line,) = await eventually(lambda: worker.log.of("tables_caught_up"))
        assert line["records"] <= 1, "it went on from where the other one was"
    finally:
        other.kill()
        other.wait(10)


async def test_a_stopped_but_living_follower_is_taken_over_from_and_wakes_up_alone(kafka, topics, machine, tmp_path):
    await write(kafka, topics[0], *((b"c-%d" % each, consent("granted")) for each in range(2_000)))
    other = another_follower(tmp_path, kafka, topics)
    try:
        await eventually((tmp_path / "current").exists)
        worker = await machine.worker().ready()
        file = worker.folder.current()
        other.send_signal(signal.SIGSTOP)
        await eventually(lambda: stands_still(other.pid))  # on a busy machine that takes a while
        await write(kafka, topics[0], (b"c-7", consent("denied")))
        fresh = machine.worker()  # one that starts now need not wait for the one that stands still
        await asyncio.wait_for(fresh.ready(), STILL_S + 20)
        assert [granted(each, "c-7") for each in (worker, fresh)] == [False, False]
        assert sum(len(each.log.of("tables_taken_over")) for each in (worker, fresh)) == 1
        (line,) = worker.log.of("tables_caught_up") + fresh.log.of("tables_caught_up")
        assert line["records"] <= 1, "they were gone on with, not read anew"
        file, old = worker.folder.current(), file
        assert file != old
        other.send_signal(signal.SIGCONT)
        await write(kafka, topics[0], (b"c-8", consent("denied")))
        await eventually(lambda: granted(worker, "c-8") is granted(fresh, "c-8") is False)
        await eventually(lambda: worker.tables.stale_ms() < 3_000)
        assert worker.folder.current() == file
    finally:
        other.kill()
        other.wait(10)


async def test_a_damaged_file_is_read_anew_by_a_running_fleet(kafka, topics, machine, tmp_path):
    await write(kafka, topics[0], *((b"c-%d" % each, consent("granted")) for each in range(3_000)))
    first, second = await machine.worker().ready(), await machine.worker().ready()
    file = first.folder.current()
    connection = sqlite3.connect(file)
    connection.execute("pragma wal_checkpoint(truncate)")
    connection.close()
    os.truncate(file, file.stat().st_size // 2)

    def damaged() -> bool:
        found = [second.tables.known(f"c-{each}") for each in range(3_000)]
        assert all(known.consent or known.stale_ms > 10**12 for known in found), "never as if nobody had said anything"
        return any(known.stale_ms > 10**12 for known in found)

    await eventually(damaged)
    await eventually(lambda: first.folder.current() != file)
    for each in (first, second):
        await each.ready()
        assert granted(each, "c-2999")
    assert {path.name.split("-wal")[0].split("-shm")[0] for path in tmp_path.glob("tables-*")} == {
        first.folder.current().name
    }


async def test_topics_made_anew_are_other_topics(kafka, topics, machine, tmp_path):
    await write(kafka, topics[0], (b"c-1", consent("granted")))
    worker = await machine.worker().ready()
    assert granted(worker, "c-1")
    worker.close()
    await asyncio.to_thread(kafka.delete_topic, topics[0])
    await asyncio.to_thread(kafka.create_topic, topics[0], 1, cleanup_policy="compact")
    await write(kafka, topics[0], (b"c-2", consent("granted")))
    again = Machine(tmp_path, machine.settings, topics)
    worker = await again.worker().ready()
    assert (granted(worker, "c-1"), granted(worker, "c-2")) == (None, True)
    again.close()
    assert again.errors == []


async def test_an_erased_customer_is_known_to_be(kafka, topics, machine):
    worker = await machine.worker().ready()
    await eventually(lambda: not worker.tables.erasures)
    _, key, value = tables.erasure("c-1", now_ms())
    await write(kafka, topics[SUPPRESSION], (key, value))
    await write(kafka, topics[CONSENT], (b"c-1", consent("granted")))
    await eventually(lambda: worker.tables.known("c-1").erased_ms > 0 and worker.tables.erasures)
    assert worker.tables.known("c-1").stale_ms < FRESH_MS
