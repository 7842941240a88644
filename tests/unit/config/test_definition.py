"""A definition's hash changes with what a run does and with nothing else; a journey is made of it again."""

from __future__ import annotations

import orjson
import pytest

from pipeline.config.compile import check
from pipeline.config.definition import definition, journey_hash, read

WELCOME = "journeys/welcome.yaml"
SHARED = "fragments:\n  both: {at: '${event.time}'}\ntables:\n  names: {paid: Paid}\n  others: {a: b}\n"


@pytest.fixture
def shared(orders):
    orders.write("shared/common.yaml", SHARED)
    return orders.change(
        WELCOME, "at: ${event.time}\n", "include: [both]\n      name: ${tables.names[event.properties.state]}\n"
    )


def hashed(orders) -> str:
    config = orders.load()
    return journey_hash(config.journeys["welcome"], config.tables)


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (WELCOME, "goal: Say thanks", "goal: Say thanks, warmly  # a remark"),
        (WELCOME, "owner: lifecycle@shop.example", "owner: others@shop.example"),
        (WELCOME, "status: live", "status: draft"),
        (WELCOME, "category: promotional\nbasis: consent", "basis: consent\ncategory: promotional"),
        (WELCOME, "kind: update", "kind: update\n    after: []\n    join: all"),
        ("shared/common.yaml", "others: {a: b}", "others: {a: c}"),
        ("destinations/crm.yaml", "path: /notes", "path: /note"),
    ],
)
def test_what_no_run_notices_changes_nothing(shared, file, before, after):
    first = hashed(shared)
    assert len(first) == 20
    assert hashed(shared.change(file, before, after)) == first


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        (WELCOME, "max_age: 2h", "max_age: 3h"),
        (WELCOME, "total: ${event.properties.total}", "sum: ${event.properties.total}"),
        (WELCOME, "step: thanks", "step: thank_you"),
        ("shared/common.yaml", "at: '${event.time}'", "when: '${event.time}'"),
        ("shared/common.yaml", "paid: Paid", "paid: Done"),
    ],
)
def test_what_a_run_does_changes_it(shared, file, before, after):
    first = hashed(shared)
    assert hashed(shared.change(file, before, after)) != first


def test_a_definition_is_read_as_it_was_meant(shared):
    config = shared.load()
    made = definition(config, config.journeys["welcome"])
    assert made is not None
    assert made.max_age_ms == 7_200_000
    found = read(made.content)
    assert found is not None
    journey, tables = found
    assert journey == config.journeys["welcome"]
    assert tables == {"names": {"paid": "Paid"}}
    assert journey_hash(journey, tables) == hashed(shared)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"journey": {}, "tables": {}}', b'{"journey": {"journey": 1}, "tables": []}']
)
def test_what_this_release_cannot_read(content):
    assert read(content) is None


def test_keys_of_another_release_make_it_unreadable(shared):
    config = shared.load()
    made = definition(config, config.journeys["welcome"])
    assert made is not None
    content = orjson.loads(made.content)
    content["journey"]["steps"][0]["unheard_of"] = 1
    assert read(orjson.dumps(content)) is None


def test_a_definition_too_large_for_the_topic_is_refused(orders):
    fragment = "".join(f"    a{index}: {'x' * 1_000}\n" for index in range(240))
    orders.write("shared/common.yaml", f"fragments:\n  much:\n{fragment}")
    steps = "".join(
        f"  - {{step: s{index}, call: crm.note, kind: update, payload: {{include: [much]}}}}\n" for index in range(2)
    )
    orders.add(WELCOME, steps)
    [problem] = check(orders.load())
    assert str(problem) == f"{WELCOME}:1:1: is larger than 256 KiB with its fragments and tables"
