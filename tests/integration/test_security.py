"""Everything that talks to Kafka does so over SASL and TLS as configured, and tells no secret when it is refused."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.conditions import eventually
from tests.support.kafka import PASSWORD, USER
from tests.support.system import System, event
from tests.support.tls import self_signed

WRONG = "wr0ng-but-just-as-secret"
STOPPED_S = 60.0


@pytest.fixture
def secured(tmp_path, kafka_secured, unique, receiver):
    """A system whose `kafka:` has everything a user would write; the test itself looks in by another listener."""
    made = System(tmp_path / "config", kafka_secured, unique)
    given = kafka_secured.security.scram_tls
    made.hookline["kafka"] = {
        "bootstrap": "env:KAFKA_PLACE", "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "env:KAFKA_USER", "sasl.password": "env:KAFKA_PASSWORD",
        "ssl.ca.location": "file:certs/brokers.pem",
    }  # fmt: skip
    made.environ |= {
        "KAFKA_PLACE": given["bootstrap.servers"], "KAFKA_USER": USER, "KAFKA_PASSWORD": PASSWORD,
        "KAFKA_BOOTSTRAP": "",
    }  # fmt: skip
    certificates = made.folder / "certs"
    certificates.mkdir(parents=True)
    shutil.copy(given["ssl.ca.location"], certificates / "brokers.pem")
    made.destination("crm", receiver.url)
    yield made
    made.stop()


def write_events(system, count: int) -> str:
    file = system.folder.parent / "events.jsonl"
    made = [event(n) for n in range(count)]
    # A line holds JSON: its time is text.
    lines = [json.dumps({**each, "time": "2026-11-23T10:00:00Z", "customer": {"id": f"c-{n}"}})
             for n, each in enumerate(made)]  # fmt: skip
    file.write_text("\n".join(lines) + "\n")
    return str(file)


async def test_worker_and_commands_work_over_sasl_and_tls(secured, receiver):
    secured.prepare()
    assert secured.run("topics", "check").returncode == 0
    worker = secured.worker()
    sent = secured.run("produce", write_events(secured, 30), "--json")
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["delivered"] == 30
    await eventually(lambda: receiver.accepted() == 30)
    await eventually(secured.settled)
    account = secured.account()
    assert (account["balanced"], account["positions"]) == (True, 30)
    for command in (["status", "--json"], ["dead", "list", "--json"], ["trace", f"{secured.topic}/0/0", "--json"]):
        done = secured.run(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert PASSWORD not in worker.tail()


@pytest.mark.parametrize("command", [["topics", "check"], ["produce"], ["dead", "list"]])
def test_a_wrong_password_is_told_clearly_and_never_shown(secured, command):
    refused(secured, "KAFKA_PASSWORD", WRONG, command)


def test_a_certificate_of_somebody_else_is_told_clearly(secured, tmp_path):
    (tmp_path / "other").mkdir()
    other = self_signed(tmp_path / "other")
    shutil.copy(other.certificate, secured.folder / "certs" / "brokers.pem")
    refused(secured, "", "", ["topics", "check"], says="certificate")


def refused(system, name: str, content: str, command: list[str], says: str = "uthenticat") -> None:
    system.write()
    system.environ |= {name: content} if name else {}
    more = [write_events(system, 1), "--topic", system.topic] if command == ["produce"] else []
    done = system.run(*command, *more)
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert says in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) <= 3, done.stderr
    assert "Traceback" not in done.stderr
    for secret in (WRONG, PASSWORD):
        assert secret not in done.stdout + done.stderr


async def test_a_worker_with_a_wrong_password_ends_and_says_why(secured):
    secured.write()
    secured.environ["KAFKA_PASSWORD"] = WRONG
    worker = secured.worker()
    await eventually(lambda: worker.returncode is not None, timeout_s=STOPPED_S)
    assert worker.returncode == 1
    told = worker.tail()
    assert "uthenticat" in told
    assert "Traceback" not in told
    assert WRONG not in told


def test_a_secret_that_is_not_set_is_named_before_anything_is_contacted(secured):
    secured.write()
    del secured.environ["KAFKA_PASSWORD"]
    done = secured.run("topics", "check")
    assert done.returncode == 2
    assert "KAFKA_PASSWORD" in done.stderr
