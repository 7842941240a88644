"""Units are read exactly, bounded, and written back the same way."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.config import units


@pytest.mark.parametrize(
    ("text", "ms"),
    [("800ms", 800), ("2s", 2_000), ("10m", 600_000), ("1h", 3_600_000), ("7d", 604_800_000), ("2y", 730 * 86_400_000)],
)
def test_durations(text: str, ms: int) -> None:
    assert units.duration_ms(text) == ms


@pytest.mark.parametrize(
    "text", ["", "10", "s", "10 s", "-1s", "1.5h", "1w", "10S", "0s", "40001d", "1s\n", "\u0661s", "1e3s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        units.duration_ms(text)


@pytest.mark.parametrize(("text", "size"), [("0B", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1_048_576)])
def test_sizes(text: str, size: int) -> None:
    assert units.size_bytes(text) == size


@pytest.mark.parametrize("text", ["64", "64KB", "64kib", "1GiB", "1025MiB", "-1B"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        units.size_bytes(text)


@pytest.mark.parametrize(("text", "rate"), [("200/s", 200.0), ("90/m", 1.5), ("5000/h", 5000 / 3600), ("0.5/s", 0.5)])
def test_rates(text: str, rate: float) -> None:
    assert units.rate_per_s(text) == rate


@pytest.mark.parametrize("text", ["200", "200/d", "0/s", "-1/s", "2000000/s", "1/ s"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        units.rate_per_s(text)


@pytest.mark.parametrize(("text", "fraction"), [("0%", 0.0), ("0.5%", 0.005), ("10%", 0.1), ("100%", 1.0)])
def test_shares(text: str, fraction: float) -> None:
    assert units.share(text) == fraction


@pytest.mark.parametrize("text", ["0.1", "101%", "-1%", "10 %", "%"])
def test_no_shares(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        units.share(text)


@given(st.integers(1, units.DURATION_MAX_MS))
@example(1_700_000_000_000)
@example(units.DURATION_MAX_MS)
def test_durations_are_written_as_they_are_read(ms: int) -> None:
    assert units.duration_ms(units.duration_text(ms)) == ms


@given(st.integers(0, 999_999_999))
def test_sizes_are_written_as_they_are_read(size: int) -> None:
    assert units.size_bytes(units.size_text(size)) == size
