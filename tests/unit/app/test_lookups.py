"""app/lookups: rows of the look-ups that journeys read, in files of their own. With Kafka: tests/integration."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from pipeline.adapters.tables.store import Store
from pipeline.app.lookups import LEFT_S, CustomerRows
from pipeline.config.load import load
from pipeline.testing.fakes import FakeTelemetry
from tests.unit.config.conftest import Folder
from tests.unit.config.test_rows import LOOKUPS

NAME = "tables-0000000000000000.db"


@pytest.fixture
def config(tmp_path):
    folder = Folder(tmp_path / "config")
    folder.add("hookline.yaml", LOOKUPS)
    folder.change("journeys/welcome.yaml", "${event.customer.id}", "${tables.crm_ids.account}")
    return load(folder.root, None)


async def built(config, folder):
    folder.mkdir(exist_ok=True)
    return CustomerRows(config, {}, folder, SimpleNamespace(), FakeTelemetry().log, lambda _error: None)


def filled(place, caught_up_ms: int) -> None:
    store = Store(place / NAME, create=True)
    store.apply([(b"c-1", 0, b"", b'{"account":"a-1"}')], {("crm.customer-ids", 0): 1})
    store.note(caught_up_ms=str(caught_up_ms))
    store.close()
    (place / "current").write_text(NAME)


async def test_rows_are_told_by_look_up_while_all_that_are_asked_for_are_fresh(config, tmp_path):
    rows = await built(config, tmp_path / "state")
    [place] = (tmp_path / "state").iterdir()
    assert rows.rows("c-1", ("crm_ids",), 30_000) is None
    assert rows.stale_ms() > 30_000
    filled(place, time.time_ns() // 1_000_000)
    rows._files["crm_ids"]._look()
    assert rows.rows("c-1", ("crm_ids",), 30_000) == {"crm_ids": {"account": "a-1"}}
    assert rows.rows("c-2", ("crm_ids",), 30_000) == {"crm_ids": {}}
    assert rows.rows("c-1", ("crm_ids", "gone"), 30_000) is None
    assert rows.stale_ms() < 30_000
    assert rows.unreadable() == 0
    await rows.close()


async def test_a_look_up_that_is_described_otherwise_has_another_file_and_old_ones_go(config, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    for name, age_s in (
        ("lookup-crm_ids-00000000", LEFT_S + 60),
        ("lookup-crm_ids-11111111", 60),
        ("other", LEFT_S * 2),
    ):
        (state / name).mkdir()
        (state / name / "current").touch()
        os.utime(state / name / "current", (time.time() - age_s,) * 2)
    await (await built(config, state)).close()
    left = {each.name for each in state.iterdir()}
    assert {"lookup-crm_ids-11111111", "other"} < left
    assert "lookup-crm_ids-00000000" not in left
    assert len(left) == 3
    lookup = config.lookups["crm_ids"]
    fields = {"account": lookup.fields["account"]}
    changed = config.model_copy(update={"lookups": {"crm_ids": lookup.model_copy(update={"fields": fields})}})
    await (await built(changed, state)).close()
    assert len({each.name for each in state.iterdir()}) == 4
