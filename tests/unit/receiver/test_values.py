"""What a refusal tells the sender, and that each status means to Hookline what it is meant to."""

from __future__ import annotations

import json

import pytest

from pipeline.core import verdict
from pipeline.model import Answer, RetryPolicy
from pipeline.receiver import values
from pipeline.receiver.values import Reason, Refused, Violation, invalid

POLICY = RetryPolicy(8, 86_400_000, retry_ambiguous=True, tiers_ms=(10_000,), on_status={})
REFUSALS = [each for each in vars(values).values() if isinstance(each, Refused)]
MEANT = {
    Reason.SIGNATURE: verdict.Hold,
    Reason.TIMESTAMP: verdict.Hold,
    Reason.DELIVERY_ID: verdict.Rejected,
    Reason.SCHEMA: verdict.Rejected,
    Reason.BODY: verdict.Rejected,
    Reason.TOO_LARGE: verdict.Rejected,
    Reason.SLOW_BODY: verdict.RetryAt,
    Reason.RUNNING: verdict.RetryAt,
    Reason.STORE: verdict.RetryAt,
    Reason.HANDLER_TIMEOUT: verdict.RetryAt,
}


def judged(reply, now_ms=0):
    after = dict(reply.headers).get("retry-after", "")
    return verdict.judge(Answer(reply.status, after), 1, POLICY, now_ms, 10**12, 0.0)


@pytest.mark.parametrize("refused", [*REFUSALS, invalid(())])
def test_hookline_understands_each_refusal_as_meant(refused):
    ruling = judged(refused.reply())
    assert type(ruling) is MEANT[refused.reason]
    if refused.retry_after_s:
        assert ruling.due_ms >= refused.retry_after_s * 1_000


def test_every_reason_is_used_and_a_repeat_is_a_success():
    assert {each.reason for each in REFUSALS} | {invalid(()).reason} == set(Reason)
    assert isinstance(judged(values.REPEAT), verdict.Delivered)


def test_a_refusal_is_told_as_problem_details():
    reply = invalid((Violation("/total", "type"),)).reply()
    assert dict(reply.headers) == {"content-type": "application/problem+json"}
    assert json.loads(reply.body) == {
        "title": "The body breaks the schema.",
        "status": 422,
        "reason": "schema",
        "violations": [{"path": "/total", "rule": "type"}],
    }
    assert dict(values.RUNNING.reply().headers)["retry-after"] == str(values.RETRY_AFTER_S)
