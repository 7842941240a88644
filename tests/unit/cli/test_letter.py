"""cli/letter: what of a dead letter may be shown to whom."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.letter import earlier, excerpt, letter, mask, original_headers, original_key, original_value
from pipeline.core import decode, runstate
from pipeline.model import Outcome, Record, Result
from pipeline.ports import Found, Unknown, Unreachable

HEADERS = (
    ("tenant", b"t-1"), ("traceparent", b"00-ab"), ("bin", b"\xff\x00"), ("hookline-event-id", b"e-1"),
    ("hookline-delivery-id", b"d-1"), ("hookline-source-topic", b"events"), ("hookline-source-partition", b"3"),
    ("hookline-source-offset", b"42"),
)  # fmt: skip
SCHEMA = {
    "type": "record", "name": "Node",
    "fields": [
        {"name": "mail", "type": "string"}, {"name": "next", "type": ["null", "Node"]},
        {"name": "flags", "type": {"type": "map", "values": "boolean"}},
    ],
}  # fmt: skip


class Schemas:
    def __init__(self, answer):
        self.answer = answer

    async def fetch(self, _ref):
        return self.answer


def made(content: bytes | None = None, headers=HEADERS, key: bytes | None = b"c-1"):
    return letter(Record("g.dead", 1, 5, key, content, headers, 7))


def test_it_says_where_it_lies_and_where_its_event_came_from():
    one = made()
    assert (one.position, one.source, one.says["event-id"], one.at_ms) == ("g.dead/1/5", "events/3/42", "e-1", 7)


def test_what_was_kept_of_a_response_shows_only_when_revealed():
    one = made(headers=(*HEADERS, ("hookline-excerpt", b"<p>\nhush \xff")))
    assert "excerpt" not in one.says
    assert "hookline-excerpt" not in original_headers(one, reveal=True)
    assert (excerpt(one, reveal=False), excerpt(one, reveal=True)) == ("(10 bytes)", "<p>\nhush \\xff")
    assert excerpt(made(), reveal=True) == ""


def test_what_earlier_steps_were_answered_shows_only_when_revealed():
    at = datetime(2026, 11, 27, 6, 30, tzinfo=UTC)
    results = {
        "ask": Result(Outcome.DELIVERED, "", 200, {"code": "hush", "at": at, "n": {"who": 5}}),
        "mail": Result(Outcome.SKIPPED, "consent", 0),
    }
    state = runstate.RunState("j", "", "e-1", ("in", 1, 7, 5), 2, 4, 3, 0, 0, "", False, "",
                              {"crm": runstate.StepState(0, 0, 0, "", 0)}, results=results)  # fmt: skip
    one = made(headers=(*HEADERS, (runstate.STATE_HEADER, runstate.encode(state))))
    assert "run" not in one.says
    mail = {"outcome": "skipped", "class": "consent"}
    hidden = {"code": "(text)", "at": "(text)", "n": {"(key 1)": "(number)"}}
    assert earlier(one, reveal=False) == {
        "ask": {"outcome": "delivered", "status": 200, "response": hidden}, "mail": mail,
    }  # fmt: skip
    shown = {"code": "hush", "at": "2026-11-27T06:30:00+00:00", "n": {"who": 5}}
    assert earlier(one, reveal=True)["ask"]["response"] == shown
    assert json.loads(json.dumps(earlier(one, reveal=True)))["mail"] == mail
    assert earlier(made(), reveal=True) == {}


@pytest.mark.parametrize("text", ["e-1", "d-1", "events/3/42", "g.dead/1/5"])
def test_it_answers_to_its_ids_and_positions(text):
    assert made().named(text)


@pytest.mark.parametrize("text", ["", "e", "events/3/4", "c-1", "42"])
def test_it_answers_to_nothing_else(text):
    assert not made().named(text)


def test_headers_and_key_are_measured_unless_revealed():
    assert original_headers(made(), reveal=False) == {"tenant": "(3 bytes)", "traceparent": "00-ab", "bin": "(2 bytes)"}
    assert original_headers(made(), reveal=True) == {"tenant": "t-1", "traceparent": "00-ab", "bin": "0xff00"}
    assert (original_key(made(), reveal=False), original_key(made(), reveal=True)) == ("(3 bytes)", "c-1")
    assert original_key(made(key=None), reveal=False) == ""


def test_recursive_events_are_masked_with_the_names_of_their_fields():
    inner = {"mail": "b@example.org", "next": None, "flags": {}}
    outer = {"mail": "a@example.org", "next": inner, "flags": {"a@example.org": True, "mail": False}}
    content = decode.confluent(7) + decode.encode(SCHEMA)(outer)
    schemas = Schemas(Found(SCHEMA))
    kind = "(true or false)"
    assert original_value(made(content), schemas, reveal=False) == {
        "mail": "(text)", "next": {"mail": "(text)", "flags": {}}, "flags": {"(key 1)": kind, "mail": kind},
    }  # fmt: skip
    assert original_value(made(content), schemas, reveal=True)["next"]["mail"] == "b@example.org"


@pytest.mark.parametrize("answer", [Unknown("registry has no schema with id 7"), Unreachable("registry: timeout")])
def test_without_its_schema_the_reason_is_shown(answer):
    assert original_value(made(b"\0\0\0\0\x07abc"), Schemas(answer), reveal=True) == f"(8 bytes: {answer.detail})"


def test_no_value_is_said_so():
    assert original_value(made(None), Schemas(None), reveal=True) == "(empty)"
    big = made(None, (*HEADERS, ("hookline-oversize", b"99")))
    assert original_value(big, Schemas(None), reveal=True) == "(99 bytes, too large to be kept here: read events/3/42)"


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(documents)
def test_masking_leaves_nothing_of_a_document_but_its_shape(document):
    allowed = {"(true or false)", "(number)", "(text)"}

    def leaves(masked):
        if isinstance(masked, dict):
            assert all(key.startswith("(key ") for key in masked)
            return [leaf for each in masked.values() for leaf in leaves(each)]
        return [leaf for each in masked for leaf in leaves(each)] if isinstance(masked, list) else [masked]

    assert {leaf for leaf in leaves(mask(document, frozenset())) if leaf is not None} <= allowed
