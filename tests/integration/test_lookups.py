"""A look-up on a real Kafka: steps send what another system's topic has of their customer, as of when they start."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from typing import Any

import fastavro

from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import event, step

SCHEMA = {"type": "record", "name": "crm.CustomerIds", "fields": [{"name": "account", "type": ["null", "string"]}]}
_PARSED = fastavro.parse_schema(json.loads(json.dumps(SCHEMA)))
_HEAD = b"\xc3\x01" + bytes.fromhex(
    fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO")
)


def row(customer: str, account: str | None) -> Outgoing:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _PARSED, {"account": account})
    return Outgoing(_HEAD + out.getvalue(), customer.encode())


async def test_rows_are_sent_and_missing_ones_concern_one_delivery_alone(system, receiver) -> None:
    ids = f"{system.group}.crm-ids"
    system.destination("crm", receiver.url)
    system.hookline = {
        "lookups": {"crm_ids": {
            "topic": ids, "fields": {"account": {"at": "/account", "type": "string", "class": "identifier"}},
        }},
        "state_dir": str(system.folder.parent / "state"),
    }  # fmt: skip
    payload = {"account": "${tables.crm_ids.account}", "n": "${event.properties.n}"}
    system.journey("welcome", step("crm", "crm.upsert", payload=payload), step("plain", "crm.upsert"))
    system.write()
    (system.folder / "schemas").mkdir()
    (system.folder / "schemas" / "ids.avsc").write_text(json.dumps(SCHEMA))
    system.broker.create_topic(ids, 3, **{"cleanup.policy": "compact", "delete.retention.ms": "86400000"})
    await asyncio.to_thread(system.prepare)
    checked = await asyncio.to_thread(system.run, "topics", "check")
    assert (checked.returncode, ids in checked.stdout) == (0, False), checked.stdout
    system.broker.produce(ids, [row("c-0", "a-0"), row("c-1", "a-1"), row("c-2", None), row("c-1", "a-1b")])

    worker = system.worker()
    await asyncio.to_thread(system.feed, [event(n) for n in range(4)])
    await eventually(lambda: asyncio.to_thread(system.settled), timeout_s=60)
    assert _accounts(receiver) == {0: "a-0", 1: "a-1b"}
    ended = {(each.step, each.outcome, each.reason) for each in system.outcomes()}
    assert ended == {("crm", "delivered", ""), ("crm", "dead", "missing_field"), ("plain", "delivered", "")}
    assert "table_record_unreadable" in worker.log.read_text()  # of c-2: it has no account
    assert "a-1b" not in worker.log.read_text()

    system.broker.produce(ids, [row("c-0", "a-0b"), Outgoing(None, b"c-1"), row("c-3", "a-3")])
    receiver.seen.clear()

    async def known() -> bool:
        await asyncio.to_thread(system.feed, [event(n) for n in (0, 3)])
        await eventually(lambda: asyncio.to_thread(system.settled), timeout_s=60)
        return _accounts(receiver).get(0) == "a-0b" and _accounts(receiver).get(3) == "a-3"

    await eventually(known, timeout_s=60)
    await asyncio.to_thread(system.feed, [event(1)])
    await eventually(lambda: asyncio.to_thread(system.settled), timeout_s=60)
    assert 1 not in _accounts(receiver)
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 40) == 0


def _accounts(receiver: Any) -> dict[int, str]:
    """Return the newest account that was sent for each customer."""
    bodies = [json.loads(each.body) for each in receiver.seen]
    return {body["n"]: body["account"] for body in bodies if "account" in body}
