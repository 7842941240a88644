"""said: whatever lies on the control topic, under whatever key, every reader of it goes on and can be asked."""

from __future__ import annotations

import copy
from typing import Any, Final

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline import said
from pipeline.app import modes
from pipeline.cli import screen
from pipeline.core import crashes, switches
from pipeline.core.crashes import Crashes
from pipeline.core.definitions import Definitions
from pipeline.core.fleet import Fleet, drain_ms
from pipeline.core.switches import DROP, RELEASE, RESET, Switches

NOW: Final = 1_795_428_000_000
AT: Final = "2026-11-23T10:00:00.000+00:00"
LATER: Final = AT.replace(".000", ".005")
DEEP: Final = "<deep>"
"""Stands for what orjson reads and does not write; asked for its text, Python raises RecursionError."""
LANE: Final = {
    "state": "open", "since": AT, "last_good": AT, "class": "timeout", "event": "e", "queued": 1, "in_flight": 1,
    "parked": 1, "attempts": 5, "limit": 2,
}  # fmt: skip
REPORT: Final = {
    "at": AT, "host": "h", "pid": 1, "version": "1", "unsettled": 1, "oldest_ms": 2, "assigned": {"input": ["t/0"]},
    "lanes": {"crm": LANE}, "misses": [["type", "b", "c", 1]], "applied": {"0": 5}, "config": "x", "refused": ["y"],
    "mode": "live", "halts": [["intake in", NOW, "why", NOW]], "stuck": [["t", 0, 5, 2]],
}  # fmt: skip
ORDER: Final = {
    "state": "paused", "who": "ada", "reason": "because", "at": AT, "rate": 1.5, "newest_first": True, "before_ms": 7,
}  # fmt: skip
WHOLE: Final[dict[bytes, Any]] = {
    b"crash/": {"crashes": 2, "who": "ada", "at": AT}, b"worker/": REPORT, b"destination/": {"last_good": AT},
    b"definition:": {"max_age_ms": 5}, b"mode": {"mode": "live"}, b"pause/": ORDER, b"disabled/": ORDER,
    b"release/": ORDER, b"drop/": ORDER, b"reset/": ORDER,
}  # fmt: skip
"""What is written under keys that begin so."""

digits = st.sampled_from(["0", "7", "007", "-1", "+1", "1_0", "٣", "9" * 19, "9" * 400, "9" * 5_000, "1e5", ""])
parts = st.one_of(digits, st.text(max_size=8), st.sampled_from(["t", "crm", "destination", "intake", "crm.op"]))
keys = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.builds(
        lambda begin, rest: begin + "/".join(rest).encode("utf-8", "surrogatepass"),
        st.sampled_from(sorted(WHOLE)), st.lists(parts, max_size=4),
    ),
    st.builds(lambda begin, rest: begin + rest, st.sampled_from(sorted(WHOLE)), st.binary(max_size=20)),
)  # fmt: skip
times = st.sampled_from(
    [AT, "0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9999-12-31", "1969-12-31T23:59:59Z"]
)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8), digits, times, st.sampled_from(["nan", "inf", "-inf", "1e400"]), st.just(DEEP),
)  # fmt: skip
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def written(tree: object) -> bytes:
    return orjson.dumps(tree).replace(b'"<deep>"', b"[" * 1_000 + b"]" * 1_000)


def _places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [at, *(place for name, each in inner for place in _places(each, (*at, name)))]


@st.composite
def spoilt(draw, whole: Any) -> bytes:
    """A whole value, something in which is replaced or gone."""
    tree = copy.deepcopy(whole)
    for _ in range(draw(st.integers(0, 2))):
        *before, last = draw(st.sampled_from([each for each in _places(tree) if each] or [("x",)]))
        inner = tree
        for each in before:
            inner = inner[each]
        if draw(st.booleans()) or last == "x":
            inner[last] = draw(trees)
        else:
            del inner[last]
    return written(tree)


@st.composite
def records(draw) -> tuple[bytes | None, bytes | None]:
    key = draw(keys)
    whole = next((tree for begin, tree in WHOLE.items() if key is not None and key.startswith(begin)), ORDER)
    return key, draw(st.one_of(st.none(), st.binary(max_size=60), trees.map(written), spoilt(whole)))


def spoil(key: bytes, **over: object) -> list[tuple[bytes, bytes]]:
    """Such a record, this in it replaced."""
    return [(key, written(WHOLE[next(each for each in WHOLE if key.startswith(each))] | over))]


