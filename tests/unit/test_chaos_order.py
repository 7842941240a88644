"""What `make chaos` takes for an event that was overtaken."""

from __future__ import annotations

import pytest

from tests.support.inorder import Attempted, overtaken

FIRST = Attempted("ann", 0, 1.0, 1.1)
REFUSED = Attempted("ann", 0, 0.5)


@pytest.mark.parametrize(
    "attempts",
    [
        [FIRST, Attempted("ann", 1, 1.2, 1.3), Attempted("ann", 2, 1.4)],
        [REFUSED, FIRST, Attempted("ann", 1, 1.2)],  # tried again in its place
        [FIRST, Attempted("ann", 0, 1.2, 1.5), Attempted("ann", 1, 1.6)],  # repeated before the next one
        [FIRST, Attempted("bob", 0, 1.0)],  # others pass
    ],
)
def test_who_has_its_turn_overtakes_nobody(attempts):
    assert overtaken(attempts) == []


@pytest.mark.parametrize(
    "attempts",
    [
        [REFUSED, Attempted("ann", 1, 1.2)],  # the one before it is still to be tried again
        [FIRST, Attempted("ann", 1, 1.05)],  # side by side
        [FIRST, Attempted("ann", 2, 1.2)],  # past the one between
        [Attempted("ann", 1, 1.0)],  # before the first of all
        [FIRST, Attempted("ann", 1, 1.2, 1.3), Attempted("ann", 0, 1.4, 1.5)],  # what is over comes again
    ],
)
def test_what_comes_before_its_turn_or_after_what_followed_it_is_found(attempts):
    assert overtaken(attempts) == attempts[-1:]
