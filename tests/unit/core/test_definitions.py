"""Definitions are on the topic as long as a run can need them, and a worker knows those of others."""

from __future__ import annotations

import json

import pytest

from pipeline.core import definitions
from pipeline.core.definitions import SLACK_MS, USED_EVERY_MS, Definition, Definitions

HOUR = 3_600_000
MINE = Definition(b'{"max_age_ms":3600000,"journey":{"journey":"mine"}}', HOUR)
THEIRS = json.dumps({"max_age_ms": HOUR, "journey": {"journey": "theirs"}}).encode()


@pytest.fixture
def known() -> Definitions:
    return Definitions({"aa": MINE})


def test_what_is_not_there_is_written_and_once_a_day_again(known):
    assert list(known.due(1_000 * HOUR)) == [(b"definition:aa", MINE.content)]
    known.note(b"definition:aa", MINE.content, 1_000 * HOUR)
    assert list(known.due(1_000 * HOUR + USED_EVERY_MS - 1)) == []
    assert list(known.due(1_000 * HOUR + USED_EVERY_MS)) == [(b"definition:aa", MINE.content)]


def test_others_are_known_until_no_run_can_need_them(known):
    known.note(b"definition:aa", MINE.content, 0)
    assert known.note(b"definition:bb", THEIRS, 0)
    assert (known.get("bb"), known.get("aa"), known.get("cc")) == (THEIRS, MINE.content, None)
    last = HOUR + USED_EVERY_MS + SLACK_MS
    assert (b"definition:bb", None) not in list(known.due(last))
    assert (b"definition:bb", None) in list(known.due(last + 1))
    known.note(b"definition:bb", THEIRS, HOUR)  # a worker says that it uses it
    assert (b"definition:bb", None) not in list(known.due(last + 1))
    known.note(b"definition:bb", None, last)
    assert known.get("bb") is None


def test_own_ones_are_written_again_when_somebody_deleted_them(known):
    known.note(b"definition:aa", MINE.content, 5 * HOUR)
    known.note(b"definition:aa", None, 6 * HOUR)
    assert list(known.due(6 * HOUR + USED_EVERY_MS)) == [(b"definition:aa", MINE.content)]
    assert known.get("aa") == MINE.content


def test_what_turns_up_after_the_beginning_is_of_a_later_configuration(known):
    known.note(b"definition:bb", THEIRS, 0)
    known.begin()
    known.note(b"definition:bb", THEIRS, 1)  # said again
    known.note(b"definition:cc", THEIRS, 1)
    known.begin()
    assert [known.is_later(name) for name in ("aa", "bb", "cc", "dd")] == [False, False, True, False]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"max_age_ms": "long"}', b"x" * 300_000])
def test_a_damaged_one_is_none(known, content):
    assert known.note(b"definition:bb", content, 0)
    assert known.get("bb") is None


def test_other_records_are_somebody_elses(known):
    assert not known.note(b"pause/journey/welcome", b"{}", 0)
    assert not known.note(None, b"{}", 0)


def test_the_longest_unused_are_forgotten_first(known, monkeypatch):
    monkeypatch.setattr(definitions, "KEPT_BYTES_MAX", 2 * len(THEIRS))
    for at, name in enumerate(("b1", "b2", "b3")):
        known.note(f"definition:{name}".encode(), THEIRS, at)
    assert [known.get(name) is None for name in ("b1", "b2", "b3")] == [True, False, False]


def test_the_greatest_age_of_a_run_is_that_of_any_definition_known() -> None:
    known = Definitions({"a" * 20: Definition(b"{}", 5)})
    assert known.max_age_ms() == 5
    known.note(definitions.PREFIX + b"b" * 20, b'{"max_age_ms": 70}', 1)
    assert known.max_age_ms() == 70
    assert Definitions({}).max_age_ms() == 0
