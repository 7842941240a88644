"""`hookline account` on a real Kafka, over topics written the way a worker writes them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.cli import main
from pipeline.core import outcome
from pipeline.model import Outcome
from tests.support.conditions import eventually
from tests.support.folder import write_folder
from tests.support.system import event

PREFIX = outcome.prefix("welcome", "0" * 16, "hello", "crm", "note")
HOUR_MS = 3_600_000


def now() -> int:
    return time.time_ns() // 1_000_000


class Group:
    """A group's topics, one input partition, and what a worker would have written."""

    def __init__(self, kafka, name: str, folder) -> None:
        self.kafka, self.name, self.input = kafka, name, f"{name}.events"
        self.folder = write_folder(folder, name, self.input, kafka.bootstrap)
        for topic in ("retry.10s", "retry.1m", "dead", "outcomes", "control", "events"):
            kafka.create_topic(f"{name}.{topic}", 1, message_timestamp_type="LogAppendTime")

    def outcome(self, offset: int, ended: Outcome = Outcome.DELIVERED, reason: str = "", at: int = 0, **other) -> bytes:
        step, of, due, hop = (
            other.get(key, default) for key, default in (("step", 0), ("of", 1), ("due", 0), ("hop", 0))
        )
        event = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{offset}"))
        delivery = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{offset}/{step}"))
        at = at or now()
        return outcome.encode(
            PREFIX, event, "signup.completed", delivery, "0" * 32, self.input, 0, offset, at - 50, at - 90, of,
            "0" * 32, ended, reason, 200, 1, at - 20, at, hop, due, (),
        )  # fmt: skip

    def ledger(self, first: int, upto: int, *empty: tuple[int, int, str]) -> bytes:
        return outcome.encode_ledger(self.input, 0, first, upto, empty, now())

    def write(self, *rows: bytes, commit: int | None = None) -> None:
        self.kafka.produce(f"{self.name}.outcomes", rows)
        if commit is not None:
            self.kafka.commit(self.name, self.input, {0: (commit, "")})


@pytest.fixture
def group(kafka, unique, tmp_path):
    return Group(kafka, unique, tmp_path)


@pytest.fixture
def account(group, capsys):
    """Run `hookline account`; returns exit code and output (parsed with --json)."""

    def run(*args: str):
        code = main(["account", *args, "--config", str(group.folder)])
        out, err = capsys.readouterr()
        assert err == ""
        return code, json.loads(out) if "--json" in args else out

    return run


def test_a_group_that_never_ran_balances(account):
    code, report = account("--json")
    assert (code, report["balanced"], report["positions"]) == (0, True, 0)


def test_ledger_and_outcomes_balance_whatever_is_repeated(group, account):
    retried = group.outcome(3, Outcome.RETRYING, "timeout", due=now() + 10_000)
    rows = [
        group.outcome(0), group.outcome(1, of=2), group.outcome(1, Outcome.SKIPPED, "consent", step=1, of=2), retried,
        group.outcome(3, hop=1), group.ledger(0, 4, (2, 2, "no_journey")), group.ledger(4, 6, (4, 5, "gap")),
    ]  # fmt: skip
    group.write(*rows, rows[0], rows[5], b"neither", commit=6)

    code, report = account("--json")

    assert code == 0
    assert report["positions"] == 6
    assert (report["events"], report["ledger"]) == (3, {"gap": 2, "no_journey": 1})
    assert report["deliveries"] == {"delivered": 3, "skipped": 1}
    assert (report["repeats"], report["unreadable"], report["waiting"]) == (1, 1, 0)
    assert report["trigger_p95_ms"] == 30
    assert "balanced, 6 committed positions" in account()[1]


def test_what_is_missing_is_named_and_the_exit_code_says_so(group, account):
    group.write(group.outcome(0), group.outcome(2, of=2), group.ledger(0, 3), group.outcome(7), commit=5)

    code, out = account()

    assert code == 1
    assert f"missing {group.input}/0/1: no outcome" in out
    assert f"missing {group.input}/0/2: 1 of 2 deliveries have an outcome" in out
    assert f"missing {group.input}/0/3 to 4: committed, but in no ledger" in out
    assert f"  {group.input}/0/1: no record is there any more" in out, "nothing was ever on the input topic here"
    assert "1 positions have outcomes and are not committed yet" in out
    assert "not balanced, 5 committed positions" in out


