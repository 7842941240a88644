"""`hookline new` writes files that are valid as they are, whatever the operation wants, and never over another."""

from __future__ import annotations

import builtins
import json
import pathlib
import shutil
import sys

import pytest

from pipeline.cli import main, new
from pipeline.config.load import load

CDNOW = pathlib.Path("tests/data/config/cdnow")
CONTRACT = {
    "required": ["name", "level", "lines", "address", "ok", "count"],
    "properties": {
        "level": {"enum": ["gold", "silver"]},
        "lines": {"type": "array"},
        "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
        "ok": {"type": "boolean"},
        "count": {"type": "integer", "minimum": 1},
    },
}


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(CDNOW, tmp_path / "cdnow"))


def test_a_destination_and_a_journey_that_calls_it(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--config", str(config)]
    assert main(["new", "destination", "help_desk", "--owner", "support@shop.example", *where]) == 0
    assert main(["new", "journey", "calm_down", "--call", "help_desk.send", "--event", "ticket.opened", *where]) == 0
    assert capsys.readouterr().out == (
        "destinations/help_desk.yaml is there\njourneys/calm_down.yaml is there\ntests/calm_down.yaml is there\n"
    )
    assert main(["validate", *where]) == 0
    assert main(["fmt", "--check", *where]) == 0
    assert main(["test", "calm_down", *where]) == 0
    assert "3 of 3 cases came out as expected" in capsys.readouterr().out
    made = load(config, None)
    assert made.destinations["help_desk"].owner == "support@shop.example"
    assert (made.journeys["calm_down"].status, made.journeys["calm_down"].trigger.events) == (
        "draft",
        ("ticket.opened",),
    )


@pytest.mark.parametrize(
    "operation",
    [
        '{path: "/orders/{order}/notes"}',
        '{method: DELETE, path: "/orders/{order}", body: none}',
        "{method: GET, path: /ping, body: none}",
        "{path: /form, body: form}",
        "{path: /x, request_schema: contracts/crm.x.request.json}",
    ],
)
def test_whatever_the_operation_wants(config: pathlib.Path, operation: str, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "contracts").mkdir()
    (config / "contracts/crm.x.request.json").write_text(json.dumps(CONTRACT))
    crm = config / "destinations/crm.yaml"
    crm.write_text(crm.read_text() + f"  x: {operation}\n")
    where = ["--config", str(config)]
    assert (
        main(["new", "journey", "a", "--call", "crm.x", "--owner", "Ann: of 'sales'", "--goal", "1: x # y", *where])
        == 0
    )
    assert main(["validate", *where]) == 0, capsys.readouterr().out
    assert main(["fmt", "--check", *where]) == 0
    assert main(["test", "a", *where]) == 0, capsys.readouterr().out
    assert (load(config, None).journeys["a"].owner, load(config, None).journeys["a"].goal) == (
        "Ann: of 'sales'",
        "1: x # y",
    )


def test_what_a_contract_wants_beyond_that_is_said(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "contracts").mkdir()
    narrow = {"required": ["code"], "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}$"}}}
    (config / "contracts/crm.x.request.json").write_text(json.dumps(narrow))
    crm = config / "destinations/crm.yaml"
    crm.write_text(crm.read_text() + "  x: {request_schema: contracts/crm.x.request.json}\n")
    assert main(["new", "journey", "a", "--call", "crm.x", "--config", str(config)]) == 1
    assert "journeys/a.yaml:" in (said := capsys.readouterr().err)
    assert "steps[0].payload.code: breaks its contract: pattern" in said


def test_on_a_terminal_it_asks(config: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers = iter(["warehouse.touchpoint", "order.placed", "", "Tell the warehouse"])

    def answer(question: str) -> str:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr(builtins, "input", answer)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert main(["new", "journey", "told", "--config", str(config)]) == 0
    assert len(asked) == 4
    made = load(config, None).journeys["told"]
    assert (made.steps[0].call, made.trigger.events, made.owner, made.goal) == (
        "warehouse.touchpoint", ("order.placed",), new.OWNER, "Tell the warehouse",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["journey", "purchase_thanks"], "journeys/purchase_thanks.yaml is there already"),
        (["journey", "a", "--call", "crm.nope"], "there is no such operation (there are: crm."),
        (["destination", "crm"], "destinations/crm.yaml is there already"),
    ],
)
def test_refused(config: pathlib.Path, args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in config.rglob("*.yaml")}
    assert main(["new", *args, "--config", str(config)]) == 2
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in config.rglob("*.yaml")} == before


def test_a_name_is_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["new", "journey", "../a"])
    assert ended.value.code == 2
    assert "must be lower-case letters" in capsys.readouterr().err


def test_the_first_thing_is_a_destination(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(config / "destinations")
    shutil.rmtree(config / "journeys")
    shutil.rmtree(config / "env")
    assert main(["new", "journey", "a", "--config", str(config)]) == 2
    assert "hookline new destination NAME" in capsys.readouterr().err
