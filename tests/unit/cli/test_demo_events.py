"""The demo's events: repeatable, valid, and of every kind the summary speaks of."""

import json
from collections import Counter

from pipeline.adapters.schemas import Folders, packaged
from pipeline.cli import lines
from pipeline.cli.demo import events
from pipeline.config.models import LIFECYCLE_EVENT


def test_the_same_seed_makes_the_same_events():
    assert list(events.records(200, 1)) == list(events.records(200, 1))
    assert list(events.records(200, 1)) != list(events.records(200, 2))


def test_there_are_as_many_events_as_asked_for_and_the_damaged_ones():
    made = list(events.records(100, 1))
    assert sum(each.document is not None for each in made) == 100
    assert sum(each.content is not None for each in made) == events.DAMAGED


def test_every_event_is_one_that_produce_takes():
    convert = lines.json_lines(Folders((packaged(),)).readers[LIFECYCLE_EVENT])
    for each in events.records(500, 3):
        if each.document is not None:
            event = convert(json.dumps(each.document))
            assert event is not None
            assert each.key == event["customer"]["id"]


def test_there_is_something_of_everything():
    made = [each.document for each in events.records(1_000, 1) if each.document is not None]
    assert len({each["id"] for each in made}) == 1_000
    assert Counter(each["type"] for each in made).keys() == set(events._TYPES)
    assert {json.dumps(each["consent"]) for each in made} == {
        "{}", '{"marketing.email": "granted"}', '{"marketing.email": "denied"}',
    }  # fmt: skip
    assert any(each["time"] < 0 for each in made)
    values = [float(each["properties"]["cart_value"]["decimal"]) for each in made if each["type"] == "cart.abandoned"]
    assert min(values) < 20 < max(values)
