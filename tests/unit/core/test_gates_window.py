"""Duplicate event IDs: another record with the ID is one, the same record again is none, and memory is bounded."""

from __future__ import annotations

from pipeline.core.gates import Window


def test_another_record_with_the_same_id_repeats_it():
    window = Window()
    assert not window.repeats("a", ("in", 0, 5, 1))
    assert window.repeats("a", ("in", 0, 6, 1))
    assert window.repeats("a", ("other", 0, 5, 1))
    assert not window.repeats("b", ("in", 0, 7, 1))


def test_the_same_record_read_again_repeats_nothing():
    window = Window()
    assert not window.repeats("a", ("in", 0, 5, 1))
    assert not window.repeats("a", ("in", 0, *(5, 1)))


def test_only_the_newest_are_remembered():
    window = Window(2)
    for number, name in enumerate("abc"):
        assert not window.repeats(name, ("in", 0, number, 1))
    assert not window.repeats("a", ("in", 0, 9, 1)), "forgotten, and remembered anew"
    assert window.repeats("c", ("in", 0, 10, 1))


def test_what_is_forgotten_is_remembered_anew_and_the_rest_stays_in_its_order():
    window = Window(3)
    for number, name in enumerate("abc"):
        assert not window.repeats(name, ("in", 0, number, 1))
    window.forget([("a", ("in", 0, 0, 1)), ("a", ("in", 0, 0, 1)), ("b", ("in", 1, 1, 1)), ("z", ("in", 0, 9, 1))])
    assert window.repeats("b", ("in", 0, 8, 1)), "that record was not the one that brought it"
    assert not window.repeats("a", ("in", 1, 0, 1))
    assert window.repeats("a", ("in", 0, 0, 1))
    assert not window.repeats("d", ("in", 0, 3, 1))
    assert not window.repeats("b", ("in", 0, 8, 1)), "it was the oldest"
    assert window.repeats("a", ("in", 0, 0, 1))
