"""Steps that read look-ups wait for fresh rows, unless something skips them anyway."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.model import ROWS
from tests.unit.run.conftest import REF, step
from tests.unit.run.test_follow_gates import Gated


class Rows:
    """Implements ports.Lookups."""

    def __init__(self, row) -> None:
        self.row = row
        self.asked: list[tuple[str, tuple[str, ...], int]] = []

    def rows(self, customer_id, names, lag_max_ms):
        self.asked.append((customer_id, names, lag_max_ms))
        return None if self.row is None else dict.fromkeys(names, self.row)


def gated(world, row, **over):
    read = []

    def render(datum, _now_ms):
        read.append(datum[ROWS])
        return b"{}"

    made = Gated(world, dataclasses.replace(step(), looks_up=("crm_ids",), render=render, **over))
    made.plans._read = lambda value, start: {"text": value[start:].decode()}
    made.asking.lookups = Rows(row)
    made.process.learn("in", REF, "known")
    return made, read


async def test_a_step_is_made_of_the_row_of_its_customer(world):
    made, read = gated(world, {"account": "a-1"})
    made.take()
    assert await made.ended() == [("delivered", "", 1)]
    assert read == [{"crm_ids": {"account": "a-1"}}]
    [(_, names, lag_max_ms)] = made.asking.lookups.asked
    assert (names, lag_max_ms) == (("crm_ids",), 30_000)


async def test_rows_that_may_be_old_are_waited_for_and_no_attempt_is_used(world):
    made, read = gated(world, None)
    made.take()
    assert await made.ended() == [("retrying", "table_stale", 0)]
    assert (read, made.endpoint.requests) == ([], [])


async def test_what_skips_a_step_comes_before_what_it_would_wait_for(world):
    made, _ = gated(world, None, max_age_ms=-1)
    made.take()
    assert await made.ended() == [("skipped", "stale", 0)]


@pytest.mark.parametrize("value", [True, False])
async def test_a_condition_reads_rows_too(world, value):
    made, _ = gated(world, {"vip": value}, when=lambda datum, _now_ms: datum[ROWS]["crm_ids"]["vip"])
    made.take()
    assert await made.ended() == ([("delivered", "", 1)] if value else [("skipped", "condition_false", 0)])
