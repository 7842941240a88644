"""`hookline backtest` over topics of a real Kafka: what would have come of it, nothing sent, nothing written."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pipeline.cli import main
from tests.support.folder import JOURNEY, write_folder

EVENT = {"type": "signup.completed", "customer": {"id": "c-1"}}
CONSENTED = (
    JOURNEY.replace("journey: welcome", "journey: news")
    .replace("status: live", "status: draft")
    .replace("basis: contract", "basis: consent\npurpose: service")
    .replace("kind: update", "kind: update\n    reaches: email")
    + "      note: ${event.properties.note}\n"
)


@pytest.fixture
def backtest(kafka, unique, tmp_path, capsys):
    """Publish events and play them back; returns exit code and report."""
    folder = write_folder(tmp_path / "shop", unique, f"{unique}.events", kafka.bootstrap)
    (folder / "journeys/news.yaml").write_text(CONSENTED)
    main_file = folder / "hookline.yaml"
    main_file.write_text(main_file.read_text() + "classes: {properties.note: public}\n")
    kafka.create_topic(f"{unique}.events", 3)
    assert main(["topics", "create", "--config", str(folder)]) == 0

    def run(events: list[dict], consent: list[dict], *args: str):
        for name, rows, more in (("events", events, ()), ("consent", consent, ("--table", "consent"))):
            file = tmp_path / f"{name}.jsonl"
            file.write_text("".join(json.dumps(each) + "\n" for each in rows))
            if rows:
                assert main(["produce", str(file), "--config", str(folder), *more]) == 0
        capsys.readouterr()
        code = main(["backtest", "--since", "1h", "--json", "--config", str(folder), *args])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_what_would_have_come_of_it(backtest, kafka, unique):
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    events = [
        EVENT
        | {"time": now, "customer": {"id": f"c-{number}"}, "properties": {"note": "x"} if number % 2 else {}}
        | ({"consent": {"email": "granted"}} if number < 10 else {})
        for number in range(30)
    ]
    code, report = backtest(events, [])
    assert code == 0
    steps = {each["journey"]: each for each in report["steps"]}
    assert report["records"] == 30
    assert steps["welcome"]["outcomes"] == {"delivered": 30}
    assert steps["news"]["outcomes"] == {"skipped(consent)": 20, "delivered": 5, "dead(missing_field)": 5}
    assert steps["news"]["missing_fields"] == {"note": 5}
    assert report["busiest_minute"]["crm"] >= 1
    for topic in ("outcomes", "dead", "retry.10s"):
        assert list(kafka.records(f"{unique}.{topic}")) == []
    assert kafka.committed(unique, f"{unique}.events") == {}


def test_who_was_erased_meanwhile_is_denied(backtest, tmp_path):
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    consented = {"time": now, "consent": {"email": "granted"}, "properties": {"note": "x"}}
    events = [EVENT | consented | {"customer": {"id": f"c-{number}"}} for number in range(5)]
    _, before = backtest(events, [])
    outcomes = {each["journey"]: each["outcomes"] for each in before["steps"]}
    assert outcomes == {"welcome": {"delivered": 5}, "news": {"delivered": 5}}
    assert main(["erase", "c-3", "--config", str(tmp_path / "shop")]) == 0
    _, after = backtest([], [])
    outcomes = {each["journey"]: each["outcomes"] for each in after["steps"]}
    assert outcomes == {name: {"delivered": 4, "skipped(erased)": 1} for name in ("welcome", "news")}


def test_only_one_journey_and_nothing_that_starts_it(backtest):
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    code, report = backtest([EVENT | {"time": now, "type": "other.happened"}], [], "--journey", "news")
    assert (code, report["steps"]) == (1, [])
    assert report["records_that_started_nothing"] == {"no_journey": 1}
