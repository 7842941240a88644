"""How deliveries share a request, and what its answer means for each."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import batch
from pipeline.model import Answer, Failure, FailureClass

IDS = ("a", "b", "c")
BY_ORDER = batch.reader(batch.Results(("items",), ("status",)))
BY_ID = batch.reader(batch.Results((), ("code",), ("meta", "id")))
MISSING = Failure(FailureClass.CONTRACT, sent=True, detail="item_without_result")


def test_a_json_batch_is_an_array_of_the_bodies_in_order():
    assert json.loads(batch.body([b'{"n":1}', b'{"n":2}'], lines=False)) == [{"n": 1}, {"n": 2}]


def test_an_ndjson_batch_is_a_line_each():
    assert batch.body([b'{"n":1}', b'{"n":2}\n'], lines=True) == b'{"n":1}\n{"n":2}\n'


def test_company_shrinks_with_every_attempt_until_a_delivery_is_alone():
    assert [batch.company(attempts, 100) for attempts in range(5)] == [100, 25, 6, 1, 1]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refusal_of_the_content_is_split_until_one_is_left(status):
    assert batch.splits(Answer(status), 2)
    assert not batch.splits(Answer(status), 1)


@pytest.mark.parametrize("result", [Answer(200), Answer(401), Answer(404), Answer(410), Answer(503),
                                    Failure(FailureClass.TIMEOUT, sent=True)])  # fmt: skip
def test_nothing_else_is_split(result):
    assert not batch.splits(result, 100)


def test_without_results_all_share_the_answer():
    assert batch.each(Answer(503), IDS, BY_ORDER) == [Answer(503)] * 3
    assert batch.each(Answer(200, body=b"<html>"), IDS, BY_ORDER) == [Answer(200, body=b"<html>")] * 3
    assert batch.each(Answer(204), IDS, None) == [Answer(204)] * 3
    failure = Failure(FailureClass.TIMEOUT, sent=True)
    assert batch.each(failure, IDS, BY_ORDER) == [failure] * 3


def test_results_in_order():
    body = json.dumps({"items": [{"status": 200}, {"status": 422}, {"status": 503}]}).encode()
    assert batch.each(Answer(207, body=body), IDS, BY_ORDER) == [Answer(200), Answer(422), Answer(503)]


def test_results_by_delivery_id_in_any_order():
    body = json.dumps([{"meta": {"id": "c"}, "code": 409}, {"meta": {"id": "a"}, "code": 201}]).encode()
    assert batch.each(Answer(200, body=body), IDS, BY_ID) == [Answer(201), MISSING, Answer(409)]


def test_results_that_do_not_fit_the_request_say_nothing_of_any_item():
    body = json.dumps({"items": [{"status": 200}]}).encode()
    assert batch.each(Answer(200, body=body), IDS, BY_ORDER) == [MISSING] * 3


@pytest.mark.parametrize("status", ["200", None, True, 99, 600, 10**30, {}])
def test_a_status_that_is_none_leaves_its_item_without_result(status):
    body = json.dumps({"items": [{"status": status}] * 3}).encode()
    assert batch.each(Answer(200, body=body), IDS, BY_ORDER) == [MISSING] * 3


@given(st.recursive(st.none() | st.booleans() | st.integers(0, 700) | st.text(max_size=3),
                    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
                        st.sampled_from(["items", "status", "code", "meta", "id"]), inner, max_size=4)))  # fmt: skip
def test_whatever_a_receiver_answers_each_delivery_has_one_result(document):
    answer = Answer(200, body=json.dumps(document).encode())
    for read in (BY_ORDER, BY_ID):
        results = batch.each(answer, IDS, read)
        assert len(results) == len(IDS)
        assert all(isinstance(each, Answer | Failure) for each in results)
