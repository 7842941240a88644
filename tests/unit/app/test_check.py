"""app/check: the version of a configuration changes with what it does. All problems at once: tests/unit/cli."""

from __future__ import annotations

import pytest

from pipeline.app.check import checked, version
from tests.support.folder import write_folder


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path, "shop", "events", "broker:9092")


def loaded(folder):
    config, problems = checked(folder, None)
    assert not problems
    return config


def change(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_layout_and_comments_are_no_other_version(folder):
    before = version(loaded(folder))
    assert len(before) == 12
    journey = next((folder / "journeys").glob("*.yaml"))
    journey.write_text("# a comment\n" + journey.read_text() + "\n\n")
    assert version(loaded(folder)) == before


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("hookline.yaml", "broker:9092", "broker:9093"),
        ("journeys/welcome.yaml", "max_age: ", "max_age: 1"),
        ("destinations/crm.yaml", "crm.example", "crm2.example"),
    ],
)
def test_what_it_does_is(folder, file, before, after):
    was = version(loaded(folder))
    change(folder / file, before, after)
    assert version(loaded(folder)) != was


def test_schemas_and_contracts_are_part_of_it(folder):
    was = version(loaded(folder))
    (folder / "contracts").mkdir()
    (folder / "contracts/a.json").write_text("{}")
    with_contract = version(loaded(folder))
    (folder / "contracts/a.json").write_text('{"type": "object"}')
    assert len({was, with_contract, version(loaded(folder))}) == 3
    (folder / "schemas").mkdir()
    (folder / "schemas/x.X.avsc").write_text('{"type": "record", "name": "x.X", "fields": []}')
    assert version(loaded(folder)) not in (was, with_contract)
