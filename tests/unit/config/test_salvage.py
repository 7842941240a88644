"""What is broken hides nothing else, and is told once: what names it is not told as well."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING

import pytest

from pipeline.config import compile as compiler
from pipeline.config.load import examine

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

READERS = {"hookline.LifecycleEvent": json.loads(pathlib.Path("schemas/lifecycle_event.avsc").read_text("utf-8"))}
WELCOME, CRM = "journeys/welcome.yaml", "destinations/crm.yaml"
TYPO = "    when: event.customer.nope == ''\n"


def all_problems(folder: Folder) -> list[str]:
    """What loading and compiling say together."""
    config, problems = examine(folder.root, None)
    found = [*problems, *(compiler.check(config, READERS) if config else ())]
    return sorted(f"{each.file}: {each.field}" for each in found)


@pytest.mark.parametrize(
    ("file", "before", "after", "cause"),
    [
        (WELCOME, "call: crm.note", "call: crn.note", f"{WELCOME}: steps[0].call"),
        (WELCOME, "call: crm.note", "call: crm.nota", f"{WELCOME}: steps[0].call"),
        (WELCOME, "status: live", "status: on", f"{WELCOME}: status"),
        (WELCOME, "kind: update", "kind: updaet", f"{WELCOME}: steps[0].kind"),
        (WELCOME, "    kind: update\n", "", f"{WELCOME}: steps[0]"),
        (WELCOME, "kind: update", "kind: decide", f"{WELCOME}: steps[0]"),
        (WELCOME, "kind: update", "kind: update\n    budget: 1s", f"{WELCOME}: steps[0]"),
        (WELCOME, "max_age: 2h", "max_age: 2", f"{WELCOME}: trigger.max_age"),
        (WELCOME, "goal: Say hello\n", "", f"{WELCOME}: goal"),
        (WELCOME, "journey: welcome", "journey: hello", f"{WELCOME}: journey"),
        (CRM, "receives: [identifier]", "receives: [identity]", f"{CRM}: receives[0]"),
        (CRM, "idempotency: delivery_id", "idempotency: maybe", f"{CRM}: idempotency"),
        (CRM, "note: {path: /notes}", "note: {path: notes}", f"{CRM}: operations.note.path"),
        (CRM, "/notes}", "/notes, request_schema: contracts/a.json}", f"{CRM}: operations.note.request_schema"),
        ("hookline.yaml", "group: shop", "group: a/b", "hookline.yaml: group"),
        ("hookline.yaml", "  bootstrap: env:KAFKA_BOOTSTRAP", "  bootstrp: a:1", "hookline.yaml: kafka.bootstrp"),
    ],
)
def test_an_expression_is_compiled_beside_what_is_broken(
    orders: Folder, file: str, before: str, after: str, cause: str
) -> None:
    orders.write("hookline.yaml", ORDERS).write(WELCOME, JOURNEY).change(file, before, after)
    orders.add(WELCOME, TYPO)
    assert all_problems(orders) == sorted([cause, f"{WELCOME}: steps[0].when"])


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ("purposes: [marketing, service]", "purpose: [marketing, service]", "hookline.yaml: purpose"),
        ("  - topic: lifecycle.events", "  - topc: lifecycle.events", "hookline.yaml: events[0].topc"),
    ],
)
def test_what_others_are_checked_against_is_not_guessed(folder: Folder, before: str, after: str, cause: str) -> None:
    folder.change(WELCOME, "basis: contract", "basis: legitimate_interest\npurpose: service")
    folder.change("hookline.yaml", before, after)
    assert all_problems(folder) == [cause]


def test_edges_of_a_step_that_was_taken_for_an_update_are_not_doubted(folder: Folder) -> None:
    folder.change(WELCOME, "kind: update", "kind: decied")
    folder.add(WELCOME, "  - {step: b, after: {hello: [defaulted]}, call: crm.note, kind: update, payload: {a: 1}}\n")
    assert all_problems(folder) == [f"{WELCOME}: steps[0].kind"]


def test_tables_of_a_shared_file_that_could_not_be_read_are_not_missed(folder: Folder) -> None:
    folder.add(WELCOME, "      level: ${tables.levels.gold}\n").write("shared/a.yaml", "tables: [")
    assert all_problems(folder) == ["shared/a.yaml: "]


def test_one_wrong_way_to_authenticate_is_one_problem(folder: Folder) -> None:
    folder.add(CRM, "auth: {type: bearer, token: env:T}\n")
    problem = f"{CRM}:8:8: auth.type: is no key: the way itself is the key (write bearer: {{token: env:NAME}})"
    assert folder.problem() == problem


ORDERS = """\
group: shop
kafka:
  bootstrap: env:KAFKA_BOOTSTRAP
events:
  - topic: lifecycle.events
    record: hookline.LifecycleEvent
purposes: [marketing, service]
"""
JOURNEY = """\
journey: welcome
status: live
owner: lifecycle@shop.example
goal: Say hello
category: service
basis: contract
trigger: {events: [signup.completed], max_age: 2h}
steps:
  - step: hello
    call: crm.note
    kind: update
    payload: {customer: "${event.customer.id}"}
"""


def test_answers_of_what_could_not_be_read_are_not_missed(folder: Folder) -> None:
    folder.add(
        WELCOME,
        "  - {step: ask, call: nobody.ask, kind: enrich, payload: {a: 1}}\n"
        "  - {step: ours, mark: {unsuppress: {id: '${steps.ask.response.code}'}}, after: ask}\n",
    )
    assert all_problems(folder) == [f"{WELCOME}: steps[1].call"]
