"""pipeline.cli: the commands there are, and what becomes of their errors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pipeline
from pipeline import cli
from pipeline.errors import BrokerError, ConfigError, TopicMissing
from pipeline.model import Problem

NAMES = [
    "demo", "run", "new", "validate", "fmt", "schema", "plan", "pages",
    "test", "render", "backtest",
    "produce", "topics", "trace", "status", "affected", "pause", "destination", "alert", "waiting",
    "dead", "erase", "account", "report",
    "simulate", "bench",
]  # fmt: skip


def test_every_command_is_there_and_explains_itself(capsys):
    assert [module.__name__.rpartition(".")[2] for module in cli.COMMANDS] == NAMES
    for name in NAMES:
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"usage: hookline {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv", [["unheard-of"], ["topics"], ["trace", " "], ["trace", "a\x1b[2J"], ["dead", "list", "--limit", "0"]]
)
def test_a_wrong_call_exits_with_2(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    assert "usage: hookline" in capsys.readouterr().err


def test_without_a_command_the_help_is_shown(capsys):
    assert cli.main([]) == 2
    shown = capsys.readouterr().out
    assert "usage: hookline" in shown
    assert all(f"\n    {name}" in shown for name in NAMES)


def test_the_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"hookline {pipeline.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError((Problem("hookline.yaml", 3, 1, "group", "is missing"),)), 2),
        (TopicMissing(("events",)), 2),
        (BrokerError("Kafka refused"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes_and_one_text(error, code, capsys, monkeypatch):
    def fail(_args):
        raise error

    monkeypatch.setattr("pipeline.cli.status.execute", fail)
    assert cli.main(["status"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.strip() == str(error)


def test_a_broker_that_does_not_answer_is_told_with_where_its_address_is_written(capsys, monkeypatch):
    def fail(_args):
        raise BrokerError("Kafka did not answer within 10 s")

    monkeypatch.setattr("pipeline.cli.status.execute", fail)
    assert cli.main(["status"]) == 1
    said, hint = capsys.readouterr().err.splitlines()
    assert said == "Kafka did not answer within 10 s"
    assert "kafka.bootstrap" in hint


def test_a_bug_is_not_hidden(monkeypatch):
    def fail(_args):
        raise ZeroDivisionError

    monkeypatch.setattr("pipeline.cli.status.execute", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["status"])


def test_a_reader_that_has_gone_is_no_error():
    script = "import sys; from pipeline import cli; from pipeline.cli import status\n"
    script += "status.execute = lambda args: print('x' * 1_000_000) or 0\nsys.exit(cli.main(['status']))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_does_not_load_what_commands_need():
    script = (
        "import sys; from pipeline import cli; cli.parser()\n"
        "print([m for m in ('confluent_kafka', 'pydantic', 'aiohttp', 'fastavro', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_run_does_not_guess_an_environment(tmp_path, capsys):
    assert cli.main(["run", "--config", str(tmp_path)]) == 2
    assert (
        "--env: is needed: an environment says what becomes of requests (begin with env/NAME" in capsys.readouterr().err
    )
    (tmp_path / "env").mkdir()
    for name in ("staging", "live"):
        (tmp_path / "env" / f"{name}.yaml").touch()
    assert cli.main(["run", "--config", str(tmp_path)]) == 2
    assert "(there are: live, staging)" in capsys.readouterr().err