def test_overdue_and_lost_deliveries_are_named(group, account, kafka):
    late = group.outcome(0, Outcome.RETRYING, "timeout", at=now() - HOUR_MS, due=now() - HOUR_MS // 2)
    group.write(late, group.ledger(0, 1), commit=1)
    kafka.produce(f"{group.name}.retry.1m", [b"the run"])

    code, out = account()
    assert code == 0
    assert "overdue event " in out

    kafka.commit(f"{group.name}.retry", f"{group.name}.retry.1m", {0: (1, "")})
    code, report = account("--json")
    assert code == 1
    assert (report["stranded_count"], report["overdue_count"], report["missing_count"]) == (1, 0, 0)


def test_rows_that_retention_deleted_leave_their_positions_outside(group, account, kafka, monkeypatch):
    group.write(group.outcome(0), group.ledger(0, 1), group.outcome(1), group.ledger(1, 2), commit=2)
    outcomes = TopicPartition(f"{group.name}.outcomes", 0, 1)
    client = AdminClient(kafka.settings)  # kept: a future of a collected client never ends
    client.delete_records([outcomes])[outcomes].result(10)

    code, report = account("--json")
    assert (code, report["positions"], report["outside"]) == (0, 0, 2)

    monkeypatch.setattr("pipeline.cli.account.OUTCOME_AHEAD_MS", -HOUR_MS)  # as if the deletion was an hour ago
    assert account("--json")[1]["missing_count"] == 1


def test_since_judges_only_what_was_committed_since(group, account):
    group.write(group.outcome(0), group.ledger(0, 1), commit=1)
    code, report = account("--json", "--since", "1h")
    assert (code, report["positions"], report["outside"]) == (0, 1, 0)
    code, report = account("--json", "--since", "2100-01-01T00:00:00Z")
    assert (code, report["positions"], report["outside"]) == (0, 0, 1)


def test_until_judges_only_what_was_committed_until_then(group, account):
    group.write(group.outcome(0), group.ledger(0, 1), commit=1)
    code, report = account("--json", "--until", "2100-01-01T00:00:00Z")
    assert (code, report["positions"], report["outside"]) == (0, 1, 0)
    code, report = account("--json", "--since", "2h", "--until", "1h")
    assert (code, report["positions"], report["outside"]) == (0, 0, 1)


def test_a_window_that_ends_before_it_begins_is_refused(group, capsys):
    assert main(["account", "--since", "1h", "--until", "2h", "--config", str(group.folder)]) == 2
    assert "--until: is before --since" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- of a fleet


async def accounted(system, *arguments: str) -> dict:
    done = await asyncio.to_thread(system.run, "account", "--json", *arguments)
    return {**json.loads(done.stdout), "code": done.returncode}


def at(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat()


async def test_windows_of_a_fleet_with_a_killed_worker_add_up_and_each_event_that_was_lost_is_named(system, receiver):
    system.destination("crm", receiver.url)
    system.prepare()
    doomed, _ = system.worker(), system.worker()
    ends = [now() - 1_000]
    for part in range(3):
        system.feed([event(n) for n in range(part * 50, part * 50 + 50)])
        if part == 1:
            await eventually(lambda: len(system.final()) > 60, timeout_s=60)
            doomed.kill()
        await eventually(lambda before=part: system.settled() and len(system.final()) >= before * 50 + 50, timeout_s=60)
        ends.append(now())
        await eventually(lambda: now() > ends[-1])
    whole = await accounted(system)
    assert (whole["code"], whole["positions"], whole["deliveries"]) == (0, 150, {"delivered": 150})
    windows = [await accounted(system, "--since", at(first + 1), "--until", at(last)) for first, last in pairwise(ends)]
    assert sum(each["positions"] for each in windows) == 150
    assert all(each["positions"] and each["balanced"] for each in windows)
    assert {(each["partition"], each["first"]) for each in whole["parts"]} == {(0, 0), (1, 0)}

    system.stop()
    lost = [event(n) for n in range(5)]
    system.feed(lost)
    ends = {partition: (end, "") for partition, (_, end) in system.broker.ends(system.topic).items()}
    system.broker.commit(system.group, system.topic, ends)
    found = await accounted(system)
    assert (found["code"], found["missing_count"]) == (1, 5)
    assert {each["event_id"] for each in found["missing_events"]} == {each["id"] for each in lost}
    assert {each["event_type"] for each in found["missing_events"]} == {"signup.completed"}
    told = (await asyncio.to_thread(system.run, "account", "--limit", "2")).stdout
    assert sum(each["id"] in told for each in lost) == 2
    assert "and 3 more: --limit" in told
    assert "✗" in told
    assert "c-1" not in told


def test_a_missing_outcomes_topic_is_named(kafka, tmp_path, unique, capsys):
    folder = write_folder(tmp_path, unique, f"{unique}.events", kafka.bootstrap)
    assert main(["account", "--config", str(folder)]) == 2
    assert f"missing on the broker: {unique}.outcomes" in capsys.readouterr().err
