"""The examples are whole: contracts, cases and a killed worker in each, and services that keep to the contracts."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.cli.demo import story
from pipeline.config.load import load

EXAMPLES = pathlib.Path("docs/examples")
NAMES = ("cart_abandonment", "churn_risk", "trial_to_paid", "unsubscribe_everywhere")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def services(example: str) -> ModuleType:
    before = sys.path[:]
    spec = importlib.util.spec_from_file_location(f"services_of_{example}", EXAMPLES / example / "services.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def contract(example: str, file: str) -> Any:
    return load(EXAMPLES / example / "config", None).contracts[f"contracts/{file}.json"]


def test_its_cases_come_out(name: str) -> None:
    assert main(["test", "--config", str(EXAMPLES / name / "config")]) == 0


def test_every_journey_has_cases_one_of_which_delivers_something(name: str) -> None:
    config = load(EXAMPLES / name / "config", None)
    delivering = {
        file.journey
        for file in config.cases.values()
        if any("delivered" in case.expect.outcomes.values() for case in file.cases)
    }
    assert delivering == config.journeys.keys()


def test_a_worker_is_killed_between_two_steps(name: str) -> None:
    killing = [each for each in story.read(EXAMPLES / name).scenes if each.kill_worker is not None]
    assert len(killing) == 1
    step, outcome = killing[0].kill_worker or ("", "")
    assert outcome == "retrying"
    assert (killing[0].events[0].outcomes or {})[step] == "delivered"  # by the worker after it


def test_it_has_contracts_whose_examples_keep_them(name: str) -> None:
    contracts = load(EXAMPLES / name / "config", None).contracts
    assert contracts
    for each in contracts.values():
        assert isinstance(each.schema, dict)
        assert [flaw for example in each.schema.get("examples", []) if (flaw := each.at(())(example))] == []


def test_every_destination_says_where_and_how_long_it_keeps_what_it_gets(name: str) -> None:
    for each in load(EXAMPLES / name / "config", None).destinations.values():
        assert each.data.region
        assert each.data.retention


def test_its_pages_say_of_every_field_sent_how_long_it_is_kept(name: str, tmp_path: pathlib.Path) -> None:
    assert main(["pages", str(tmp_path / "pages"), "--config", str(EXAMPLES / name / "config")]) == 0
    for page in (tmp_path / "pages/journeys").iterdir():
        head, _, *fields = [
            line.split("|")[1:-1]
            for line in page.read_text().partition("## What is sent")[2].splitlines()
            if "|" in line
        ]
        assert [each.strip() for each in head][-2:] == ["region", "kept"]
        assert fields
        assert all(each[-1].strip().endswith("d") for each in fields)


@pytest.mark.parametrize(
    ("example", "operation", "handler"),
    [
        ("cart_abandonment", "promotions.issue_incentive", lambda of: of.Promotions().issue),
        ("churn_risk", "churn_model.score", lambda of: of.score),
        ("trial_to_paid", "crm.set_stage", lambda of: of.Accounts().set_stage),
        ("unsubscribe_everywhere", "crm.opt_out", lambda of: of.opted_out),
    ],
)
def test_what_a_service_answers_fits_its_contract(example: str, operation: str, handler: Any) -> None:
    asked = contract(example, f"{operation}.request").schema["examples"][0]
    request = SimpleNamespace(match_info={"account": "acc-1", "contact": "a-1"})
    _, answer = handler(services(example))(asked, request)
    flaw = contract(example, f"{operation}.response").at(())
    assert not flaw(answer)
    for key in answer:  # and the contract is about each of them
        assert flaw({**answer, key: [7]}), key
