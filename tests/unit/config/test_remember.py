"""config/remember: who asks for what is remembered, what a key is, and what cannot be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.adapters.schemas import KnownSchemas
from pipeline.config import remember, topics
from pipeline.config.compile import check
from pipeline.config.compile import compile as compile_config
from pipeline.config.secrets import Secrets

if TYPE_CHECKING:
    import pytest

    from tests.unit.config.conftest import Folder

ONCE = 'max_age: 2h\n  once: {key: "%s", per: 30d}'


def journey(folder: Folder, key: str) -> Folder:
    return folder.change("journeys/welcome.yaml", "max_age: 2h", ONCE % key)


def compiled(folder: Folder):
    config = folder.load()
    secrets = Secrets(config.folder)
    return compile_config(config, secrets, KnownSchemas.of(config, secrets).reader_schemas())


def once(folder: Folder):
    """Compile the journey; return its `once` and a datum of our own record."""
    made = compiled(folder)
    schema = KnownSchemas.of(folder.load(), Secrets(folder.root)).reader_schemas()["hookline.LifecycleEvent"]
    plan = made.plan("lifecycle.events", schema)
    (route,) = plan.routes["signup.completed"]
    return route.once


def datum(**over):
    customer = {"id": "ann", "email": None, "phone": None, "timezone": None, "ids": {}}
    event = {"id": "e", "type": "signup.completed", "time": 1, "customer": customer, "consent": {}, "source": {}}
    return event | {"properties": {"plan": "pro", "n": 7}} | over


def test_only_who_asks_needs_the_topic(folder: Folder) -> None:
    assert not remember.used(folder.load())
    assert "shop.memory" not in topics.own(folder.load())
    assert compiled(folder).remembers is False
    journey(folder, "${event.customer.id}")
    assert topics.own(folder.load())[-1] == "shop.memory"
    assert compiled(folder).remembers is True
    folder.change("journeys/welcome.yaml", "status: live", "status: draft")
    assert not remember.used(folder.load())


def test_a_key_is_a_hash_of_journey_and_text(folder: Folder) -> None:
    made = once(journey(folder, "${event.properties.plan}:${event.properties.n}"))
    key = made.key(datum(), 0)
    assert (len(key), made.per_ms) == (16, 30 * 86_400_000)
    assert key == made.key(datum(id="another"), 5)
    assert key != made.key(datum(properties={"plan": "pro", "n": 8}), 0)
    assert made.key(datum(properties={"plan": "pro"}), 0) is None


def test_numbers_and_constants_are_keys_too(folder: Folder) -> None:
    assert once(journey(folder, "${event.properties.n}")).key(datum(), 0) is not None
    folder.change("journeys/welcome.yaml", "${event.properties.n}", "first of all")
    assert once(folder).key(datum(), 0) == once(folder).key(datum(properties={}), 9)


def test_hashes_are_keyed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = once(journey(folder, "${event.id}")).key(datum(), 0)
    monkeypatch.setenv(remember.KEY_VARIABLE, "another")
    assert once(folder).key(datum(), 0) != first
    assert len({remember.secret(group) for group in ("a", "b")}) == 1
    monkeypatch.delenv(remember.KEY_VARIABLE)
    assert len({remember.secret(group) for group in ("a", "b")}) == 2


def test_a_key_that_cannot_be_computed_is_refused_at_its_place(folder: Folder) -> None:
    journey(folder, "${event.nothing}")
    config = folder.load()
    schemas = KnownSchemas.of(config, Secrets(config.folder)).reader_schemas()
    (problem,) = check(config, schemas)
    assert str(problem).startswith("journeys/welcome.yaml:10:")
    assert "trigger.once.key: the event has no `nothing` here" in str(problem)


def test_longer_than_anything_is_remembered_is_refused(folder: Folder) -> None:
    journey(folder, "${event.id}")
    assert folder.load()
    folder.add("hookline.yaml", "retention: {memory: 29d}\n")
    assert folder.problem() == (
        "journeys/welcome.yaml:10:35: trigger.once.per: is longer than what is remembered "
        "(hookline.yaml's retention.memory says how long anything is remembered)"
    )


def test_several_inputs_are_refused(folder: Folder) -> None:
    journey(folder, "${event.id}")
    folder.change(
        "hookline.yaml", "    record: hookline.LifecycleEvent\n",
        "    record: hookline.LifecycleEvent\n  - topic: other.events\n    record: hookline.LifecycleEvent\n",
    )  # fmt: skip
    assert "trigger.once: with several input topics in `events` is not supported" in folder.problem()
