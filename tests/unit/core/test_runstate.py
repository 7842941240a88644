"""core/runstate: hand-over state survives the trip, also between releases; damage is seen."""

from __future__ import annotations

import dataclasses
import zlib
from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import runstate
from pipeline.core.runstate import RunState, StepState, Unreadable
from pipeline.model import Outcome, Result

STATE = RunState(
    journey="j", hash="0123456789abcdef", event_id="e-1", source=("t", 3, 42, 1_700_000_000_000), deliveries=2,
    started_ms=1, hop=1, parks=0, due_ms=5, trace_id="a" * 32, sampled=True, link="b" * 16,
    steps={"crm": StepState(2, 5, 1, "timeout", 0), "log": StepState(0, 0, 0, "", 503)},
)  # fmt: skip


RESULTS = {
    "ask": Result(
        Outcome.DELIVERED, "", 200,
        {"code": "A\u00fc", "n": 5, "x": 5.0, "ok": True, "list": [1, {"a": None}],
         "at": datetime(2026, 11, 27, 6, 30, 0, 123456, UTC)},
    ),
    "tell": Result(Outcome.SKIPPED, "consent", 0),
    "late": Result(Outcome.RETRYING, "timeout", 504),
}  # fmt: skip
FOLLOWED = dataclasses.replace(STATE, ahead=("last", "more"), results=RESULTS, retried=("late",))

RELEASED = (
    b'\x01\xa0\xa6\x9e\xe6{"journey":"j","hash":"0123456789abcdef","event":"e-1","source":["t",3,42,1700000000000],'
    b'"n":2,"started":1,"hop":1,"parks":0,"due":5,"trace":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","sampled":true,'
    b'"link":"bbbbbbbbbbbbbbbb","steps":{"crm":[2,5,1,"timeout",0],"log":[0,0,0,"",503]}}'
)
"""STATE as the release before version 2 wrote and reads it."""
RELEASED_2 = (
    b"\x02\xad{\x91_"
    b'{"journey":"j","hash":"0123456789abcdef","event":"e-1","source":["t",3,42,1700000000000],"'
    b'n":2,"started":1,"hop":1,"parks":0,"due":5,"trace":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","sam'
    b'pled":true,"link":"bbbbbbbbbbbbbbbb","steps":{"crm":[2,5,1,"timeout",0],"log":[0,0,0,"",50'
    b'3]},"ahead":["last","more"],"results":{"ask":["delivered","",200,{"code":"A\xc3\xbc","n":5,"x":5'
    b'.0,"ok":true,"list":[1,{"a":null}],"at":"2026-11-27T06:30:00.123456+00:00"},["at"]],"tell"'
    b':["skipped","consent",0,null,[]],"late":["retrying","timeout",504,null,[]]},"retried":["la'
    b'te"]}'
)
"""FOLLOWED as the first release with version 2 wrote it."""


def test_a_run_without_steps_after_others_is_written_as_workers_of_the_release_before_read_it() -> None:
    assert runstate.encode(STATE) == RELEASED
    assert runstate.decode(RELEASED) == STATE


def test_what_steps_after_others_need_survives_with_its_types() -> None:
    assert runstate.encode(FOLLOWED) == RELEASED_2
    again = runstate.decode(RELEASED_2)
    assert again == FOLLOWED
    response = again.results["ask"].response
    assert [type(response[name]) for name in ("n", "x", "ok", "at")] == [int, float, bool, datetime]


def test_that_an_attempt_may_have_arrived_survives_and_is_passed_over_by_earlier_releases() -> None:
    steps = {"crm": StepState(2, 5, 1, "timeout", 0, ambiguous=True), "log": STATE.steps["log"]}
    header = runstate.encode(dataclasses.replace(STATE, steps=steps))
    assert header is not None
    assert runstate.decode(header) == dataclasses.replace(STATE, steps=steps)
    told = orjson.loads(header[5:])["steps"]
    assert {name: each[:5] for name, each in told.items()} == orjson.loads(RELEASED[5:])["steps"]


