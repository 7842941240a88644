"""Every kept input again, and a few seconds of looking for new ones; ten minutes of it are `make fuzz`."""

from __future__ import annotations

import importlib.util
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.__main__ import CORPUS, NAMES, fuzz
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 2
INFLATED_BYTES_MAX = {"inflates_to_4_mb": 1_000_000, "inflates_to_64_kib": 12_000_000, "inflates_packed": 12_000_000}
"""Memory that such an input may take: what is too much is not kept; of the others the lists of runs take most."""


def kept() -> list[tuple[str, Path]]:
    """All files of the corpus, with the target they are for."""
    return [(path.parent.name, path) for path in sorted(CORPUS.glob("*/*"))]


def test_every_target_is_named_and_has_inputs_to_begin_with() -> None:
    assert set(NAMES) == set(TARGETS) == {name for name, _ in kept()}


@pytest.mark.parametrize(("name", "path"), [pytest.param(*each, id=f"{each[0]}-{each[1].name}") for each in kept()])
def test_what_was_found_once_is_no_trouble_any_more(name: str, path: Path) -> None:
    TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", sorted(INFLATED_BYTES_MAX))
def test_what_inflates_a_lot_takes_little_memory(name: str) -> None:
    path = CORPUS / "commit_metadata" / name
    tracemalloc.start()
    try:
        TARGETS["commit_metadata"](path.read_bytes())
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < INFLATED_BYTES_MAX[name], f"{peak_bytes:,} bytes"


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this Python")
@pytest.mark.parametrize("name", NAMES)
def test_a_few_seconds_of_fuzzing_find_nothing(name: str) -> None:
    assert fuzz(name, SECONDS) == ""
