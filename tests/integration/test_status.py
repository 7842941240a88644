"""`hookline status` on a real Kafka, over topics written the way workers write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from pipeline.cli import main
from pipeline.core import runstate, switches
from tests.support.broker import Outgoing
from tests.support.folder import write_folder


@pytest.fixture
def group(kafka, unique):
    for name, partitions in (("retry.10s", 2), ("retry.1m", 1), ("control", 1), ("events", 2)):
        kafka.create_topic(f"{unique}.{name}", partitions, message_timestamp_type="LogAppendTime")
    return unique


@pytest.fixture
def status(kafka, unique, tmp_path, capsys):
    """Run `hookline status`; returns exit code and output (parsed with --json)."""
    folder = write_folder(tmp_path, unique, f"{unique}.events", kafka.bootstrap)

    def run(*args: str):
        code = main(["status", *args, "--config", str(folder)])
        out, err = capsys.readouterr()
        assert err == ""
        return code, json.loads(out) if "--json" in args else out

    return run


def report(age_s: float = 0, state: str = "closed", unsettled: int = 0, queued: int = 0) -> bytes:
    when = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(timespec="milliseconds")
    lane = {
        "state": state, "since": when, "last_good": when, "class": "timeout", "event": "e-1", "queued": queued,
        "in_flight": 1, "parked": 0, "attempts": 0,
    }  # fmt: skip
    return orjson.dumps({
        "at": when, "host": "host-1", "pid": 7, "version": "0.1.0", "unsettled": unsettled, "oldest_ms": 1_500,
        "assigned": {"input": ["events/0", "events/1"], "retry": []}, "lanes": {"crm": lane},
    })  # fmt: skip


def waiting_run(journey: str = "welcome", step: str = "hello") -> Outgoing:
    state = runstate.RunState(
        journey=journey, hash="0", event_id="e", source=("events", 0, 0, 0), deliveries=1, started_ms=0, hop=1, parks=0,
        due_ms=0, trace_id="0" * 32, sampled=False, link="", steps={step: runstate.StepState(1, 0, 0, "timeout", 0)},
    )  # fmt: skip
    return Outgoing(b"event", headers=[(runstate.STATE_HEADER, runstate.encode(state))])


def test_before_the_first_worker_it_says_what_to_do(group, status):
    code, out = status()
    assert code == 1
    assert f"no worker has ever reported to {group}.control: start one with hookline run" in out
    assert "crm" in out
    assert "unknown" in out


def test_destinations_workers_and_backlogs_are_shown(group, status, kafka):
    kafka.produce(f"{group}.control", [Outgoing(report(60), key=b"worker/gone"), Outgoing(
        report(0, "open", unsettled=2, queued=4), key=b"worker/here")])  # fmt: skip
    kafka.produce(f"{group}.events", [Outgoing(b"x", partition=n % 2) for n in range(10)])
    kafka.commit(group, f"{group}.events", {0: (3, "")})
    kafka.produce(f"{group}.retry.10s", [waiting_run(), waiting_run(), waiting_run("removed")])
    kafka.produce(f"{group}.retry.1m", [waiting_run(), waiting_run()])
    kafka.commit(f"{group}.retry", f"{group}.retry.1m", {0: (1, "")})

    kafka.produce(f"{group}.control", [
        Outgoing(switches.content("paused", "ada@host", "wrong coupon", 1), key=b"pause/destination/crm"),
        Outgoing(orjson.dumps({"last_good": "2026-01-02T03:04:05+00:00"}), key=b"destination/other"),
    ])  # fmt: skip

    code, seen = status("--json")

    assert code == 1
    ((held,),) = (seen["held"],)
    assert (held["name"], held["state"], held["who"], held["reason"]) == ("crm", "paused", "ada@host", "wrong coupon")
    assert seen["destinations"][0]["waiting_by_tier"] == {f"{group}.retry.10s": 2, f"{group}.retry.1m": 1}
    assert "hookline resume destination crm" in seen["destinations"][0]["next"]
    (crm,) = seen["destinations"]
    assert (crm["destination"], crm["state"], crm["last_class"]) == ("crm", "open", "timeout")
    assert (crm["waiting"], crm["queued"], crm["in_flight"]) == (3, 4, 1)
    assert crm["drain_ms"] == 800  # 8 deliveries at the configured 10/s
    assert [(each["topic"], each["waiting"]) for each in seen["retry"]] == [
        (f"{group}.retry.10s", 3), (f"{group}.retry.1m", 1),
    ]  # fmt: skip
    assert all(each["oldest_ms"] for each in seen["retry"])
    assert (seen["input"]["lag"], seen["input"]["unread"], seen["input"]["unsettled"]) == (7, 5, 2)
    assert [(each["id"], each["alive"]) for each in seen["workers"]] == [("here", True), ("gone", False)]

    _, out = status()
    assert "input lag 7: 5 unread, 2 unsettled" in out
    assert "host-1" in out
    assert "gone, 1 m" in out
    assert "paused by ada@host: wrong coupon" in out


def test_a_stopped_fleet_and_a_silent_one_are_told_apart(group, status, kafka):
    kafka.produce(f"{group}.control", [Outgoing(report(), key=b"worker/a"), Outgoing(None, key=b"worker/a")])
    assert "no worker is running: the last one stopped in good order" in status()[1]
    kafka.produce(f"{group}.control", [Outgoing(report(120), key=b"worker/b")])
    assert "no worker is alive: all that reported fell silent" in status()[1]


def test_many_waiting_runs_are_counted_without_reading_them_all(group, status, kafka, monkeypatch):
    monkeypatch.setattr("pipeline.cli.status.WAITING_READ_MAX", 2)
    kafka.produce(f"{group}.retry.1m", [waiting_run() for _ in range(5)])
    _, seen = status("--json")
    assert seen["retry"][1]["waiting"] == 5
    assert seen["retry"][1]["partial"]
    assert seen["destinations"][0]["waiting"] == 2
    assert "at least 2" in status()[1]
