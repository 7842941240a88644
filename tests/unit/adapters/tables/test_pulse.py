"""Whoever follows stands still only if we saw it stand still."""

from __future__ import annotations

import pytest

from pipeline.adapters.tables.pulse import GAP_S, STILL_S, Pulse
from pipeline.run.lease import LEASE_S


class Scene:
    def __init__(self) -> None:
        self.now_s = 100.0
        self.sign = 0
        self.pulse = Pulse(lambda: self.sign, lambda: self.now_s)

    def looks(self, seconds: float, *, beats: bool = False) -> list[bool]:
        """Look every second."""
        found = []
        for _ in range(round(seconds)):
            self.now_s += 1
            self.sign += beats
            found.append(self.pulse.still())
        return found


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_one_that_shows_signs_is_left_alone(scene):
    assert not any(scene.looks(100, beats=True))


def test_one_without_a_sign_stands_still_and_one_more_sign_ends_that(scene):
    scene.looks(1, beats=True)
    assert scene.looks(STILL_S) == [False] * (round(STILL_S) - 1) + [True]
    assert scene.looks(1, beats=True) == [False]


def test_what_passed_while_nobody_looked_does_not_count(scene):
    scene.looks(STILL_S - 1)
    scene.now_s += 1_000
    assert not any(scene.looks(STILL_S))
    scene.now_s += GAP_S + 1
    assert not scene.pulse.still()


def test_who_is_taken_over_from_would_not_have_sent_anything_any_more():
    assert STILL_S > LEASE_S
