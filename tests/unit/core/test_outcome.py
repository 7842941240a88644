"""The hand encoder writes what fastavro writes, for every value, with the documented schemas."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro import schema as avro
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import decode, outcome
from pipeline.model import Attempt, Outcome

SCHEMAS = Path(__file__).parents[3] / "schemas"
OUTCOME = json.loads((SCHEMAS / "outcome.avsc").read_text())
LEDGER = json.loads((SCHEMAS / "ledger.avsc").read_text())

texts = st.text(max_size=80)
ints = st.integers(0, 2**31 - 1)
longs = st.integers(-(2**63), 2**63 - 1)
attempts = st.builds(
    Attempt,
    number=ints,
    span_id=st.text("0123456789abcdef", min_size=16, max_size=16),
    started_ns=st.integers(0, 2**62),
    ended_ns=st.integers(0, 2**62),
    status=st.integers(0, 599),
    cls=st.sampled_from(["", "timeout", "server_error"]),
)
FIELDS = (
    "event_id", "event_type", "delivery_id", "customer_ref", "topic", "partition", "offset", "record_time",
    "event_time", "deliveries", "trace_id", "outcome", "reason", "status", "attempts", "first_attempt_at",
    "settled_at", "hop", "due",
)  # fmt: skip
arguments = st.tuples(
    texts, texts, texts, texts, texts, ints, longs, longs, longs, ints, texts, st.sampled_from(Outcome), texts, ints,
    ints, longs, longs, ints, longs, st.lists(attempts, max_size=3),
)  # fmt: skip


def with_fastavro(schema: Any, row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(decode.strip(schema)), row)
    return decode.single_object(decode.fingerprint(schema)) + out.getvalue()


def test_the_documented_schemas_are_the_ones_written() -> None:
    for path, built in ((OUTCOME, outcome._OUTCOME_SCHEMA), (LEDGER, outcome._LEDGER_SCHEMA)):
        assert avro.to_parsing_canonical_form(path) == avro.to_parsing_canonical_form(built)


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, min_size=5, max_size=5), arguments)
def test_outcomes_are_what_fastavro_writes_and_reads(constant: list[str], rest: tuple[Any, ...]) -> None:
    head = outcome.prefix(*constant)
    written = outcome.encode(head, *rest)
    history = [
        {"number": each.number, "started_at": each.started_ns // 1000,
         "duration_us": (each.ended_ns - each.started_ns) // 1000, "status": each.status, "class": each.cls,
         "span_id": each.span_id}
        for each in rest[-1]
    ]  # fmt: skip
    row = dict(zip(("journey", "journey_hash", "step", "destination", "operation"), constant, strict=True))
    row |= dict(zip(FIELDS, rest[:-1], strict=True)) | {"outcome": rest[11].value, "history": history}
    assert written == with_fastavro(OUTCOME, row)
    back = outcome.decode(written)
    assert isinstance(back, outcome.OutcomeRow)
    assert (back.journey, back.operation) == (constant[0], constant[4])
    assert [getattr(back, name, getattr(back, f"{name}_ms", None)) for name in FIELDS] == list(rest[:-1])
    assert [(each.number, each.cls, each.span_id) for each in back.history] == [
        (each.number, each.cls, each.span_id) for each in rest[-1]
    ]


@settings(max_examples=100, deadline=None)
@given(texts, ints, longs, longs, st.lists(st.tuples(longs, longs, texts), max_size=4), longs)
def test_ledgers_are_what_fastavro_writes_and_reads(
    topic: str, partition: int, first: int, after: int, ranges: list[tuple[int, int, str]], at_ms: int
) -> None:
    written = outcome.encode_ledger(topic, partition, first, after, ranges, at_ms)
    empty = [{"first": low, "last": high, "reason": reason} for low, high, reason in ranges]
    row = {"topic": topic, "partition": partition, "first": first, "next": after, "at": at_ms, "empty": empty}
    assert written == with_fastavro(LEDGER, row)
    assert outcome.decode(written) == outcome.LedgerRow(topic, partition, first, after, at_ms, tuple(ranges))


@pytest.mark.parametrize("number", [0, 1, -1, 63, 64, 8191, 8192, 16383, 16384, 2**31, 2**62, 2**63 - 1, -(2**63)])
def test_every_length_of_number_is_avros(number: int) -> None:
    assert outcome._long(number) == decode.encode("long")(number)


def test_a_number_no_long_can_hold_is_cut_instead_of_damaging_the_record() -> None:
    assert outcome._long(2**70) == decode.encode("long")(2**63 - 1)
    assert outcome._long(-(2**70)) == decode.encode("long")(-(2**63))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damage_is_none_or_another_row(data: st.DataObject) -> None:
    written = outcome.encode_ledger("t", 1, 0, 10, [(0, 9, "gap")], 1_790_000_000_000)
    cut = data.draw(st.integers(0, len(written) - 1))
    assert outcome.decode(written[:cut]) is None
    assert outcome.decode(written + b"\x00") is None
    assert outcome.decode(data.draw(st.binary(max_size=40))) is None
