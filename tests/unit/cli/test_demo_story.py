"""A story is read as written, and what went otherwise is said step by step."""

from __future__ import annotations

import pytest

from pipeline.cli.demo import example, story

STORY = """
title: One
about: Two
scenes:
  - scene: first
    trouble: {mail: {kind: down, for: 3s}}
    kill_worker: {b: retrying}
    events:
      - name: one
        event: {type: a.b, ago: 1m, customer: {id: c-1}}
        outcomes: {a: delivered, b: skipped(once)}
    heard: {mail: [x, x, y]}
  - scene: second
    events:
      - after: 500ms
        event: {type: a.c, customer: {id: c-1}, properties: {list: ["${one}"]}}
"""


@pytest.fixture
def read(tmp_path):
    (tmp_path / "story.yaml").write_text(STORY)
    return story.read(tmp_path)


def test_it_is_read_as_written(read):
    first, second = read.scenes
    assert first.troubles == (story.Trouble("mail", "down", 3_000),)
    assert first.kill_worker == ("b", "retrying")
    (one,), (two,) = first.events, second.events
    assert (one.ago_ms, one.after_ms, two.ago_ms, two.after_ms) == (60_000, 0, 0, 500)
    assert "ago" not in one.document
    assert two.document["properties"] == {"list": [one.id]}
    assert two.outcomes is None
    assert (second.kill_worker, second.troubles, second.heard) == (None, (), {})


def test_ids_are_the_same_each_time_and_differ_from_each_other(read, tmp_path):
    again = story.read(tmp_path)
    ids = [each.id for scene in read.scenes for each in scene.events]
    assert ids == [each.id for scene in again.scenes for each in scene.events]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"a": "delivered", "b": "skipped(once)"}, ()),
        ({"a": "delivered"}, ("b: told skipped(once), was nothing",)),
        ({"a": "delivered", "b": "dead(once)"}, ("b: told skipped(once), was dead(once)",)),
        ({"a": "dead(auth)", "b": "skipped(once)"}, ("a: told delivered, was dead(auth)",)),
        ({"a": "delivered", "b": "skipped(once)", "c": "delivered"}, ("c: told nothing, was delivered",)),
    ],
)
def test_steps_that_ended_otherwise_are_named(read, found, said):
    assert story.differences(read.scenes[0].events[0], found) == said


def test_a_star_is_any_reason():
    happening = story.Happening("", 0, 0, {}, {"a": "defaulted(*)"})
    assert story.differences(happening, {"a": "defaulted(timeout)"}) == ()
    assert story.differences(happening, {"a": "delivered"}) == ("a: told defaulted(*), was delivered",)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["y", "x", "x"], ()),
        (["x", "y"], ("mail did not handle: x",)),
        (["x", "x", "x", "y"], ("mail handled, though not told: x",)),
    ],
)
def test_what_systems_handled_is_compared_whatever_the_order(read, lines, said):
    assert story.unheard(read.scenes[0], "mail", lines) == said


@pytest.mark.parametrize("name", example.names())
def test_each_example_can_be_told(name):
    told = story.read(example.folder() / name)
    assert told.title
    assert all(scene.events for scene in told.scenes)
    assert (example.folder() / name / "services.py").exists()
