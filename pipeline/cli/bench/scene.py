"""Prepares what a bench needs: a configuration folder with everything on, a backlog of events, a receiver.

The journey asks for consent, has a CEL condition and a payload of leaves; requests are signed (Standard Webhooks).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pipeline.cli.bench.figures import Scenario

PARTITIONS: Final = 8
CUSTOMERS: Final = 10_000
COMMAND_S: Final = 60.0
"""Bound on one `hookline topics create`."""
READY_S: Final = 20.0
"""Bound on a receiver saying where it listens."""
_SEED: Final = 20_260_801
_SECRET: Final = "whsec_" + "YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gt"
ENVIRON: Final = {"BENCH_TOKEN": "token-of-a-bench", "BENCH_SECRET": _SECRET}
"""What the configuration's references resolve to: of a bench, known to everybody."""


def documents(
    group: str, topic: str, bootstrap: str, scenario: Scenario, receiver: str, sink: str
) -> dict[str, dict[str, Any]]:
    """Return the configuration's files by their path, as JSON, which is YAML."""
    return {
        "hookline.yaml": {
            "group": group,
            "kafka": {"bootstrap": bootstrap},
            "telemetry": {"endpoint": sink, "sample": "1%"},
            "events": [{"topic": topic, "record": "hookline.LifecycleEvent"}],
            "purposes": ["marketing"],
            "classes": {"id": "public", "type": "public", "properties.plan": "public", "properties.seats": "public"},
        },
        "env/bench.yaml": {"mode": "live"},
        "destinations/receiver.yaml": {
            "destination": "receiver",
            "owner": "bench@example.org",
            "base_url": receiver,
            "receives": ["identifier", "contact"],
            "private_networks": ["127.0.0.0/8"],
            "auth": {"bearer": {"token": "env:BENCH_TOKEN"}},
            "sign": {"standard_webhooks": {"secrets": ["env:BENCH_SECRET"]}},
            "idempotency": "delivery_id",
            "limits": {"concurrency": scenario.in_flight},
            "operations": {"upsert": {"path": "/v1/contacts"}},
        },
        "journeys/welcome.yaml": {
            "journey": "welcome",
            "status": "live",
            "owner": "bench@example.org",
            "goal": "Be measured",
            "category": "promotional",
            "basis": "consent",
            "purpose": "marketing",
            "trigger": {
                "events": ["signup.completed"],
                "when": 'event.properties.plan == "pro"',
                "max_age": "30d",
            },
            "steps": [
                {
                    "step": "crm",
                    "call": "receiver.upsert",
                    "kind": "update",
                    "reaches": "email",
                    "payload": {
                        "customer": "${event.customer.id}",
                        "email": "${event.customer.email}",
                        "plan": "${event.properties.plan}",
                        "seats": "${event.properties.seats}",
                        "at": "${event.time}",
                        "source": "hookline",
                    },
                }
            ],
        },
    }


def write(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a configuration folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2))


def events(number: int, now_ms: int) -> Iterator[dict[str, Any]]:
    """Yield that many lifecycle events, the same ones each time but for their times."""
    random = Random(_SEED)  # noqa: S311 - repeatable on purpose
    for _ in range(number):
        customer = random.randrange(CUSTOMERS)
        yield {
            "id": str(uuid.UUID(int=random.getrandbits(128), version=4)),
            "type": "signup.completed",
            "time": now_ms,
            "customer": {
                "id": f"customer-{customer}", "email": f"customer-{customer}@example.org", "phone": None,
                "timezone": None, "ids": {},
            },
            "consent": {"email": "granted"},
            "source": {"system": "bench"},
            "properties": {"plan": "pro", "seats": 5, "campaign": "spring", "trial": False},
        }  # fmt: skip


def fill(bootstrap: str, topic: str, number: int, progress: Callable[[int, int], None]) -> int:
    """Publish the backlog; return the mean size of a value in bytes. Raises BrokerError if not all of it arrived."""
    from pipeline.adapters.kafka.feed import Feed  # noqa: PLC0415 - keep `hookline --help` fast
    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415
    from pipeline.config.models import LIFECYCLE_EVENT  # noqa: PLC0415
    from pipeline.core import decode  # noqa: PLC0415

    schema = Folders((packaged(),)).readers[LIFECYCLE_EVENT]
    encode = decode.encode(schema)
    head = decode.single_object(decode.fingerprint(schema))
    feed = Feed({"bootstrap.servers": bootstrap}, topic)
    size = 0
    for count, event in enumerate(events(number, int(time.time() * 1_000)), 1):
        content = head + encode(event)
        size += len(content)
        feed.send(event["customer"]["id"].encode(), content, [])
        if count % 1_000 == 0:
            progress(count, number)
    feed.finish()
    if feed.delivered != number:
        raise BrokerError(f"Kafka took {feed.delivered:,} of {number:,} events: {dict(feed.failed)}")
    return size // number


def create_topics(folder: Path) -> None:
    """Create the group's own topics as a user would. Raises BrokerError."""
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "pipeline", "topics", "create", "--config", str(folder), "--env", "bench"],
        capture_output=True, text=True, timeout=COMMAND_S, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise BrokerError(f"topics create failed: {(done.stderr or done.stdout).strip()}")


class Far(Protocol):
    """What requests go to. `requests` is known once it was stopped."""

    url: str
    requests: int

    def stop(self) -> None:
        """End it; idempotent."""


class Receiver:
    """A process that answers every request with 204 after a delay. `requests` is known once it was stopped."""

    def __init__(self, delay_ms: int) -> None:
        """Start it and wait until it listens."""
        self.requests = 0
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "pipeline.testing.cheap", "--delay", f"{delay_ms}ms"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def stop(self) -> None:
        """End it; idempotent."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        told, _ = self._process.communicate(timeout=READY_S)
        self.requests = json.loads(told)["requests"]
