"""A change touches the runs that still have to do with it, and says why."""

from __future__ import annotations

import pathlib
import shutil

import pytest

from pipeline.config import files
from pipeline.config.difference import Side, difference
from pipeline.config.load import load
from pipeline.config.touching import reasons

EXAMPLES = pathlib.Path("docs/examples")
TRIAL = "trial_to_paid"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(EXAMPLES / TRIAL / "config", tmp_path / "new"))


def side(folder: pathlib.Path) -> Side:
    return Side(load(folder, None), files.read(folder).trees, ())


def why(folder: pathlib.Path, example: str = TRIAL) -> dict[tuple[str, str], tuple[str, ...]]:
    old = side(EXAMPLES / example / "config")
    return reasons(old.config, difference(old, side(folder)))


def change(file: pathlib.Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def test_nothing(folder: pathlib.Path) -> None:
    assert why(folder) == {}


def test_a_destination_touches_those_that_wait_for_it_and_those_that_will_come_to_it(folder: pathlib.Path) -> None:
    change(folder / "destinations/mail.yaml", "timeout: 5s", "timeout: 9s")
    told = ("destination mail changed",)
    assert why(folder) == {(TRIAL, "stage"): told, (TRIAL, "nurture"): told}


def test_one_that_was_called_already_touches_nobody(folder: pathlib.Path) -> None:
    change(folder / "destinations/crm.yaml", "timeout: 5s", "timeout: 9s")
    assert why(folder) == {(TRIAL, "stage"): ("destination crm changed",)}


def test_a_table_touches_those_who_will_read_it(folder: pathlib.Path) -> None:
    change(folder / "shared/milestones.yaml", "talk_to_sales", "talk_to_us")
    assert why(folder) == dict.fromkeys([(TRIAL, "stage"), (TRIAL, "nurture")], ("table nurture changed",))
    change(folder / "shared/milestones.yaml", "trial.project_created: project", "trial.project_created: source")
    assert why(folder)[TRIAL, "stage"] == ("table milestone changed", "table nurture changed")
    assert why(folder)[TRIAL, "nurture"] == ("table nurture changed",)


def test_a_contract_touches_those_whose_requests_or_answers_are_held_to_it(folder: pathlib.Path) -> None:
    change(folder / "contracts/crm.set_stage.response.json", '"required": ["data"]', '"required": ["data", "at"]')
    assert why(folder) == {(TRIAL, "stage"): ("contract contracts/crm.set_stage.response.json changed",)}


def test_a_changed_journey_touches_all_of_its_runs_and_the_rest_is_said_too(folder: pathlib.Path) -> None:
    change(folder / "journeys/trial_to_paid.yaml", "owner: growth@", "owner: sales@")
    change(folder / "destinations/crm.yaml", "timeout: 5s", "timeout: 9s")
    journey = f"journey {TRIAL} changed"
    assert why(folder) == {(TRIAL, "stage"): (journey, "destination crm changed"), (TRIAL, "nurture"): (journey,)}


def test_other_branches_are_not_touched(tmp_path: pathlib.Path) -> None:
    folder = pathlib.Path(shutil.copytree(EXAMPLES / "churn_risk/config", tmp_path / "churn"))
    change(folder / "destinations/helpdesk.yaml", "timeout: 5s", "timeout: 9s")
    touched = why(folder, "churn_risk")
    assert set(touched) == {("churn_risk", "score"), ("churn_risk", "ticket")}  # not help, which goes on beside it


def test_a_look_up_touches_those_who_will_read_it(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    lookups = "lookups: {ids: {topic: crm.ids, fields: {account: {at: /account, type: string, class: identifier}}}}\n"
    main = folder / "hookline.yaml"
    main.write_text(main.read_text() + lookups)
    change(
        folder / "journeys/trial_to_paid.yaml", "account: ${event.customer.ids.crm}", "account: ${tables.ids.account}"
    )
    before = side(pathlib.Path(shutil.copytree(folder, tmp_path / "before")))
    change(main, "/account", "/id")
    touched = reasons(before.config, difference(before, side(folder)))
    assert touched == {(TRIAL, "stage"): ("look-up ids changed",)}
