"""Cases are checked before they are played: names, outcomes, and nobody real in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config.cases import earlier, merged
from tests.unit.config.conftest import DESTINATION, JOURNEY

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CASES = """\
journey: welcome
event:
  type: signup.completed
  time: 2026-11-23T10:00:00Z
  customer: {id: c-1}
cases:
  - case: hello is said
    now: 2026-11-23T10:00:01Z
    answers: {hello: {status: 200}}
    expect:
      outcomes: {hello: delivered}
      requests: {hello: {body: {customer: c-1}}}
"""


@pytest.fixture
def welcome(folder: Folder) -> Folder:
    return folder.write("journeys/welcome.yaml", JOURNEY).write("destinations/crm.yaml", DESTINATION)


def test_cases_are_part_of_the_configuration(welcome: Folder) -> None:
    (case,) = welcome.write("tests/hello.yaml", CASES).load().cases["hello"].cases
    assert case.name == "hello is said"
    assert case.expect.outcomes == {"hello": "delivered"}


CUSTOMER = "customer: {id: c-1}"
ADDRESS = "may be a real person's address (use an address under example.com"
PHONE = "may be a real person's phone number (use a number set aside for fiction"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("journey: welcome", "journey: welcom", "1:10: journey: there is no such journey (did you mean welcome)"),
        ("answers: {hello", "answers: {helo", "9:15: cases[0].answers.helo: the journey has no such step (did you"),
        ("outcomes: {hello", "outcomes: {bye", "cases[0].expect.outcomes.bye: the journey has no such step"),
        ("hello: delivered", "hello: sent", "11:25: cases[0].expect.outcomes.hello: must be an outcome"),
        ("hello: delivered", "hello: skipped(consnt)", "has no such reason (did you mean consent)"),
        ("hello: delivered", "hello: dead(consent)", "has no such class"),
        ("now: 2026-11-23T10:00:01Z", "now: tomorrow", "8:10: cases[0].now: must be a time with its zone"),
        ("{status: 200}", "{status: 200, fail: timeout}", "says what fails and what is answered"),
        (
            "answers:",
            "given: {suppressions: [{channel: sms, journey: x}]}\n    answers:",
            "must say what is suppressed",
        ),
        ("answers:", "given: {holdout: in}\n    answers:", "cases[0].given.holdout: the journey holds nobody out"),
        ("answers:", "given: {rollout: out}\n    answers:", "cases[0].given.rollout: the journey keeps nobody from"),
        ("answers:", "given: {rollout: half}\n    answers:", "cases[0].given.rollout: must be"),
        ("{status: 200}", "{status: 99}", "must be at least 200"),
        (CUSTOMER, "customer: {id: c-1, email: ann@acme-shoes.com}", f"5:30: event.customer.email: {ADDRESS}"),
        ("{customer: c-1}", "{customer: Ann <ann@gmail.com>}", f"requests.hello.body.customer: {ADDRESS}"),
        (CUSTOMER, "customer: {id: c-1, phone: '+49 171 5550123'}", f"5:30: event.customer.phone: {PHONE}"),
        (CUSTOMER, "customer: {id: c-1, phone: 0171 5550123}", f"5:30: event.customer.phone: {PHONE}"),
        (CUSTOMER, f"{CUSTOMER}\n  properties: {{note: call +1 212 736 5000}}", f"event.properties.note: {PHONE}"),
    ],
)
def test_what_is_refused(welcome: Folder, before: str, after: str, expected: str) -> None:
    assert before in CASES
    problems = welcome.write("tests/hello.yaml", CASES.replace(before, after)).problems()
    assert any(expected in str(each) for each in problems), list(map(str, problems))
    assert not any(name in str(each) for each in problems for name in ("acme", "gmail", "5550123", "736"))


def test_a_step_that_is_left_out_is_missed(welcome: Folder) -> None:
    second = JOURNEY + "  - step: bye\n    call: crm.note\n    kind: update\n    payload: {a: b}\n"
    welcome.write("journeys/welcome.yaml", second)
    assert "leaves out bye (name every step)" in str(welcome.write("tests/hello.yaml", CASES).problem())


def test_two_cases_of_one_name(welcome: Folder) -> None:
    again = CASES + "  - case: hello is said\n    expect: {outcomes: {}}\n"
    assert "is here twice (see cases[0])" in str(welcome.write("tests/hello.yaml", again).problem())


@pytest.mark.parametrize(
    "customer",
    [
        "{id: c-1, email: ann@example.org, phone: +1 202 555 0123}",
        "{id: c-1, email: ann@mail.shop.example, phone: +44 7700 900123}",
        "{id: c-1, email: ann@shop.test, phone: +49 30 23125 123}",
        "{id: c-1, email: not-an-address, phone: '12345'}",
        "{id: ann@example.com, phone: +61 491 570 156}",
    ],
)
def test_addresses_and_numbers_for_examples(welcome: Folder, customer: str) -> None:
    welcome.write("tests/hello.yaml", CASES.replace("{id: c-1}\n", f"{customer}\n")).load()


def test_events_are_laid_over_each_other() -> None:
    base = {"type": "a", "id": "1", "properties": {"x": 1, "y": {"z": 2}}, "customer": {"id": "c"}}
    assert merged(base, {"properties": {"x": None, "y": {"w": 3}}}) == base | {"properties": {"y": {"z": 2, "w": 3}}}
    assert merged(base, {"new": {"a": None, "b": 1}})["new"] == {"b": 1}
    assert earlier(base, {"type": "b"}) == {"type": "b", "customer": {"id": "c"}}
