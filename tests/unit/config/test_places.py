"""Every problem finds its line: of a node, of a key, of the nearest node around, or of where a fragment was written."""

from __future__ import annotations

import pytest

from pipeline.config.places import Place, Places, dotted


@pytest.fixture
def places():
    made = Places()
    made.add("a.yaml", (), Place("a.yaml", 1, 1))
    made.add("a.yaml", ("steps",), Place("a.yaml", 3, 3), Place("a.yaml", 2, 1))
    made.add("a.yaml", ("steps", 0), Place("a.yaml", 3, 5))
    made.add("b.yaml", ("part",), Place("b.yaml", 8, 3), Place("b.yaml", 7, 1))
    made.add("b.yaml", ("part", "id"), Place("b.yaml", 9, 9), Place("b.yaml", 9, 5))
    return made


def test_a_node_and_its_key(places):
    assert places.where("a.yaml", ("steps",)) == Place("a.yaml", 3, 3)
    assert places.key("a.yaml", ("steps",)) == Place("a.yaml", 2, 1)
    assert places.key("a.yaml", ("steps", 0)) == Place("a.yaml", 3, 5)  # an item of a list has no key


def test_what_is_not_known_stands_where_the_nearest_known_node_around_it_does(places):
    assert places.where("a.yaml", ("steps", 0, "payload")) == Place("a.yaml", 3, 5)
    assert places.where("a.yaml", ("goal",)) == Place("a.yaml", 1, 1)
    assert places.where("none.yaml", ("goal",)) == Place("none.yaml", 0, 0)


def test_words_that_pydantic_adds_are_stepped_over(places):
    assert places.where("b.yaml", ("part", "union-tag", "id")) == Place("b.yaml", 9, 9)


def test_what_is_grafted_stands_where_it_was_written(places):
    of_one_environment = places.copy()
    of_one_environment.graft("a.yaml", ("steps", 0, "payload"), "b.yaml", ("part",))
    assert of_one_environment.where("a.yaml", ("steps", 0, "payload", "id")) == Place("b.yaml", 9, 9)
    assert of_one_environment.key("a.yaml", ("steps", 0, "payload")) == Place("b.yaml", 7, 1)
    assert places.where("a.yaml", ("steps", 0, "payload", "id")) == Place("a.yaml", 3, 5)


def test_a_problem_names_file_line_column_and_field(places):
    problem = places.problem("a.yaml", ("steps", 0, "call"), "is required", "destination.operation")
    assert str(problem) == "a.yaml:3:5: steps[0].call: is required (destination.operation)"
    assert places.problem("a.yaml", ("steps",), "has no value", at_key=True).line == 2


@pytest.mark.parametrize(
    ("path", "written"), [((), ""), (("a",), "a"), (("a", 0, "b", "c"), "a[0].b.c"), ((0, "a"), "[0].a")]
)
def test_paths_are_written_as_users_do(path, written):
    assert dotted(path) == written
