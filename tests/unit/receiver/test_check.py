"""What is asked of a request, in which order, and what an accepted one tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import payload
from pipeline.model import Trace
from pipeline.receiver import Reason, github, standard_webhooks
from pipeline.receiver.check import ID_CHARS_MAX, TEXT_CHARS_MAX, Check
from pipeline.receiver.schema import compiled
from pipeline.receiver.values import Accepted, Refused
from tests.support import requests

NOW = 1_700_000_000
SIGNED = Check(standard_webhooks([requests.secret(1)]))


def taken(check=SIGNED, body=requests.BODY, **changed):
    return check(requests.signed(body, now_s=NOW) | changed, body, NOW)


def test_an_accepted_request_tells_which_delivery_of_which_event_it_is():
    headers = requests.signed(delivery_id="d-1", now_s=NOW)
    assert SIGNED(headers, requests.BODY, NOW) == Accepted(
        delivery_id="d-1",
        event_id=requests.EVENT_ID,
        event_type="order.placed",
        event_time="2026-11-23T10:00:00.007Z",
        journey="order_thanks",
        step="mail",
        trace=Trace(requests.TRACE_ID, requests.SPAN_ID, sampled=True),
        body=requests.BODY,
    )
    assert SIGNED(headers, requests.BODY, NOW).json() == {"customer": "c-1", "total": 5}


def test_header_names_may_have_any_case_and_come_as_pairs():
    headers = requests.signed(now_s=NOW)
    shouted = [(name.upper(), content) for name, content in headers.items()]
    assert SIGNED(shouted, requests.BODY, NOW) == SIGNED(headers, requests.BODY, NOW)


def test_a_header_sent_twice_is_not_chosen_from():
    good, another = list(requests.signed(now_s=NOW).items()), ("webhook-id", "another")
    for pairs in ([*good, another], [another, *good]):
        assert SIGNED(pairs, requests.BODY, NOW).reason is Reason.SIGNATURE


def test_the_signature_is_asked_before_the_schema():
    check = Check(standard_webhooks([requests.secret(1)]), validate=compiled(False))
    assert taken(check).reason is Reason.SCHEMA
    assert taken(check, **{"webhook-id": "forged"}).reason is Reason.SIGNATURE


@pytest.mark.parametrize("name", ["", "x" * (ID_CHARS_MAX + 1)])
def test_a_delivery_that_cannot_be_named_is_refused(name):
    headers = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    asked = github(["It's a Secret to Everybody"])
    check = Check(asked, id_header="X-GitHub-Delivery")
    refused = check(headers | {"x-github-delivery": name}, b"Hello, World!", NOW)
    assert (refused.status, refused.reason) == (400, Reason.DELIVERY_ID)
    assert check(headers | {"x-github-delivery": "g-1"}, b"Hello, World!", NOW).delivery_id == "g-1"
    unnamed = Check(asked, needs_id=False)(headers, b"Hello, World!", NOW)
    assert (unnamed.delivery_id, unnamed.event_id) == ("", "")


@given(st.text(min_size=1, max_size=100))
def test_event_ids_come_through_whatever_is_in_them(event_id):
    sent = payload.header_text(event_id).decode("ascii")
    back = taken(**{"hookline-event-id": sent}).event_id
    assert back == event_id.encode("utf-8", "replace").decode() or "\ufffd" in back  # surrogates have no UTF-8
    assert len(taken(**{"hookline-event-id": "x" * 5_000}).event_id) == TEXT_CHARS_MAX


@pytest.mark.parametrize(
    ("traceparent", "state", "trace"),
    [
        (f"00-{requests.TRACE_ID}-{requests.SPAN_ID}-00", "", (requests.TRACE_ID, requests.SPAN_ID, False, "")),
        (f"00-{requests.TRACE_ID}-{requests.SPAN_ID}-01", "a=1", (requests.TRACE_ID, requests.SPAN_ID, True, "a=1")),
        (f"00-{requests.TRACE_ID}-{requests.SPAN_ID}-01", "x" * 513, (requests.TRACE_ID, requests.SPAN_ID, True, "")),
        (f"00-{'0' * 32}-{requests.SPAN_ID}-01", "a=1", ("", "", False, "")),
        (f"ff-{requests.TRACE_ID}-{requests.SPAN_ID}-01", "", ("", "", False, "")),
        ("\u00e9\ud800", "", ("", "", False, "")),
        ("", "a=1", ("", "", False, "")),
    ],
)
def test_the_trace_is_continued_where_there_is_one(traceparent, state, trace):
    found = taken(traceparent=traceparent, tracestate=state).trace
    assert (found.trace_id, found.parent_id, found.sampled, found.state) == trace


@given(st.dictionaries(st.text(), st.text()), st.binary(max_size=50), st.floats(allow_nan=False, allow_infinity=False))
def test_nothing_that_comes_raises(headers, body, now_s):
    assert isinstance(SIGNED(headers, body, now_s), Refused)
