"""Which journeys an event starts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import routes
from pipeline.core.expressions import Variable, asks, condition
from pipeline.model import ABSENT, Route, SkipReason

DATUM = {"total": 5}


def route(name, answer=None, *, asked=None):
    def condition(datum, now_ms):
        if asked is not None:
            asked.append((datum, now_ms))
        return answer

    return Route(name, "h", 1, condition if answer != "none" else None, ())


def test_true_and_unconditional_routes_run_false_ones_do_not():
    given = (route("a", True), route("b", False), route("c", "none"))
    assert [(r.journey, why) for r, why in routes.match(given, DATUM, 7)] == [("a", None), ("c", None)]


def test_an_error_is_a_route_whose_steps_are_skipped():
    assert [(r.journey, why) for r, why in routes.match((route("a"),), DATUM, 7)] == [("a", SkipReason.CONDITION_ERROR)]


def test_nothing_matches_nothing():
    assert routes.match((), DATUM, 7) == []
    assert routes.match((route("a", False),), DATUM, 7) == []


def test_the_condition_sees_the_datum_and_the_time():
    asked = []
    routes.match((route("a", True, asked=asked),), DATUM, 7)
    assert asked == [(DATUM, 7)]


def scope(names):
    """`event.NAME` may be anything: the datum's key of that name."""
    if names[0] != "event":
        return None

    def get(datum, _now_ms):
        found = datum.get(names[-1])
        return ABSENT if found is None else found

    return Variable(".".join(names), "dyn", get, get)


def plans(*texts):
    """Routes with these conditions; each notes when it is asked."""
    asked = []

    def made(number, text):
        test, _ = condition(text, scope)
        return Route(
            str(number), "h", 1, lambda *each: asked.append(number) or test(*each), (), asks=asks(text, scope)
        )  # fmt: skip

    return [made(number, text) for number, text in enumerate(texts)], asked


def left(texts, **datum):
    """The numbers of the conditions that are asked of an event, if many are told apart."""
    given, asked = plans(*texts)
    routes.match(routes.Routes(given), datum, 7)
    return asked


PLANS = [f'event.seats != 3 && event.plan == "{plan}"' for plan in "abac"]


def test_only_what_may_hold_is_asked():
    assert left(PLANS, plan="a") == [0, 2]
    assert left(PLANS, plan="d") == []
    assert left(PLANS, plan=5) == [0, 1, 2, 3]
    assert left(PLANS) == [0, 1, 2, 3]  # each of them errs, and is to be noted


def test_a_few_are_asked_one_by_one():
    given, asked = plans(*PLANS[:2])
    assert routes.Routes(given).fields == ()
    routes.match(routes.Routes(given), {"plan": "a"}, 7)
    assert asked == [0, 1]


@pytest.mark.parametrize(
    ("value", "asked"),
    [(9.0, [3]), (10.0, [0, 3, 4]), (15.0, [0, 3, 5]), (20.0, [0, 1, 3, 5]), (1e9, [0, 1, 2, 5]),
     (25, [0, 1, 2, 3, 4, 5]), (math.inf, [0, 1, 2, 5]), (-math.inf, [3]), ("20", [0, 1, 2, 3, 4, 5])],
)  # fmt: skip
def test_thresholds_are_looked_up_in_their_order(value, asked):
    texts = [*(f"event.value >= {each}.0" for each in (10, 20, 30)), "event.value < 30.0", "event.value == 10.0",
             "10.0 < event.value"]  # fmt: skip
    assert left(texts, value=value) == asked


def test_what_many_ask_is_asked_once():
    texts = [f'event.source == "web" && event.value > {each}' for each in range(50)]
    assert left(texts, source="shop", value=40) == []
    assert left(texts, source="web", value=3) == [0, 1, 2]
    reads = []

    def counting(names):
        return Variable(".".join(names), "dyn", lambda *_: reads.append(names[-1]) or "shop", None)

    given = [Route(str(at), "h", 1, lambda *_: False, (), asks=asks(text, counting)) for at, text in enumerate(texts)]
    assert routes.match(routes.Routes(given), {}, 7) == []
    assert reads == ["value", "source"]  # once each, what tells most apart first


