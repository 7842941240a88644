"""Which journeys an event starts."""

from pipeline.core import routes
from pipeline.model import Route, SkipReason

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