def test_a_run_of_which_nothing_waits_but_something_is_ahead_is_one() -> None:
    state = dataclasses.replace(FOLLOWED, steps={})
    assert runstate.decode(runstate.encode(state)) == state


def test_state_that_is_too_large_or_beyond_json_is_not_written() -> None:
    big = {"ask": Result(Outcome.DELIVERED, "", 200, {"text": "x" * runstate.STATE_BYTES_MAX})}
    assert runstate.encode(dataclasses.replace(FOLLOWED, results=big)) is None
    odd = {"ask": Result(Outcome.DELIVERED, "", 200, {"n": 1 << 70})}
    assert runstate.encode(dataclasses.replace(FOLLOWED, results=odd)) is None


def test_results_of_another_shape_are_unreadable() -> None:
    whole = orjson.loads(RELEASED_2[5:])
    entries = (1, ["delivered"], ["gone", "", 0, None, []], ["delivered", "", 0, {"at": "noon"}, ["at"]],
               ["delivered", "", 0, [], []])  # fmt: skip
    for results in ([1], *({"a": entry} for entry in entries)):
        body = orjson.dumps({**whole, "results": results})
        header = b"\x02" + zlib.crc32(body).to_bytes(4, "big") + body
        assert runstate.decode(header) == Unreadable(newer=False, detail="run state shape")


@given(st.sampled_from([RELEASED, RELEASED_2]), st.integers(min_value=0), st.integers(0, 7))
def test_one_damaged_bit_is_seen(written, position, bit) -> None:
    header = bytearray(written)
    header[position % len(header)] ^= 1 << bit
    assert isinstance(runstate.decode(bytes(header)), Unreadable)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_unreadable(header) -> None:
    assert isinstance(runstate.decode(header), Unreadable)


def test_newer_state_is_told_apart_from_damage() -> None:
    newer = bytes((runstate.STATE_VERSION + 1,)) + runstate.encode(STATE)[1:]
    assert runstate.decode(newer) == Unreadable(newer=True, detail="run state version 3")
    assert runstate.decode(None) == Unreadable(newer=False, detail="no run state")
    assert isinstance(runstate.decode(bytes(runstate.STATE_BYTES_MAX + 1)), Unreadable)


def test_valid_json_of_another_shape_is_unreadable() -> None:
    for body in (b"[]", b"{}", b'{"source":[1]}', b'"x"'):
        header = bytes((1,)) + zlib.crc32(body).to_bytes(4, "big") + body
        assert isinstance(runstate.decode(header), Unreadable)


def test_copies_of_a_hop_have_one_identity_and_one_partition() -> None:
    copy = runstate.decode(runstate.encode(STATE))
    assert isinstance(copy, RunState)
    assert runstate.identity(copy) == runstate.identity(STATE)
    assert runstate.spread(copy) == runstate.spread(STATE)


def test_a_copy_is_one_whichever_of_its_steps_began_to_wait_first() -> None:
    """Done again after a crash, steps end in another order: what is left to do is the same."""
    steps = {"a": StepState(1, 5, 1, "timeout", 0), "b": StepState(1, 6, 1, "timeout", 0)}
    first = dataclasses.replace(STATE, steps=steps, ahead=("c", "d"))
    again = dataclasses.replace(STATE, steps={"b": steps["b"], "a": steps["a"]}, ahead=("c", "d"))
    assert runstate.identity(again) == runstate.identity(first)
    assert runstate.identity(dataclasses.replace(first, steps={"a": steps["a"]})) != runstate.identity(first)
    assert runstate.identity(dataclasses.replace(first, ahead=("c",))) != runstate.identity(first)


def test_a_run_without_steps_is_unreadable() -> None:
    empty = dataclasses.replace(STATE, steps={})
    assert runstate.decode(runstate.encode(empty)) == Unreadable(newer=False, detail="run state without steps")
