"""core/progress: what is stored is read back exactly, in few bytes, and nothing else is ever believed."""

from __future__ import annotations

import itertools
import random
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import progress
from pipeline.core.progress import CHARS_MAX, Ignored, decode, encode, identity, payload_bytes, within, worst_bytes
from pipeline.varint import varint

PLACE = identity("cluster", "topic-id", "group", 0)
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "commit-metadata.md"
lengths = st.one_of(st.integers(1, 3), st.integers(1, 40), st.integers(1, 20_000))


@st.composite
def some_runs(draw) -> tuple[int, list[tuple[int, int]]]:
    base = draw(st.one_of(st.integers(0, 40), st.integers(0, 1 << 50)))
    runs, at = [], base
    for opened, finished in draw(st.lists(st.tuples(lengths, lengths), max_size=60)):
        first = at + opened - (draw(st.booleans()) if not runs else 0)
        runs.append((first, first + finished))
        at = first + finished
    return base, runs


def runs_of(base: int, opened, end: int) -> list[tuple[int, int]]:
    """What is finished in [base, end), from what is open there, as core/offsets has it."""
    edges = [*sorted(opened), end]
    found = [(base, edges[0])] if edges[0] > base else []
    return found + [(low + 1, high) for low, high in itertools.pairwise(edges) if high > low + 1]


@settings(max_examples=500)
@given(some_runs())
def test_what_is_encoded_is_decoded_again(case) -> None:
    base, runs = case
    assert decode(PLACE, base, encode(PLACE, base, runs, 1 << 40)) == tuple(runs)
    assert progress._read_lengths(base, progress._lengths(base, runs)) == runs
    packed = progress._pack(base, runs)
    assert packed is None or progress._unpack(base, packed) == runs


@settings(max_examples=500)
@given(some_runs(), st.integers(0, 10_000), st.integers(1, 255))
def test_damage_is_never_accepted(case, where, bits) -> None:
    base, runs = case
    text = encode(PLACE, base, runs, 1 << 40)
    if not text:
        return
    body = bytearray(urlsafe_b64decode(text[4:] + "=" * (-len(text[4:]) % 4)))
    body[where % len(body)] ^= bits
    assert isinstance(decode(PLACE, base, "hl1:" + urlsafe_b64encode(body).decode().rstrip("=")), Ignored)
    assert isinstance(decode(PLACE, base, text[: 4 + where % (len(text) - 4)]), Ignored)


@given(st.text(max_size=300))
def test_whatever_others_write_is_ignored_and_never_raises(text) -> None:
    for each in (text, "hl1:" + text):
        assert each == "" or isinstance(decode(PLACE, 5, each), Ignored)


@given(st.binary(min_size=1, max_size=200), st.sampled_from([0, 1, 2, 3]))
def test_payloads_that_make_no_sense_are_damage_even_when_they_are_bound(payload, flags) -> None:
    head = bytes((flags, 0)) + varint(7)
    body = head + progress._digest(PLACE, head, payload) + payload
    found = decode(PLACE, 7, "hl1:" + urlsafe_b64encode(body).decode().rstrip("="))
    if not isinstance(found, Ignored):
        assert all(7 <= first < end for first, end in found)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(found))


def test_parallel_consumer_326_foreign_metadata_is_ignored() -> None:
    for theirs in ("bAACAAE", "ABC", "R1-3,5", '{"offset":3}', "\ud800", "é" * 3_000):
        assert decode(PLACE, 5, theirs) == Ignored("foreign")


def test_metadata_of_another_place_or_offset_is_ignored() -> None:
    """MirrorMaker 2 copies metadata beside translated offsets; topics are made anew; offsets are reset by hand."""
    text = encode(PLACE, 100, [(101, 200)])
    assert decode(PLACE, 100, text) == ((101, 200),)
    for elsewhere in (
        identity("mirror", "topic-id", "group", 0), identity("cluster", "made-anew", "group", 0),
        identity("cluster", "topic-id", "other", 0), identity("cluster", "topic-id", "group", 1),
    ):  # fmt: skip
        assert decode(elsewhere, 100, text) == Ignored("unproven")
    assert decode(PLACE, 99, text) == Ignored("moved")
    assert decode(PLACE, 101, text) == Ignored("moved")


def test_a_newer_version_is_ignored_and_fields_to_come_are_skipped() -> None:
    assert decode(PLACE, 5, "hl2:AAAA") == Ignored("newer")
    head = bytes((0, 3)) + b"new" + varint(5)
    payload = progress._lengths(5, [(6, 9)])
    body = head + progress._digest(PLACE, head, payload) + payload
    assert decode(PLACE, 5, "hl1:" + urlsafe_b64encode(body).decode().rstrip("=")) == ((6, 9),)
    head = bytes((0x80, 0)) + varint(5)
    body = head + progress._digest(PLACE, head, payload) + payload
    assert decode(PLACE, 5, "hl1:" + urlsafe_b64encode(body).decode().rstrip("=")) == Ignored("newer")


