"""What a journey may say is read, and what it may not is refused at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder


@pytest.mark.parametrize(
    ("when", "meant"),
    [("event.properties.n > 1", "event.properties.n > 1"), ("true", "true"), ("False", "false")],
)
def test_conditions(folder: Folder, when: str, meant: str) -> None:
    folder.change("journeys/welcome.yaml", "max_age: 2h", f"max_age: 2h\n  when: {when}")
    assert folder.load().journeys["welcome"].trigger.when == meant


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("${event.properties.ok}", "trigger.when: is an expression already (write it without ${ })"),
        ("1", "trigger.when: must be a CEL expression"),
        ("' '", "trigger.when: must be a CEL expression"),
        ("x" * 4_001, "trigger.when: must be at most 4000 characters"),
    ],
)
def test_conditions_that_are_refused(folder: Folder, when: str, expected: str) -> None:
    folder.change("journeys/welcome.yaml", "max_age: 2h", f"max_age: 2h\n  when: {when}")
    assert folder.problem() == f"journeys/welcome.yaml:10:9: {expected}"


def test_reaches_none_is_nobody(folder: Folder) -> None:
    folder.change("journeys/welcome.yaml", "kind: update", "kind: update\n    reaches: none")
    assert folder.load().journeys["welcome"].steps[0].reaches is None
