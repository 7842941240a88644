"""A file has the shape of its model, or every flaw is said once, at its place, in words that quote nothing."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time

import pytest
from pydantic import Field

from pipeline.config.places import Places
from pipeline.config.section import DurationMs, Items, Name, Section
from pipeline.config.shape import validate
from pipeline.config.yaml import parse


class Room(Section):
    seats: int = Field(ge=1, le=9)
    open_ms: DurationMs = Field(1_000, alias="open")


class House(Section):
    name: Name
    rooms: Items[Room] = Field((), max_length=2)
    by_floor: Mapping[str, Room] = Field(default_factory=dict)


def shaped(text):
    places = Places()
    tree, problems = parse("house.yaml", text.encode(), places)
    assert not problems
    made, problems = validate(House, tree, "house.yaml", places)
    assert (made is None) == bool(problems)
    return made, [str(each).removeprefix("house.yaml:") for each in problems]


def test_what_fits_is_made():
    made, _ = shaped("name: a\nrooms: [{seats: 2, open: 5s}]\nby_floor: {first: {seats: 1}}\n")
    assert (made.rooms[0].open_ms, made.by_floor["first"].open_ms) == (5_000, 1_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rooms: []", "1:1: name: is required"),
        ("nam: a", "1:1: nam: there is no such key (did you mean name)"),  # and not: name is required
        ("name: a\nrooms:", "2:7: rooms: has no value (leave the key out for its default)"),
        ("name: a\nrooms: {}", "2:8: rooms: must be a list ([a, b])"),
        ("name: a\nrooms: [{seats: 10}]", "2:17: rooms[0].seats: must be at most 9"),
        ("name: a\nrooms: [{open: 5}]", "2:9: rooms[0].seats: is required"),
        ("name: a\nby_floor: {first: {seats: hunter2}}", "2:27: by_floor.first.seats: must be a whole number"),
        ("name: a\nrooms: [{seats: 1}, {seats: 1}, {seats: 1}]", "2:8: rooms: has more than 2 entries"),
        ("- a", "1:1: must be a mapping (key: value)"),
    ],
)
def test_what_does_not_fit_is_said_where_it_stands(text, expected):
    _, problems = shaped(text)
    assert problems[0] == expected
    assert "hunter2" not in " ".join(problems)


def test_every_flaw_once():
    _, problems = shaped("name: A\nrooms: [{seats: 0, chairs: 4}, {seats: 1, open: }]\n")
    assert sorted(problems) == [
        "1:7: name: must be a name: lower-case letters, digits and underscores, a letter first (at most 64 characters)",
        "2:17: rooms[0].seats: must be at least 1",
        "2:20: rooms[0].chairs: there is no such key",
        "2:48: rooms[1].open: has no value (leave the key out for its default)",
    ]