def test_an_inflated_bomb_is_bounded() -> None:
    packed = progress.zlib.compressobj(9, progress.zlib.DEFLATED, -15)
    bomb = packed.compress(b"\x01" * (progress.INFLATED_BYTES_MAX + 1)) + packed.flush()
    head = bytes((2, 0)) + varint(5)
    body = head + progress._digest(PLACE, head, bomb) + bomb
    assert decode(PLACE, 5, "hl1:" + urlsafe_b64encode(body).decode().rstrip("=")) == Ignored("unproven")


def test_one_stuck_head_below_a_hundred_thousand_takes_a_few_bytes() -> None:
    assert len(encode(PLACE, 0, [(1, 100_000)])) <= 24


def test_a_gap_of_a_billion_costs_no_memory() -> None:
    base, runs = 7, [(8, 1_000_000_000), (1_000_000_001, 2_000_000_000)]
    assert len(encode(PLACE, base, runs)) < 40
    assert worst_bytes(base, runs, 2_000_000_000) < 40


def test_of_what_does_not_fit_the_lowest_is_kept() -> None:
    dice = random.Random(1)
    opened = sorted({0, *dice.sample(range(100_000), 8_000)})
    runs = runs_of(0, opened, 100_000)
    text = encode(PLACE, 0, runs)
    kept = decode(PLACE, 0, text)
    assert 3_900 < len(text) <= CHARS_MAX
    assert kept == tuple(runs[: len(kept)])
    assert encode(PLACE, 0, runs, 1) == ""


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_order_of_finishing_takes_more_than_the_worst_case(data) -> None:
    base = data.draw(st.integers(0, 1_000))
    size = data.draw(st.sampled_from([10, 300, 5_000]))
    opened = {base} | {base + each for each in data.draw(st.sets(st.integers(0, size), max_size=200))}
    end = base + size + data.draw(st.integers(1, 50))
    bound = worst_bytes(base, runs_of(base, opened, end), end)
    still_open = sorted(each for each in opened if data.draw(st.booleans()))
    now = still_open[0] if still_open else end
    later = runs_of(now, still_open, end)
    packed = progress._pack(now, later)
    assert packed is not None
    assert len(packed) <= bound
    assert len(encode(PLACE, now, later, 1 << 40)) <= CHARS_MAX or bound > payload_bytes(CHARS_MAX)


def test_the_documented_vectors_hold() -> None:
    rows = re.findall(r"^\| (\d+) \| `([^`]*)` \| `([^`]*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 5
    place = identity("5L6g3nShT-eMCtK--X86sw", "AAAAAAAAAAAAAAAAAAAAAQ", "shop", 3)
    assert place.hex() in PAGE.read_text(encoding="utf-8")
    seen = set()
    for base, text, written in rows:
        runs = []
        for each in text.split():
            first, _, last = each.partition("-")
            runs.append((int(first), int(last or first) + 1))
        assert encode(place, int(base), runs) == written
        assert decode(place, int(base), written) == tuple(runs)
        seen.add(urlsafe_b64decode(written[4:] + "==")[0])
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("chars", [0, 64, 256, 1_023, 4_095])
def test_what_fits_its_payload_fits_its_characters(chars) -> None:
    room = payload_bytes(chars)
    if room <= 0:
        return
    head = bytes((0, 0)) + varint((1 << 63) - 1) + b"d" * 8
    assert len(progress.PREFIX) + len(urlsafe_b64encode(head + b"p" * room).decode().rstrip("=")) <= chars


def test_what_lies_beyond_the_end_of_its_log_is_ignored_whole() -> None:
    runs = ((3, 5), (8, 10))
    assert within(runs, 10) == within(runs, 1 << 40) == runs
    for end in range(10):
        assert within(runs, end) == Ignored("truncated")
    assert within(runs, -1) == Ignored("unchecked")
    assert within((), 0) == within((), -1) == ()


@pytest.mark.parametrize("every", [2, 50, 1_000, 14_000])
def test_700_positions_that_wait_fit_scattered_over_ten_million(every) -> None:
    """What customers may be stuck with before their partition waits: docs/howto/keep-order.md."""
    runs = [(number * every + 1, (number + 1) * every) for number in range(700)]
    assert worst_bytes(0, runs, 700 * every) <= payload_bytes(CHARS_MAX)
