"""A whole Hookline for a test: its own group and topics on a real Kafka, a configuration folder, worker processes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro

from pipeline.core import outcome
from tests.support.broker import Outgoing
from tests.support.children import Child

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.broker import Broker

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "lifecycle_event.avsc").read_text())
_PARSED = fastavro.parse_schema(SCHEMA)
_HEAD = b"\xc3\x01" + bytes.fromhex(
    fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO")
)
COMMAND_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 40.0
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
TOKEN = "token-of-a-test"


def event(number: int = 0, **over: Any) -> dict[str, Any]:
    """A valid event of customer `c-<number>`, as fastavro writes it."""
    return {
        "id": str(uuid.uuid4()), "type": "signup.completed", "time": int(time.time() * 1000),
        "customer": {
            "id": f"c-{number}", "email": f"c{number}@example.org", "phone": None, "timezone": None, "ids": {},
        },
        "consent": {"email": "granted"}, "source": {}, "properties": {"plan": "pro", "n": number},
    } | over  # fmt: skip


def encode(datum: Mapping[str, Any]) -> bytes:
    """Write an event in Avro single-object encoding."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _PARSED, dict(datum))
    return _HEAD + out.getvalue()


def step(name: str, call: str, **over: Any) -> dict[str, Any]:
    """A step that sends the event's and the customer's ID."""
    payload = {"event_id": "${event.id}", "customer_id": "${event.customer.id}"}
    return {"step": name, "call": call, "kind": "update", "payload": payload} | over


