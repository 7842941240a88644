"""Edge cases hold for a sound configuration, and each tells when what it asks for does not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config.load import load
from pipeline.model import Outcome
from pipeline.run.settle import Settlement
from pipeline.testing.stage import edges as module
from pipeline.testing.stage.edges import Edges
from tests.unit.testing.stage.conftest import BASE

CASE = """\
  - case: it
    given: {consent: {marketing.email: granted}}
    expect: {outcomes: {mail: delivered, paid: delivered}}
"""


@pytest.fixture
def edges(folder):
    (folder / "tests").mkdir()
    (folder / "tests/thanks.yaml").write_text(BASE + CASE)
    return Edges(load(folder, None), dict(Folders((packaged(), folder / "schemas")).readers), "thanks")


def flaws(made, name: str) -> tuple[str, ...]:
    (checked,) = [each for each in made.play() if each.name == name]
    return checked.flaws


def test_a_sound_journey_holds(edges, monkeypatch):
    monkeypatch.setattr(module, "SPIKE_EVENTS", 100)
    checked = list(edges.play())
    assert [each for each in checked if each.flaws] == []
    assert len(checked) == 12


def test_a_journey_that_keeps_order_holds_too(folder, edges, monkeypatch):
    monkeypatch.setattr(module, "SPIKE_EVENTS", 1_500)  # of one customer: more than a partition of a log may hold
    file = folder / "journeys/thanks.yaml"
    file.write_text(file.read_text().replace("trigger:", "ordering: key\ntrigger:", 1))
    ordered = Edges(load(folder, None), dict(Folders((packaged(), folder / "schemas")).readers), "thanks")
    assert [each for each in ordered.play() if each.flaws] == []


def test_what_stops_a_worker_is_told(edges, monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Settlement, "finish", broken)
    assert flaws(edges, "the event is late") == ("stopped the worker: ZeroDivisionError",)


def test_a_request_without_consent_is_told(edges, monkeypatch):
    real = edges._perform
    monkeypatch.setattr(
        edges,
        "_perform",
        lambda events, *rest: real([{**each, "consent": {"email": "granted"}} for each in events], *rest),
    )
    assert set(flaws(edges, "the customer said no")) == {
        "mail: was sent with basis consent", "paid: was sent with basis consent",
    }  # fmt: skip


def test_an_outcome_that_is_missing_or_comes_twice_is_told(edges):
    good = edges._perform([edges._event])
    mail = next(row for row in good.outcomes if row.step == "mail")
    without = replace(good, outcomes=tuple(row for row in good.outcomes if row.step != "mail"))
    assert list(edges._accounted(without)) == ["no outcome of mail"]
    twice = replace(good, outcomes=(*good.outcomes, replace(mail, outcome=Outcome.DEAD)))
    assert list(edges._accounted(twice)) == ["mail ended 2 times"]
    assert list(edges._accounted(good, {edges._event["id"], "another"})) == ["no outcome of mail, paid"]


def test_an_identifier_that_is_sent_as_it_was_is_told(edges, folder):
    text = (folder / "hookline.yaml").read_text()
    (folder / "hookline.yaml").write_text(text + "identity: {email: as_is}\n")
    config, readers = load(folder, None), dict(Folders((packaged(), folder / "schemas")).readers)
    unchecked = Edges(config, readers, "thanks")
    assert flaws(unchecked, "an identifier is invalid") == ()  # the configuration says so
    unchecked._config = edges._config
    assert set(flaws(unchecked, "an identifier is invalid")) == {"customer.email: was sent as it was"}
