"""Values are what they say: frozen under test, slotted always, and headers found as Kafka means them."""

from __future__ import annotations

import dataclasses
import inspect
from types import SimpleNamespace

from pipeline import model
from pipeline.model import Outcome, Record, last_word

VALUES = ("pipeline.model", "pipeline.known", "pipeline.prepared", "pipeline.owned")


def record(*headers: tuple[str, bytes]) -> Record:
    known = {"headers": list(headers)}
    empty = {"int": 0, "str": "", "bytes | None": None}
    return Record(
        **{field.name: known.get(field.name, empty.get(str(field.type))) for field in dataclasses.fields(Record)}
    )


def test_the_last_header_of_a_name_counts():
    assert record(("a", b"1"), ("b", b"2"), ("a", b"3")).header("a") == b"3"
    assert record(("a", b"1")).header("b") is None
    assert record().header("a") is None


def test_every_value_is_slotted():
    classes = [each for _, each in inspect.getmembers(model, inspect.isclass) if each.__module__ in VALUES]
    assert len(classes) > 10
    assert [each.__name__ for each in classes if "__slots__" not in vars(each)] == []


# ------------------------------------------------------------------------------------------------------ the last word


def word(outcome: Outcome, hop: int = 0, at_ms: int = 1_000, reason: str = "") -> SimpleNamespace:
    return SimpleNamespace(outcome=outcome, hop=hop, settled_at_ms=at_ms, reason=reason)


def test_what_comes_of_a_replay_counts_after_it_whenever_it_was_written() -> None:
    failed, replayed = word(Outcome.REJECTED, 1, 1_000), word(Outcome.RETRYING, 1, 3_000, "replayed")
    again, skipped = word(Outcome.REJECTED, 2, 2_000), word(Outcome.SKIPPED, 3, 2_500)
    assert last_word(replayed) > last_word(failed)
    waited = word(Outcome.RETRYING, 1, 3_000, "timeout")
    assert last_word(failed) > last_word(waited), "of one hop: read again after a crash"
    assert last_word(again) > last_word(replayed), "a worker was faster than the command's own outcome"
    assert last_word(skipped) > last_word(again)
    assert last_word(word(Outcome.DELIVERED)) > last_word(skipped)
