"""Values are what they say: frozen under test, slotted always, and headers found as Kafka means them."""

from __future__ import annotations

import dataclasses
import inspect

from pipeline import model
from pipeline.model import Record

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
