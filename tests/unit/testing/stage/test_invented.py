"""An event that is made up is one the journey delivers something for; where none can be, that is said."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.cli import main
from pipeline.config.load import load
from pipeline.model import Outcome
from pipeline.testing.stage import edges as module
from pipeline.testing.stage import invented
from pipeline.testing.stage.edges import Edges
from tests.unit.testing.stage.conftest import BASE

EXAMPLES = pathlib.Path("docs/examples")
NAMES = ("cart_abandonment", "churn_risk", "trial_to_paid", "unsubscribe_everywhere")


def made(folder: pathlib.Path, journey: str = "thanks") -> Edges:
    return Edges(load(folder, None), dict(Folders((packaged(), folder / "schemas")).readers), journey)


def changed(folder: pathlib.Path, before: str, after: str) -> pathlib.Path:
    file = folder / "journeys/thanks.yaml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    return folder


@pytest.fixture
def own(folder: pathlib.Path) -> pathlib.Path:
    """The same journey with events of Hookline's own record, whose properties are of any type."""
    text = (folder / "hookline.yaml").read_text()
    start, end = text.index("events:"), text.index("classes:")
    entry = "events:\n  - {topic: shop.orders, record: hookline.LifecycleEvent}\n"
    (folder / "hookline.yaml").write_text(text[:start] + entry + text[end:])
    shutil.rmtree(folder / "schemas")
    return folder


WHENS = (
    "event.properties.total > 20.0", "event.properties.total < 5.0", "20.0 <= event.properties.total",
    "event.properties.total != 0.0 && event.properties.state == 'paid'",
    "event.properties.state in ['paid', 'open']", "true && !(event.properties.state == 'open')",
    "has(event.properties.total) && event.customer.email.endsWith('@example.org')",
    "event.properties.total > 1.0 || event.properties.state == 'open'",
    "event.properties.total == -3.5", "event.properties.total >= 20.0 && event.properties.total < 21.0",
)  # fmt: skip


@pytest.mark.parametrize("when", WHENS)
def test_comparisons_of_a_typed_record_are_satisfied(folder, when):
    found = made(changed(folder, "event.properties.total >= 20.0", when))
    assert found._ended(found._good)["mail"].outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    "when",
    [
        *WHENS, "event.properties.many && event.properties.total == 3",
        "event.properties.lines.exists(x, x.sku == x.sku)",
        "timestamp(event.properties.at) < now && event.properties.state == 'paid'",
        "size(event.properties.state) > 3 && event.source.shop == 'eu'", "event.customer.ids.crm == 'a-1'",
    ],
)  # fmt: skip
def test_comparisons_of_fields_of_any_type_are_satisfied(own, when):
    found = made(changed(own, "event.properties.total >= 20.0", when))
    assert found._ended(found._good)["mail"].outcome is Outcome.DELIVERED


def test_what_a_contract_wants_is_tried_too(own):
    contract = '{"type": "object", "properties": {"total": {"type": "string", "pattern": "^[0-9]+[.][0-9]{2}$"}}}'
    (own / "contracts").mkdir()
    (own / "contracts/mail.json").write_text(contract)
    mail = own / "destinations/mail.yaml"
    mail.write_text(mail.read_text().replace("{path: /send}", "{path: /send, request_schema: contracts/mail.json}"))
    found = made(own)
    assert found._ended(found._good)["mail"].outcome is Outcome.DELIVERED
    assert found._event["properties"]["total"] == "20.00"


def test_a_written_case_comes_first(folder):
    (folder / "tests").mkdir()
    case = "  - case: it\n    given: {consent: {marketing.email: granted}}\n"
    expected = "    expect: {outcomes: {mail: delivered, paid: delivered}}\n"
    (folder / "tests/thanks.yaml").write_text(BASE.replace("c-1", "c-7") + case + expected)
    assert made(folder)._event["customer"]["id"] == "c-7"


def test_where_no_event_satisfies_it_there_is_none(folder):
    changed(folder, "event.properties.total >= 20.0", "event.properties.total > 2.0 && event.properties.total < 1.0")
    with pytest.raises(KeyError):
        made(folder)


def test_trying_ends(own, monkeypatch):
    monkeypatch.setattr(invented, "TRIES_MAX", 3)
    changed(own, "event.properties.total >= 20.0", "event.properties.a + event.properties.b == 77.0")
    with pytest.raises(KeyError):
        made(own)


@pytest.mark.parametrize("cases", [True, False], ids=["with_cases", "without_cases"])
@pytest.mark.parametrize("name", NAMES)
def test_edge_cases_of_every_example_hold(name, cases, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "SPIKE_EVENTS", 50)
    folder = shutil.copytree(EXAMPLES / name / "config", tmp_path / name)
    if not cases:
        shutil.rmtree(folder / "tests")
    assert main(["test", "--edge-cases", "--config", str(folder)]) == 0
    told = capsys.readouterr().out
    journeys = len(list((folder / "journeys").iterdir()))
    assert f"{12 * journeys} of {12 * journeys} edge cases hold\n" in told


def test_one_journey_without_an_event_does_not_end_the_run(folder, monkeypatch, capsys):
    monkeypatch.setattr(module, "SPIKE_EVENTS", 50)
    text = (folder / "journeys/thanks.yaml").read_text().replace("journey: thanks", "journey: never")
    (folder / "journeys/never.yaml").write_text(text.replace(">= 20.0", "> 2.0 && event.properties.total < 1.0"))
    assert main(["test", "--edge-cases", "--config", str(folder)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("skip  never: no case of it delivers something")
    assert told[-1] == "12 of 12 edge cases hold; skipped: never"
    assert main(["test", "--edge-cases", "never", "--config", str(folder)]) == 1  # nothing was played
    capsys.readouterr()
    assert main(["test", "--edge-cases", "--json", "--config", str(folder)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["skipped_journeys"] == ["never"]
    assert (document["passed"], document["failed"]) == (12, 0)
