"""core/fleet: how destinations and workers are, from the reports on the control topic."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from pipeline.core.fleet import GONE_MS, RATE_MS, STALE_MS, Fleet, Stuck, drain_ms

NOW = 1_800_000_000_000


def at(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="milliseconds") if ms else ""


def lane(state: str = "closed", since: int = 0, good: int = 0, **other) -> dict:
    counts = {"queued": 0, "in_flight": 0, "parked": 0, "attempts": 0, "class": "", "event": ""}
    return {"state": state, "since": at(since), "last_good": at(good), **counts, **other}


def report(ms: int = NOW, pid: int = 1, unsettled: int = 0, **lanes: dict) -> bytes:
    return orjson.dumps({
        "at": at(ms), "host": "h", "pid": pid, "version": "1", "unsettled": unsettled, "oldest_ms": 0,
        "assigned": {"input": ["events/0"]}, "lanes": lanes,
    })  # fmt: skip


def fleet(*records: tuple[bytes, bytes | None]) -> Fleet:
    made = Fleet()
    for key, content in records:
        made.note(key, content)
    return made


def test_a_destination_is_as_bad_as_its_worst_lane():
    seen = fleet(
        (b"worker/a", report(crm=lane("closed", 1_000, NOW - 5, queued=2, in_flight=1))),
        (
            b"worker/b",
            report(crm=lane("open", 2_000, NOW - 9, queued=3, parked=7, **{"class": "timeout", "event": "e"})),
        ),
    )
    (state,) = seen.destinations(NOW, ["crm"])
    assert (state.state, state.since_ms, state.last_good_ms) == ("open", 2_000, NOW - 5)
    assert (state.last_class, state.last_event_id) == ("timeout", "e")
    assert (state.queued, state.in_flight, state.parked) == (5, 1, 7)


def test_a_destination_no_live_worker_has_is_unknown():
    seen = fleet((b"worker/a", report(NOW - STALE_MS - 1, crm=lane("open"))))
    assert [each.state for each in seen.destinations(NOW, ["crm", "mail"])] == ["unknown", "unknown"]


def test_silent_workers_are_stale_and_those_that_said_goodbye_are_gone():
    seen = fleet(
        (b"worker/a", report(NOW - STALE_MS)),
        (b"worker/b", report(NOW - STALE_MS - 1)),
        (b"worker/c", report()),
        (b"worker/c", None),
    )
    assert [each.id for each in seen.alive(NOW)] == ["a"]
    assert [each.id for each in seen.stale(NOW)] == ["b"]
    assert seen.reported


def test_the_newest_report_of_a_worker_counts():
    seen = fleet((b"worker/a", report(NOW - 10, unsettled=5)), (b"worker/a", report(NOW, unsettled=3)))
    (worker,) = seen.alive(NOW)
    assert (worker.unsettled, worker.assigned) == (3, {"input": ("events/0",)})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", report().replace(b'"pid":1', b'"pid":"x"'), b"\xff"])
def test_damaged_reports_are_passed_over(content):
    seen = fleet((b"worker/a", report()), (b"worker/a", content), (b"worker/b", content))
    assert [each.id for each in seen.alive(NOW)] == ["a"]


def test_other_records_are_no_workers():
    seen = fleet((b"journey/x", b"{}"), (None, b"{}"))
    assert (seen.reported, seen.alive(NOW)) == (False, ())


def test_the_rate_is_taken_between_reports_of_one_process():
    reports = [report(NOW - 20_000, crm=lane(attempts=100)), report(NOW, crm=lane(attempts=300))]
    (state,) = fleet(*((b"worker/a", each) for each in reports)).destinations(NOW, ["crm"])
    assert state.rate_per_s == 10.0
    restarted = report(NOW, pid=2, crm=lane(attempts=5))
    (state,) = fleet((b"worker/a", reports[0]), (b"worker/a", restarted)).destinations(NOW, ["crm"])
    assert state.rate_per_s is None


def test_rates_are_recent():
    old = [report(NOW - 10 * RATE_MS + step * 10_000, crm=lane(attempts=1_000_000 * step)) for step in range(3)]
    idle = [report(NOW - RATE_MS + step * 10_000, crm=lane(attempts=2_000_000)) for step in range(7)]
    (state,) = fleet(*((b"worker/a", each) for each in (*old, *idle))).destinations(NOW, ["crm"])
    assert state.rate_per_s == 0.0


def test_drain_time_needs_a_rate():
    assert drain_ms(0, None, None) == 0
    assert drain_ms(100, 50.0, 10.0) == 2_000
    assert drain_ms(100, 0.0, 10.0) == 10_000
    assert drain_ms(100, None, None) is None


def test_logs_that_wait_are_told_and_reports_of_earlier_releases_have_none():
    told = orjson.dumps(orjson.loads(report()) | {"stuck": [["g.ordered.stage", 3, 1_000, 2]]})
    seen = fleet((b"worker/a", told), (b"worker/b", report()))
    assert [each.stuck for each in seen.alive(NOW)] == [(Stuck("g.ordered.stage", 3, 1_000, 2),), ()]


def test_misses_of_live_workers_add_up_most_first():
    def told(*misses: list, ms: int = NOW) -> bytes:
        return orjson.dumps({**orjson.loads(report(ms)), "misses": misses})

    seen = fleet(
        (b"worker/a", told(["condition", "welcome", "trigger.when", 2], ["type", "signup.completed", "in", 9])),
        (b"worker/b", told(["condition", "welcome", "trigger.when", 3])),
        (b"worker/c", told(["condition", "welcome", "trigger.when", 100], ms=NOW - STALE_MS - 1)),
        (b"worker/d", report()),  # of a release that did not tell
    )
    assert [(each.kind, each.name, each.place, each.count) for each in seen.misses(NOW)] == [
        ("type", "signup.completed", "in", 9), ("condition", "welcome", "trigger.when", 5),
    ]  # fmt: skip


def test_when_a_destination_was_last_good_outlives_the_workers_that_knew() -> None:
    said = orjson.dumps({"last_good": at(NOW - 7)})
    seen = fleet((b"destination/crm", said), (b"destination/crm", b"{"), (b"worker/a", report(crm=lane(good=NOW - 9))))
    (state,) = seen.destinations(NOW, ["crm"])
    assert state.last_good_ms == NOW - 7
    killed = fleet((b"worker/a", report(NOW - STALE_MS - 1, crm=lane(good=NOW - 9))))
    (state,) = killed.destinations(NOW, ["crm"])
    assert (state.state, state.last_good_ms) == ("unknown", NOW - 9)


def test_a_worker_obeys_what_it_has_applied() -> None:
    told = orjson.dumps({**orjson.loads(report()), "applied": {"0": 5}})
    (worker,) = fleet((b"worker/a", told)).alive(NOW)
    assert (worker.obeys({0: 5}), worker.obeys({0: 6}), worker.obeys({1: 0})) == (True, False, False)
    (before,) = fleet((b"worker/a", report())).alive(NOW)  # of a version that does not say
    assert not before.obeys({0: 0})


def test_a_worker_gone_for_long_is_not_named() -> None:
    assert fleet((b"worker/a", report(NOW - GONE_MS - 1))).stale(NOW) == ()
