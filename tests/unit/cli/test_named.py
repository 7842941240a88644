"""cli/named: what the events at some positions are called, or why they have no name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import named
from pipeline.cli.named import NEAR, Named, spans
from pipeline.config.compile import compile as compile_
from pipeline.config.load import load
from pipeline.config.secrets import Secrets
from pipeline.config.staged import bare
from pipeline.model import Record
from pipeline.ports import Found, Unknown
from tests.support.folder import write_folder
from tests.support.system import SCHEMA, encode, event

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reader(tmp_path: Path) -> named.Reader:
    config = load(write_folder(tmp_path, "g", "g.events", "localhost:1"), None)
    compiled = compile_(bare(config), Secrets(config.folder, {}), {"hookline.LifecycleEvent": SCHEMA})
    return named.Reader(compiled.plan, lambda ref: Found(SCHEMA) if len(ref) == 8 else Unknown("no such schema"))


def name(reader: named.Reader, value: bytes | None) -> Named:
    return reader.name(Record("g.events", 0, 7, b"k", value, (), time.time_ns() // 1_000_000))


def test_an_event_is_named_and_nothing_of_its_customer_is(reader) -> None:
    told = event(3)
    assert name(reader, encode(told)) == Named(told["id"], "signup.completed")


def test_what_has_no_name_says_why(reader) -> None:
    assert name(reader, None).why == "a tombstone"
    assert name(reader, b"junk").why.startswith("no event: ")
    assert name(reader, encode(event())[:-3]).why.startswith("no event: ")
    assert name(reader, encode(event(id=""))).why.startswith("no event: ")


def test_positions_near_each_other_are_read_in_one_go() -> None:
    asked = [("a", 0, 5), ("a", 0, 5 + NEAR), ("a", 0, 6 + 3 * NEAR), ("a", 1, 6), ("b", 1, 7)]
    assert list(spans(reversed(asked))) == [
        ("a", {0: 5}, {0: 6 + NEAR}), ("a", {0: 6 + 3 * NEAR}, {0: 7 + 3 * NEAR}), ("a", {1: 6}, {1: 7}),
        ("b", {1: 7}, {1: 8}),
    ]  # fmt: skip
    assert list(spans([])) == []


@given(st.sets(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 10 * NEAR))))
def test_every_position_is_read_once(positions) -> None:
    read = [(topic, partition, begin[partition], end[partition]) for topic, begin, end in spans(positions)
            for partition in begin]  # fmt: skip
    for topic, partition, offset in positions:
        assert sum(each[:2] == (topic, partition) and each[2] <= offset < each[3] for each in read) == 1
