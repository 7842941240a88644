"""Which journeys an event starts."""

import pytest

from pipeline.core import routes
from pipeline.core.expressions import Variable, only
from pipeline.model import ABSENT, Only, Route, SkipReason

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


def plans(*texts, field="plan"):
    """Routes whose conditions ask a field for a text; each condition counts how often it was asked."""
    asked = []

    def made(number, text):
        def condition(datum, _now_ms):
            asked.append(number)
            found = datum.get(field, ABSENT)
            return None if found is ABSENT else found == text

        only = Only(f"event.{field}", lambda datum, _now_ms: datum.get(field, ABSENT), text)
        return Route(str(number), "h", 1, condition, (), only=only)

    return [made(number, text) for number, text in enumerate(texts)], asked


@pytest.mark.parametrize("plan", ["a", "b", "c", "none of them", 5, None, ABSENT])
def test_looking_up_finds_what_asking_each_finds(plan):
    given, _ = plans("a", "b", "a", "c")
    given.insert(2, route("any", True))
    datum = {} if plan is ABSENT else {"plan": plan}
    assert routes.match(routes.Routes(given), datum, 7) == routes.match(tuple(given), datum, 7)


def test_only_what_may_hold_is_asked():
    given, asked = plans("a", "b", "a", "c")
    routes.match(routes.Routes(given), {"plan": "a"}, 7)
    assert asked == [0, 2]
    asked.clear()
    routes.match(routes.Routes(given), {}, 7)  # each of them errs, and is to be noted
    assert asked == [0, 1, 2, 3]


def test_a_few_are_asked_one_by_one():
    given, asked = plans("a", "b")
    assert routes.Routes(given).fields == ()
    routes.match(routes.Routes(given), {"plan": "a"}, 7)
    assert asked == [0, 1]


def scope(names):
    text = lambda datum, _now_ms: datum.get(names[-1], ABSENT)  # noqa: E731
    return Variable(".".join(names), "string", text, text)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('event.plan == "pro"', "pro"),
        ('event.plan == "pro" && event.seats >= 3', "pro"),
        (' event.a.plan=="pro"', "pro"),
        ('event.plan == "pro" || event.seats >= 3', None),
        ('event.plan == "pro" && event.seats >= 3 || true', None),
        ('event.plan == "pro" && event.seats >= 3 ? true : true', None),
        ('event.plan == "pro" ? true : true', None),
        ('event.plan != "pro"', None),
        ('!(event.plan == "pro")', None),
        ('event.plan == "p\\"ro"', None),
        ('event.plan == "pro" == false', None),
        ('event.plan == "pro" + "x"', None),
        ("", None),
    ],
)
def test_what_a_condition_asks_at_least(text, asks):
    found = only(text, scope)
    assert (found and found.text) == asks