class System:
    """`group` and `topic` are this test's own. Commands run as a user runs them: in a process of their own."""

    def __init__(self, folder: Path, broker: Broker, name: str, *, partitions: int = 2) -> None:
        self.folder = folder
        self.broker = broker
        self.group = name
        self.topic = f"{name}.events"
        self.partitions = partitions
        self.tiers = ["1s", "2s", "5s"]
        self.destinations: dict[str, dict[str, Any]] = {}
        self.journeys: dict[str, dict[str, Any]] = {}
        self.hookline: dict[str, Any] = {}
        self.overlay: dict[str, Any] = {}  # of env/test.yaml
        self.environ = {"CRM_TOKEN": TOKEN, "CRM_SECRET": SECRET}
        self.children: list[Child] = []
        self.journey("welcome", step("crm", "crm.upsert"))

    # ------------------------------------------------------------------------------------- configuration

    def destination(self, name: str, url: str, **over: Any) -> None:
        """Add a destination with one operation, `upsert`."""
        self.destinations[name] = {
            "destination": name, "owner": "o@example.org", "base_url": url, "receives": ["identifier"],
            "private_networks": ["127.0.0.0/8"], "auth": {"bearer": {"token": "env:CRM_TOKEN"}},
            "sign": {"standard_webhooks": {"secrets": ["env:CRM_SECRET"]}}, "idempotency": "delivery_id",
            "timeout": "2s", "limits": {"concurrency": 32}, "operations": {"upsert": {"path": "/upsert"}},
        } | over  # fmt: skip

    def journey(self, name: str, *steps: dict[str, Any], trigger: Mapping[str, Any] | None = None, **over: Any) -> None:
        """Add a live journey started by `signup.completed`."""
        self.journeys[name] = {
            "journey": name, "status": "live", "owner": "o@example.org", "goal": "A test", "category": "service",
            "basis": "contract", "trigger": {"events": ["signup.completed"], "max_age": "36500d", **(trigger or {})},
            "steps": list(steps),
        } | over  # fmt: skip

    def write(self) -> None:
        """Write the folder; JSON is YAML."""
        whole = {
            "group": self.group, "kafka": {"bootstrap": self.broker.bootstrap}, "retry_tiers": self.tiers,
            "events": [{"topic": self.topic, "record": "hookline.LifecycleEvent"}],
            "purposes": ["marketing", "service"],
            "classes": {"properties.plan": "public", "properties.n": "public", "type": "public", "id": "public"},
        } | self.hookline  # fmt: skip
        self._put("hookline.yaml", whole)
        self._put("env/test.yaml", {"mode": "live"} | self.overlay)
        for name, content in self.destinations.items():
            self._put(f"destinations/{name}.yaml", content)
        for name, content in self.journeys.items():
            self._put(f"journeys/{name}.yaml", content)

    def _put(self, name: str, content: Mapping[str, Any]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2))

    # ------------------------------------------------------------------------------------------- commands

    def prepare(self) -> None:
        """Write the configuration, make the topics."""
        self.write()
        self.broker.create_topic(self.topic, self.partitions, max_message_bytes="2097152")
        made = self.run("topics", "create")
        assert made.returncode == 0, made.stderr

    def run(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self._argv(*arguments), env={**os.environ, **self.environ}, capture_output=True, text=True,
            timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def worker(self, *arguments: str) -> Child:
        """Start `hookline run`."""
        log = self.folder.parent / f"worker-{len(self.children)}.log"
        child = Child(self._argv("run", *arguments), log, **self.environ)
        self.children.append(child)
        return child

    def _argv(self, command: str, *arguments: str) -> list[str]:
        place = ["--config", str(self.folder), "--env", "test"]
        nested = command in ("topics", "dead", "waiting", "destination")
        words = [command, *arguments[:1], *place, *arguments[1:]] if nested else [command, *place, *arguments]
        return [sys.executable, "-m", "pipeline", *words]

    def stop(self) -> None:
        """End what still runs."""
        for child in self.children:
            if child.returncode is None:
                child.send(signal.SIGTERM)  # one: a second would end it at once
        for child in self.children:
            try:
                child.wait(STOP_TIMEOUT_S)
            except AssertionError:
                child.kill()

    # --------------------------------------------------------------------------------------------- events

    def feed(self, events: Iterable[Mapping[str, Any] | Outgoing | bytes | None]) -> list[tuple[int, int]]:
        """Produce events keyed by customer; bytes, None and Outgoing go as they are. Returns their positions."""
        outgoing = []
        for each in events:
            if isinstance(each, Outgoing):
                outgoing.append(each)
            elif each is None or isinstance(each, bytes):
                outgoing.append(Outgoing(each, b"k"))
            else:
                outgoing.append(Outgoing(encode(each), each["customer"]["id"].encode()))
        return self.broker.produce(self.topic, outgoing)

    def settled(self) -> bool:
        """Whether every input position is committed, and no run waits on a retry tier or for its turn."""
        groups = [(self.group, self.topic)]
        groups += [(f"{self.group}.retry", f"{self.group}.retry.{tier}") for tier in self.tiers]
        ordered = [name for name, journey in self.journeys.items() if journey.get("ordering") == "key"]
        groups += [(f"{self.group}.ordered", f"{self.group}.ordered.{name}") for name in ordered]
        return all(self.broker.lag(group, topic) == 0 for group, topic in groups)

    # ------------------------------------------------------------------------------------------- evidence

    def rows(self) -> list[outcome.OutcomeRow | outcome.LedgerRow]:
        """Read the outcomes topic."""
        rows = [outcome.decode(record.value or b"") for record in self.broker.records(f"{self.group}.outcomes")]
        return [row for row in rows if row is not None]

    def outcomes(self) -> list[outcome.OutcomeRow]:
        """Read the outcomes, oldest first in each partition."""
        return [row for row in self.rows() if isinstance(row, outcome.OutcomeRow)]

    def final(self) -> dict[str, outcome.OutcomeRow]:
        """Return the last word on each delivery ID."""
        ranked = sorted(self.outcomes(), key=lambda row: (row.outcome != "retrying", row.settled_at_ms))
        return {row.delivery_id: row for row in ranked}

    def ledger(self) -> dict[str, int]:
        """Count positions without delivery by reason, each position once."""
        seen: dict[tuple[int, int], str] = {}
        for row in self.rows():
            if isinstance(row, outcome.LedgerRow):
                for first, last, reason in row.empty:
                    seen.update({(row.partition, offset): reason for offset in range(first, last + 1)})
        counts: dict[str, int] = {}
        for reason in seen.values():
            counts[reason] = counts.get(reason, 0) + 1
        return counts

    def dead(self) -> list[Any]:
        """Read the dead letters."""
        return self.broker.records(f"{self.group}.dead")

    def account(self) -> dict[str, Any]:
        """Run `hookline account`; it must balance."""
        done = self.run("account", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)
