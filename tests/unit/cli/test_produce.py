"""What `hookline produce` decides before it talks to Kafka: its arguments, its topic, its refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline import cli
from pipeline.adapters.kafka import feed
from pipeline.cli.produce import Summary

if TYPE_CHECKING:
    from pathlib import Path

HOOKLINE = """\
group: shop
kafka: {bootstrap: "127.0.0.1:1"}
events:
  - topic: shop.orders
    record: shop.OrderPlaced
    id: ${record.id}
    type: purchase.completed
    time: ${record.at}
    customer: {id: "${record.buyer}"}
"""
OURS = "  - {topic: lifecycle.events, record: hookline.LifecycleEvent}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "hookline.yaml").write_text(HOOKLINE + OURS)
    return tmp_path


def produce(folder: Path, *more: str) -> int:
    return cli.main(["produce", str(folder / "events.txt"), "--config", str(folder / "config"), *more])


def write(folder: Path, text: str) -> None:
    (folder / "events.txt").write_text(text)


def test_wrong_lines_are_named_and_nothing_is_sent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "00001 19970101 1 11.77\n00001 19970101 x 11.77\n00001\n")
    assert produce(folder) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        f"{folder}/events.txt:2: number of CDs: must be a whole number",
        f"{folder}/events.txt:3: needs four columns: customer, date, number of CDs, dollars",
        "nothing was sent: 2 of 3 lines are no events",
    ]


def test_only_the_first_wrong_lines_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "x\n" * 500)
    assert produce(folder) == 1
    assert len(capsys.readouterr().err.splitlines()) == 22


def test_a_limit_looks_no_further(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "REACH_S", 0.2)
    write(folder, "00001 19970101 1 11.77\nnonsense\n")
    assert produce(folder, "--limit", "1") == 1
    assert capsys.readouterr().err.startswith("no Kafka answers")


def test_an_absent_file_is_a_usage_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert produce(folder) == 2
    assert "there is no such file" in capsys.readouterr().err


def test_without_a_topic_for_our_own_events_one_must_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "config" / "hookline.yaml").write_text(HOOKLINE)
    write(folder, "")
    assert produce(folder) == 2
    assert "--topic" in capsys.readouterr().err


def test_registry_framing_needs_a_registry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "00001 19970101 1 11.77\n")
    assert produce(folder, "--wire", "confluent") == 2
    assert "`registry` is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--consent", "email"], ["--consent", "email=yes"], ["--rate", "fast"], ["--limit", "0"]]
)
def test_wrong_arguments_are_usage_errors(folder: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        produce(folder, *wrong)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_complete_means_that_kafka_has_everything() -> None:
    def summary(**change: object) -> Summary:
        whole: dict[str, object] = {
            "topic": "t", "events": 3, "delivered": 3, "failed": {}, "unacked": 0, "seconds": 1.0, "interrupted": False,
        }  # fmt: skip
        return Summary(**{**whole, **change})  # type: ignore[arg-type]

    assert summary().complete
    assert not summary(delivered=2, failed={"_MSG_TIMED_OUT": 1}).complete
    assert not summary(delivered=2, unacked=1).complete
    assert not summary(interrupted=True).complete


def test_help_does_not_import_kafka() -> None:
    code = (
        "import sys; from pipeline import cli; cli.parser(); "
        "print([name for name in ('confluent_kafka', 'opentelemetry', 'fastavro', 'rich') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(told.stdout.replace("'", '"')) == []
