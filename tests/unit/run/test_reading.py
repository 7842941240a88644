"""run/reading: plans by topic and schema, and what the registry does not know."""

from __future__ import annotations

from pipeline.model import Record, Undecodable
from pipeline.ports import Unknown
from pipeline.run import reading
from pipeline.run.reading import Reading
from tests.unit.run.conftest import FRAME, REF


def record(topic: str = "in") -> Record:
    return Record(topic, 0, 0, b"k", FRAME + b"hello", (), 0)


def test_a_schema_is_planned_for_on_each_topic_by_itself() -> None:
    asked = []
    one = Reading(lambda topic, schema: asked.append((topic, schema)))
    assert one.read(record()) == REF
    one.learn("in", REF, {"name": "A"})
    assert one.read(record()) == "unmapped"
    assert one.read(record("other")) == REF
    assert asked == [("in", {"name": "A"})]


def test_what_the_registry_did_not_know_is_asked_for_again() -> None:
    one = Reading(lambda *_: None)
    one.learn("in", REF, Unknown("no such ID"))
    assert one.read(record()) == Undecodable("unknown schema: no such ID")
    one.ask_again()
    assert one.read(record()) == REF


def test_references_without_a_schema_are_bounded() -> None:
    one = Reading(lambda *_: None)
    for ref in range(reading.UNKNOWN_REMEMBERED + 5):
        one.learn("in", ref, Unknown("no such ID"))
    assert len(one.plans) == reading.UNKNOWN_REMEMBERED
    assert ("in", 4) not in one.plans
    one.ask_again()
    assert one.plans == {}