def test_a_field_is_not_read_for_the_few_that_are_left():
    given, _ = plans(*(f'has(event.gift) && event.plan == "{each}"' for each in range(50)))
    reads = []
    fields = routes.Routes(given).fields

    class Reads(dict):
        def get(self, name, default=None):
            reads.append(name)
            return super().get(name, default)

    assert len(fields) == 2
    assert len(routes.Routes(given).candidates(Reads(plan="7"), 7)) == 1
    assert reads == ["plan"]


PARTS = (
    'event.a == "x"', 'event.a != "x"', "'y' == event.a", 'event.a in ["x", "y"]', "event.a in [1, 2, 5]", "event.a",
    "!event.a", "event.a == true", "has(event.a)", "!has(event.a)", "event.a >= 2.5", "event.a < 2.5", "2 < event.a",
    "event.a <= 2", "event.a > -3", "event.a == 5", "event.a != 5.0", "event.a > event.b", "size(event.a) > 0",
    'event.b == "x"', "event.b == 2", "has(event.b)", 'event.c in ["x", "z"]', "event.c != 2", "event.c > 1.0",
)  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.sampled_from(["", "x", "y", "z", "xy", "."]), st.integers(-4, 7),
    st.sampled_from([2.5, math.nextafter(2.5, 3), math.nextafter(2.5, 2), 5.0, 1.0, math.nan, math.inf, -math.inf]),
    st.sampled_from([2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64]), st.binary(max_size=1),
    st.lists(st.integers(), max_size=1), st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
)  # fmt: skip
CONDITIONS = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map(" && ".join)


@given(
    texts=st.lists(CONDITIONS, min_size=3, max_size=12),
    data=st.lists(st.fixed_dictionaries(dict.fromkeys("abc", VALUES)), min_size=1, max_size=8),
)
def test_looking_up_finds_what_asking_each_finds(texts, data):
    given, _ = plans(*texts)
    given.insert(2, route("any", True))
    looked_up = routes.Routes(given)
    for datum in data:
        assert routes.match(looked_up, datum, 7) == routes.match(tuple(given), datum, 7)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('event.plan == "pro"', ["event.plan"]),
        ('event.plan == "pro" && event.seats >= 3', ["event.plan", "event.seats"]),
        ('size(event.tags) > 3 && event.a.plan=="pro" // so', ["event.a.plan"]),
        ('event.plan != "" && 3 < event . seats && !has(event.a)', ["event.plan", "event.seats", "has(event.a)"]),
        ("(event.a || event.b) && event.plan in [\"a\", 'b']", ["event.plan"]),
        ("event.gift && !event.paid && event.value == -2.5e3", ["event.gift", "event.paid", "event.value"]),
        ('event.plan == "pro" || event.seats >= 3', []),
        ('event.plan == "pro" || event.seats >= 3 && event.gift', []),
        ('event.plan == "pro" && event.seats >= 3 || true', []),
        ('event.plan == "pro" && event.seats >= 3 ? true : true', []),
        ('event.plan == "pro" ? true : true', []),
        ('!(event.plan == "pro")', []),
        ('event.plan == "p\\"ro"', []),
        ('event.plan == "pro" == false', []),
        ('event.plan == "pro" + "x"', []),
        ("event.seats > 3u && event.seats > 0x3 && event.seats > 99999999999999999999 && event.seats < 1e999", []),
        ('event.seats in [3, "a"] && event.plan > "a" && event.seats > 3 - 1 && event.tags[0] == 1', []),
        ("event.seats == null && event.a() && event.a.b(3) && other.plan", []),
        ("true", []),
        ("", []),
    ],
)
def test_what_a_condition_asks_at_least(text, asked):
    assert [each.path for each in asks(text, scope)] == asked
