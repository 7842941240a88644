"""Consent and suppressions in real workers on a real Kafka: asked of the tables before every attempt."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

import pytest

from pipeline.adapters.kafka.admin import Admin
from pipeline.adapters.tables.store import Store
from pipeline.config import topics
from pipeline.core import tables
from pipeline.core.tables import CONSENT, SUPPRESSION
from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import event, step


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def shop(system, receiver, tmp_path):
    """A journey that needs consent for e-mail, of customers whose events carry none."""
    system.destination("crm", receiver.url)
    system.journey("welcome", step("mail", "crm.upsert", reaches="email"), category="promotional", basis="consent",
                   purpose="marketing")  # fmt: skip
    system.hookline["state_dir"] = str(tmp_path / "state")
    system.prepare()
    return system


def say(system, customer: str, state: str, at: int | None = None) -> None:
    value = tables.encode(CONSENT, {"said": {"email": {"state": state, "at": at or now_ms()}}})
    system.broker.produce(f"{system.group}.consent", [Outgoing(value, f"{customer}\0crm".encode())])


def silent(number: int) -> dict:
    return event(number, consent={})


def ends(system) -> dict[str, list[str]]:
    """Final outcomes by event ID."""
    found: dict[str, list[str]] = {}
    for row in system.final().values():
        found.setdefault(row.event_id, []).append(f"{row.outcome}({row.reason})" if row.reason else str(row.outcome))
    return found


async def end(system, sent: dict, timeout_s: float = 30) -> str:
    """Wait for the final outcome of an event's one delivery."""
    (found,) = await eventually(
        lambda: [each for each in ends(system).get(sent["id"], []) if not each.startswith("retrying")], timeout_s
    )
    return found


async def feed(system, sent: dict) -> str:
    system.feed([sent])
    return await end(system, sent)


def files(folder: Path) -> list[Path]:
    """The tables of this machine."""
    return list((folder / "state").rglob("tables-*.db"))


async def kept(system) -> None:
    """Wait until this machine's tables have all that was said so far."""
    both = topics.tables(system.group)
    ends = {key: high for key, (_, high) in Admin(dict(system.broker.settings)).watermarks(both).items()}

    def there() -> bool:
        for file in files(Path(system.hookline["state_dir"]).parent):
            with contextlib.closing(Store(file)) as store:
                at = store.positions()
                if all(at.get(key, 0) >= end for key, end in ends.items()):
                    return True
        return False

    await eventually(there, 30)


async def test_consent_opens_and_a_withdrawal_closes(shop, receiver):
    say(shop, "c-1", "granted")
    shop.worker()
    shop.worker()
    assert await feed(shop, silent(1)) == "delivered"
    assert await feed(shop, silent(2)) == "skipped(consent)"
    say(shop, "c-1", "denied")
    await kept(shop)
    assert await feed(shop, silent(1)) == "skipped(consent)"
    say(shop, "c-2", "granted")
    await kept(shop)
    assert await feed(shop, silent(2)) == "delivered"
    assert len(receiver.seen) == 2
    await eventually(shop.settled, 30)
    assert shop.account()["balanced"]


async def test_a_newer_denial_in_the_tables_beats_the_flag_of_the_event(shop, receiver):
    say(shop, "c-1", "denied", now_ms() + 600_000)
    shop.worker()
    assert await feed(shop, event(1)) == "skipped(consent)"
    assert await feed(shop, event(2)) == "delivered"


async def test_consent_that_is_withdrawn_while_a_run_waits_ends_it(shop, receiver):
    say(shop, "c-1", "granted")
    receiver.behaviour = Behaviour(status=503)
    shop.worker()
    shop.worker()
    sent = silent(1)
    shop.feed([sent])
    await eventually(lambda: any(row.outcome == "retrying" for row in shop.outcomes()), 30)
    say(shop, "c-1", "denied")
    receiver.behaviour = Behaviour()
    assert await end(shop, sent) == "skipped(consent)"
    assert all(each.status == 503 for each in receiver.seen)


async def test_a_suppression_stands_until_its_reason_is_gone(shop, receiver):
    say(shop, "c-1", "granted")
    stands = {"scope": "category", "of": "promotional", "at": now_ms(), "until": None, "until_event": "", "match": ""}
    topic, key = f"{shop.group}.suppressions", b"c-1\0complaint:7"
    shop.broker.produce(topic, [Outgoing(tables.encode(SUPPRESSION, stands), key)])
    shop.worker()
    assert await feed(shop, silent(1)) == "skipped(suppression)"
    shop.broker.produce(topic, [Outgoing(None, key)])
    await kept(shop)
    assert await feed(shop, silent(1)) == "delivered"


async def test_a_killed_worker_leaves_the_tables_followed(shop, receiver):
    say(shop, "c-1", "granted")
    first = shop.worker()
    assert await feed(shop, silent(1)) == "delivered"
    shop.worker()
    first.kill()  # the one that follows
    say(shop, "c-1", "denied")
    say(shop, "c-2", "granted")
    assert await feed(shop, silent(2)) == "delivered"
    assert await feed(shop, silent(1)) == "skipped(consent)"


async def test_a_damaged_file_never_opens(shop, receiver, tmp_path):
    value = tables.encode(CONSENT, {"said": {"email": {"state": "granted", "at": now_ms()}}})
    shop.broker.produce(f"{shop.group}.consent", [Outgoing(value, b"c-%d" % each) for each in range(3_000)])
    say(shop, "c-1", "denied", now_ms() + 1_000)
    shop.worker()
    assert await feed(shop, silent(7)) == "delivered"
    (file,) = files(tmp_path)
    connection = sqlite3.connect(file)
    connection.execute("pragma wal_checkpoint(truncate)")  # all of it into the one file, to damage that
    connection.close()
    os.truncate(file, file.stat().st_size // 2)
    sent = [silent(number) for number in (1, 8, 9)]
    shop.feed(sent)
    assert [await end(shop, each, 60) for each in sent] == ["skipped(consent)", "delivered", "delivered"]
    assert files(tmp_path) != [file]
