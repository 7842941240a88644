"""What a journey may say is read, and what it may not is refused at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.app.check import checked

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder


@pytest.mark.parametrize(
    ("when", "meant"),
    [("event.properties.n > 1", "event.properties.n > 1"), ("true", "true"), ("False", "false")],
)
def test_conditions(folder: Folder, when: str, meant: str) -> None:
    folder.change("journeys/welcome.yaml", "max_age: 2h", f"max_age: 2h\n  when: {when}")
    assert folder.load().journeys["welcome"].trigger.when == meant


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("${event.properties.ok}", "trigger.when: is an expression already (write it without ${ })"),
        ("1", "trigger.when: must be a CEL expression"),
        ("' '", "trigger.when: must be a CEL expression"),
        ("x" * 4_001, "trigger.when: must be at most 4000 characters"),
    ],
)
def test_conditions_that_are_refused(folder: Folder, when: str, expected: str) -> None:
    folder.change("journeys/welcome.yaml", "max_age: 2h", f"max_age: 2h\n  when: {when}")
    assert folder.problem() == f"journeys/welcome.yaml:10:9: {expected}"


def test_reaches_none_is_nobody(folder: Folder) -> None:
    folder.change("journeys/welcome.yaml", "kind: update", "kind: update\n    reaches: none")
    assert folder.load().journeys["welcome"].steps[0].reaches is None


@pytest.mark.parametrize(
    ("file_text", "field", "hint"),
    [
        ("quiet_hours: []\n", "quiet_hours", "it is a key of hookline.yaml, for all journeys"),
        ("caps: []\n", "caps", "it is a key of hookline.yaml, for all journeys"),
        ("when: event.properties.a == 1\n", "when", "it is a key of `trigger`"),
        ("once: {}\n", "once", "it is a key of `trigger`"),
        ("reaches: email\n", "reaches", "it is a key of a step"),
        ("    timeout: 2s\n", "steps[0].timeout", "it is a key of destinations/NAME.yaml"),
        ("    retry: {}\n", "steps[0].retry", "it is a key of destinations/NAME.yaml"),
        ("    quiet_hours: []\n", "steps[0].quiet_hours", "it is a key of hookline.yaml, for all journeys"),
        ("    channel: email\n", "steps[0].channel", "it is called `reaches`"),
        ("    wait: 2d\n", "steps[0].wait", "there is no step that waits: start another journey by a later event"),
    ],
)
def test_a_key_that_belongs_elsewhere_says_where(folder: Folder, file_text: str, field: str, hint: str) -> None:
    problem = folder.add("journeys/welcome.yaml", file_text).problem()
    assert problem.endswith(f": {field}: there is no such key ({hint})")


def test_a_key_of_the_trigger_beside_it_is_not_missed_as_well(folder: Folder) -> None:
    folder.change("journeys/welcome.yaml", "  max_age: 2h\n", "max_age: 2h\n")
    assert folder.problem().endswith("max_age: there is no such key (it is a key of `trigger`)")


@pytest.mark.parametrize("after", ["{hello: delivered}", "{hello: dead}"])
def test_outcomes_of_a_step_are_a_list(folder: Folder, after: str) -> None:
    folder.add("journeys/welcome.yaml", f"  - step: b\n    call: crm.note\n    kind: update\n    after: {after}\n")
    folder.add("journeys/welcome.yaml", "    payload: {a: 1}\n")
    outcome = after[8:-1]
    assert f"after: the outcomes of a step are a list (write {{hello: [{outcome}]}})" in folder.problem()


@pytest.mark.parametrize("lacking", ["budget: 1s, ", "default: {c: a}, ", "after"])
def test_a_decide_that_lacks_something_and_a_misspelt_edge_bring_no_second_problem(
    folder: Folder, lacking: str
) -> None:
    folder.change(
        "destinations/crm.yaml",
        "note: {path: /notes}",
        "note: {path: /n, response: {c: {at: /c, type: string, class: public}}}",
    )
    decide = "{step: d, call: crm.note, kind: decide, budget: 1s, default: {c: a}, payload: {a: 1}}".replace(
        lacking, ""
    )
    folder.add("journeys/welcome.yaml", f"  - {decide}\n  - step: b\n    call: crm.note\n    kind: update\n")
    folder.add(
        "journeys/welcome.yaml",
        f"    after: {'dd' if lacking == 'after' else 'd'}\n    payload: {{a: '${{steps.d.response.c}}'}}\n",
    )
    folder.add("hookline.yaml", "classes: {properties: public}\n")
    found = [str(each) for each in checked(folder.root, None)[1]]
    assert len(found) == 1, found