@given(st.lists(records(), min_size=1, max_size=4))
@example([(b"crash/t/0/" + b"9" * 5_000, b"{}")])
@example([(b"crash/t/" + b"9" * 5_000 + b"/0", None)])
@example(spoil(b"crash/t/0/0", crashes="9" * 400))
@example(spoil(b"pause/destination/crm", who=DEEP))
@example(spoil(b"pause/destination/crm", at="9999-12-31T23:59:59-23:59"))
@example(spoil(b"release/crm", rate="-inf"))
@example(spoil(b"drop/crm/" + b"9" * 5_000))
@example(spoil(b"worker/a", host=DEEP))
@example(spoil(b"worker/a") + spoil(b"worker/a", at=LATER, lanes={"crm": LANE | {"attempts": "9" * 400}}))
@example(spoil(b"destination/crm", last_good="0001-01-01T00:00:00+23:59"))
def test_readers_go_on_and_what_they_say_can_be_reckoned_with_and_shown(found) -> None:
    told, fleet, died, known = Switches(), Fleet(), Crashes(), Definitions({})
    for key, content in found:
        for read in (told.note, known.note):
            read(key, content, NOW)
        for read in (fleet.note, died.note):
            read(key, content)
        modes._mode(content or b"")
    _ask_switches(told)
    _ask_fleet(fleet)
    died.given_up(NOW)
    died.over(NOW)
    for position in tuple(died.suspects):
        died.note(crashes.key(position), None)
    assert died.suspects == {}, "what is read can be deleted by its key"
    list(known.due(NOW + known.max_age_ms()))


def _ask_switches(told: Switches) -> None:
    for each in told.all():
        screen.age(NOW - each.at_ms)
        assert screen.utc(each.at_ms) or not each.at_ms
    told.gates({("welcome", "crm"): "crm"})
    for key in told.outdated(NOW, 0):
        told.note(key, None, NOW)
    for order in told.orders(RELEASE, DROP, RESET):
        assert 0.0 <= order.rate_per_s * 1e3 < float("inf")
        assert order.means(NOW, NOW) in {True, False}


def _ask_fleet(fleet: Fleet) -> None:
    now_ms = NOW + 5
    orjson.dumps([fleet.alive(now_ms), fleet.stale(now_ms), fleet.misses(now_ms)], option=orjson.OPT_NON_STR_KEYS)
    for state in fleet.destinations(now_ms, ["crm"]):
        screen.age(now_ms - state.since_ms)
        drain_ms(state.queued, state.rate_per_s, 5.0)
        assert screen.utc(state.last_good_ms) or not state.last_good_ms
    for each in fleet.alive(now_ms):
        each.obeys({0: 5})
        screen.age(now_ms - each.oldest_ms)


@given(st.text(alphabet="abz.-_09", min_size=1, max_size=249), st.integers(0, (1 << 31) - 1), st.integers(0, 1 << 62))
def test_what_is_written_of_a_crash_is_read_and_nothing_else_that_means_the_same(topic, partition, offset) -> None:
    position = topic, partition, offset
    assert Crashes().note(crashes.key(position), None)
    made = Crashes()
    made.note(crashes.key(position), orjson.dumps(WHOLE[b"crash/"]))
    assert made.suspects == {position: 2}
    made.note(f"crash/{topic}/0{partition}/{offset}".encode(), orjson.dumps(WHOLE[b"crash/"] | {"crashes": 3}))
    assert made.suspects == {position: 2}, "it could not be deleted by the key that is written"


@pytest.mark.parametrize("given", ["9" * 5_000, 1 << 54, "x", None, [], {}])
def test_what_is_no_number_or_too_large_is_damaged(given) -> None:
    with pytest.raises(said.DAMAGED):
        said.whole(given)


@pytest.mark.parametrize("given", ["nan", "inf", -1, -0.5, "x", None])
def test_what_is_no_rate_is_damaged(given) -> None:
    with pytest.raises(said.DAMAGED):
        said.rate(given)


def test_whole_records_are_taken() -> None:
    told, fleet = Switches(), Fleet()
    for key in (switches.pause_key("destination", "crm"), switches.order_key(DROP, "crm", NOW)):
        assert told.note(key, orjson.dumps(ORDER), NOW) is not None
    fleet.note(b"worker/a", orjson.dumps(REPORT))
    assert len(fleet.alive(NOW)) == 1, "or the test above spoils what is damaged already"
