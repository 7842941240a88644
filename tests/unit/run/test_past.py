"""run/past: what is over, and how far runs had got, from whatever stands in a log."""

from __future__ import annotations

import zlib

import pytest

from pipeline.core import runstate
from pipeline.model import ORIGINAL_KEY, Record
from pipeline.run.past import NOTE_HEADER, Past, in_state, keyed_as_input, noted
from tests.support.logs import state


def record(offset: int, *headers: tuple[str, bytes], key: bytes | None = b"a") -> Record:
    return Record("log", 0, offset, key, b"v", headers, 7)


def entry(offset: int, number: int, **more) -> Record:
    return record(offset, (runstate.STATE_HEADER, state(number, **more)))


@pytest.mark.parametrize("text", [b"", b"-1", b"x", b"1.5", b"9" * 20, "\u0661".encode()])
def test_a_header_that_names_no_offset_makes_no_note(text) -> None:
    assert noted(record(0, (NOTE_HEADER, text))) is None


def test_an_entry_has_the_key_of_the_input_again() -> None:
    with_key = keyed_as_input(record(3, ("traceparent", b"t"), (ORIGINAL_KEY, b"k")))
    assert (with_key.key, with_key.headers, with_key.offset) == (b"k", (("traceparent", b"t"),), 3)
    assert keyed_as_input(record(3)).key is None


def test_a_newer_state_takes_the_place_of_the_older_one() -> None:
    newer = in_state(entry(3, 1), later := state(1, hop=2), 99)
    assert newer.headers == ((runstate.STATE_HEADER, later),)
    assert newer.timestamp_ms == 99


def test_an_event_is_the_same_whatever_its_configuration_made_of_it_and_a_replay_of_it_is_not() -> None:
    past = Past(0, (), 10)
    assert not past.see(entry(0, 1))
    assert past.see(entry(1, 1, step="other"))
    assert not past.see(entry(2, 1, hop=5))
    assert past.see(entry(3, 1, hop=5))
    assert not past.see(entry(0, 1))  # the same record, fetched again
    assert not past.see(record(4, (runstate.STATE_HEADER, b"damaged")))


def test_only_so_many_are_remembered() -> None:
    past = Past(0, (), 10)
    for number in range(100):
        past.see(entry(number, number))
    assert len(past.seen) == 10
    assert past.see(entry(100, 95))
    assert not past.see(entry(101, 1))


def test_of_what_is_committed_only_the_identities_count_and_of_what_is_not_the_notes() -> None:
    past = Past(10, ((12, 14), (20, 21)), 100)
    for offset in range(25):
        past.note(entry(offset, offset))
    assert set(past.seen.values()) == set(range(10))
    for offset in (3, 11, 12, 13, 14, 20, 21):
        past.note(record(30, (NOTE_HEADER, str(offset).encode()), (runstate.STATE_HEADER, state(offset, hop=2))))
        past.note(record(31, (NOTE_HEADER, str(offset + 100).encode())))
    assert set(past.notes) == {11, 14, 21}
    assert past.over(111)
    assert not past.over(11)
    past.note(record(32, (NOTE_HEADER, b"11"), (runstate.STATE_HEADER, b"\x02damaged")))
    assert past.notes[11][0] == 2


def newer(number: int) -> bytes:
    """A state as a later release writes it: this one cannot read on."""
    content = b"what nobody knows yet, of " + str(number).encode()
    return bytes((runstate.STATE_VERSION + 1,)) + zlib.crc32(content).to_bytes(4, "big") + content


THIS, NEXT = range(2)


@pytest.mark.parametrize(
    ("notes", "newest"),
    [
        ([NEXT], 0),
        ([(THIS, 2), NEXT], 1),
        ([NEXT, (THIS, 2)], 0),  # the same hop, of a worker that had lost the partition by then
        ([NEXT, (THIS, 3)], 1),  # what the later release got to next needs nothing that it alone can read
        ([(THIS, 2), NEXT, (THIS, 2)], 1),
        ([(THIS, 2), NEXT, (THIS, 3)], 1),
        ([(THIS, 2), NEXT, (THIS, 4)], 2),
        ([(THIS, 2), NEXT, NEXT, (THIS, 4)], 2),
        ([(THIS, 2), NEXT, NEXT, (THIS, 5)], 3),
        ([(THIS, 2), NEXT, (THIS, 4), (THIS, 4)], 3),
        ([(THIS, 2), NEXT, (THIS, 4), NEXT], 3),
    ],
)
def test_a_note_of_a_later_release_is_newer_than_all_before_it_and_older_than_what_came_of_it(notes, newest) -> None:
    headers = [newer(number) if each is NEXT else state(1, hop=each[1], due_ms=number)
               for number, each in enumerate(notes)]  # fmt: skip
    past = Past(0, (), 10)
    past.note(entry(0, 1))
    for number, header in enumerate(headers):
        past.note(record(number + 1, (NOTE_HEADER, b"0"), (runstate.STATE_HEADER, header)))
    taken = past.newest(entry(0, 1))
    assert taken.header(runstate.STATE_HEADER) == headers[newest]
    assert past.notes == {}


def test_a_run_of_a_later_release_that_is_over_is_over() -> None:
    past = Past(0, (), 10)
    past.note(record(1, (NOTE_HEADER, b"0"), (runstate.STATE_HEADER, newer(0))))
    past.note(record(2, (NOTE_HEADER, b"0")))
    assert past.over(0)
