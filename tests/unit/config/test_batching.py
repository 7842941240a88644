"""With what batches are sent, from the configuration to compiled steps."""

from __future__ import annotations

import json

import pytest

from pipeline.config.request import Requests
from pipeline.config.secrets import Secrets
from pipeline.model import Answer, Broken

CRM = "destinations/crm.yaml"
BULK = """\
  note:
    path: /notes
    metadata: headers_and_body
    batch: {max_events: 9, max_bytes: 1KiB, max_wait: 2s, results: {at: /items, status: /code, id: /id}}
"""


@pytest.fixture
def requests(folder) -> Requests:
    made = folder.change(CRM, "  note: {path: /notes}\n", BULK)
    return Requests(made.load(), Secrets(made.root))


def test_one_policy_for_all_steps_of_an_operation(requests) -> None:
    policy = requests.batch("crm.note")
    assert policy is not None
    assert policy is requests.batch("crm.note")
    assert (policy.events_max, policy.bytes_max, policy.wait_ms, policy.lines) == (9, 1_024, 2_000, False)


def test_a_batch_is_nobodys_own_and_never_waits_in_the_process(requests) -> None:
    step = requests.batch("crm.note").step
    head = step.head("batch-id", b"hookline-batch-size: 2\r\n", "00-a-b-00", 0, b"[]", b"")
    assert b"webhook-id: batch-id\r\n" in head
    assert b"hookline-batch-size: 2\r\n" in head
    assert b"hookline-journey" not in head
    assert step.retry.in_process_ms == ()


def test_the_answer_is_kept_for_its_results_or_breaks_the_contract(requests) -> None:
    policy = requests.batch("crm.note")
    good = Answer(200, "", json.dumps({"items": [{"id": "a", "code": 201}]}).encode())
    assert policy.step.response(good) == {"answer": good}
    assert policy.read(good.body, ["a"]) == [Answer(201)]
    assert policy.step.response(Answer(200, "", b"<html>")) == Broken("results")
    assert policy.step.keep_bytes == 65_536


def test_operations_without_batch_have_none(folder) -> None:
    assert Requests(folder.load(), Secrets(folder.root)).batch("crm.note") is None
