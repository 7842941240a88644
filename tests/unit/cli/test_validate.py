"""`hookline validate` says what is wrong and where, as text or JSON, with an exit code."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

from pipeline.cli import main

CDNOW = pathlib.Path("tests/data/config/cdnow")


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(CDNOW, tmp_path / "cdnow"))


def change(file: pathlib.Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


@pytest.mark.parametrize("args", [[], ["--env", "test"]])
def test_a_valid_configuration(config: pathlib.Path, args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--config", str(config), *args]) == 0
    assert capsys.readouterr().out == "valid: 1 journey, 2 destinations, 1 topic\n"


def test_the_summary_as_json(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "problems": [],
        "summary": {"journeys": 1, "destinations": 2, "topics": 1},
    }


def test_problems(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(config / "destinations/crm.yaml", "timeout: 5s", "timeout: 5")
    change(config / "journeys/purchase_thanks.yaml", "status: live", "status: on")
    assert main(["validate", "--config", str(config)]) == 2
    printed = capsys.readouterr()
    assert printed.out == (
        "destinations/crm.yaml:8:10: timeout: needs a unit (such as 800ms, 2s, 10m, 1h or 7d)\n"
        "journeys/purchase_thanks.yaml:2:9: status: must be one of: draft, shadow, live, paused\n"
    )
    assert printed.err == "2 problems\n"


def test_what_the_compiler_finds_has_a_place_too(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(
        config / "journeys/purchase_thanks.yaml", "quantity: ${event.properties.quantity}", "quantity: ${event.nope}"
    )
    assert main(["validate", "--config", str(config), "--json"]) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["file"], problem["line"]) == ("journeys/purchase_thanks.yaml", 19)
    assert problem["field"] == "steps[0].payload.quantity"


def test_schemas_of_the_configuration_are_checked_too(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "schemas").mkdir()
    (config / "schemas/broken.avsc").write_text("{")
    change(config / "destinations/crm.yaml", "timeout: 5s", "timeout: 5")
    assert main(["validate", "--config", str(config)]) == 2
    out = capsys.readouterr().out
    assert "destinations/crm.yaml:8:10" in out
    assert "schemas/broken.avsc:1:2" in out


MAIL = """\
destination: mail
owner: mail@shop.example
base_url: https://localhost:8443
receives: [identifier]
timeout: 5
auth: {type: bearer, token: env:MAIL_TOKEN}
idempotency: delivery_id
operations:
  send: {path: /send, request_schema: contracts/mail.send.request.json}
"""
JOURNEY = """\
journey: NAME
status: live
owner: lifecycle@shop.example
goal: Say thanks
category: service
basis: contract
trigger: {events: [purchase.completed], max_age: 30d}
steps:
  - step: only
    call: warehouse.touchpoint
    kind: update
    payload: {customer: "${event.customer.id}", order_value: "${event.properties.order_value}"}
"""
MISTAKES = {
    "shape, beside what only the compiler finds": ("shape", "status: live", "status: lively"),
    "a condition that does not compile": ("shape", "max_age: 30d}", "max_age: 30d, when: event.customer.idd == ''}"),
    "a type error": ("kinds", "max_age: 30d}", "max_age: 30d, when: size(event.type) == 'a'}"),
    "a destination that is not there": ("gone", "warehouse.", "warehose."),
    "a condition beside that": ("gone", "kind: update", "kind: update\n    when: event.customer.idd == ''"),
    "an operation that is not there": ("operation", ".touchpoint", ".touchpiont"),
    "a whole object": ("whole", "${event.customer.id}", "${event.customer}"),
    "a purpose nobody named": ("purpose", "basis: contract", "basis: contract\npurpose: marketting"),
    "a secret in a payload": ("secret", "payload: {", "payload: {key: sk_live_0123456789, "),
}


def test_every_problem_of_every_stage_at_once_with_place_and_remedy(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fifteen mistakes in different files, found by different means: YAML, shape, contracts, agreement, CEL."""
    for name in {journey for journey, _, _ in MISTAKES.values()}:
        (config / f"journeys/{name}.yaml").write_text(JOURNEY.replace("NAME", name))
    for journey, before, after in MISTAKES.values():
        change(config / f"journeys/{journey}.yaml", before, after)
    (config / "destinations/mail.yaml").write_text(MAIL)  # localhost, a unit, auth, and a contract that is not there
    (config / "contracts").mkdir()
    (config / "contracts/mail.send.response.json").write_text('{\n  "properties": {"id": {"type": "strng"}}\n}\n')
    change(config / "journeys/purchase_thanks.yaml", "goal:", "owner: twice\ngoal:")
    assert main(["validate", "--config", str(config), "--json"]) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    told = [f"{each['file']}:{each['line']}: {each['field']}" for each in problems]
    assert told == [
        "contracts/mail.send.response.json:2: #/properties/id/type",
        "destinations/mail.yaml:3: base_url",
        "destinations/mail.yaml:5: timeout",
        "destinations/mail.yaml:6: auth.type",
        "destinations/mail.yaml:9: operations.send.request_schema",
        "journeys/gone.yaml:10: steps[0].call",
        "journeys/gone.yaml:12: steps[0].when",
        "journeys/kinds.yaml:7: trigger.when",
        "journeys/operation.yaml:10: steps[0].call",
        "journeys/purchase_thanks.yaml:4: owner",
        "journeys/purpose.yaml:7: purpose",
        "journeys/secret.yaml:12: steps[0].payload.key",
        "journeys/shape.yaml:2: status",
        "journeys/shape.yaml:7: trigger.when",
        "journeys/whole.yaml:12: steps[0].payload.customer",
    ]
    assert [each for each in problems if not (each["column"] > 0 and each["hint"])] == []


def test_a_stray_file_hides_nothing(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "journeys/old.yml").write_text("")
    change(config / "journeys/purchase_thanks.yaml", "${event.properties.quantity}", "${event.properties.quantiti}")
    assert main(["validate", "--config", str(config)]) == 2
    [stray, typo] = capsys.readouterr().out.splitlines()
    assert stray == "journeys/old.yml: is not a .yaml file (rename it to .yaml)"
    assert "journeys/purchase_thanks.yaml:19:" in typo


def test_no_configuration(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--config", str(tmp_path)]) == 2
    assert "hookline.yaml: is missing from the configuration folder" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["hookline", "journey", "destination", "shared", "env", "test"])
def test_schemas_for_editors(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--schema", kind]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
