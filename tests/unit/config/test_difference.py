"""What differs between two configurations, in the words their authors wrote, and what is newly sent."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

from pipeline.config import files
from pipeline.config.compile import sent
from pipeline.config.difference import Change, Difference, Side, difference
from pipeline.config.load import load
from tests.unit.config.conftest import DESTINATION, JOURNEY, Folder

READERS = {"hookline.LifecycleEvent": json.loads(pathlib.Path("schemas/lifecycle_event.avsc").read_text("utf-8"))}
WELCOME, CRM = "journeys/welcome.yaml", "destinations/crm.yaml"


class Pair:
    """A configuration before and after."""

    def __init__(self, root: pathlib.Path) -> None:
        (root / "old").mkdir()
        self.old = Folder(root / "old")
        self.new = Folder(pathlib.Path(shutil.copytree(root / "old", root / "new")))

    def difference(self) -> Difference:
        return difference(side(self.old.root), side(self.new.root))


def side(root: pathlib.Path) -> Side:
    config = load(root, None)
    return Side(config, files.read(root).trees, sent(config, READERS))


@pytest.fixture
def pair(tmp_path: pathlib.Path) -> Pair:
    return Pair(tmp_path)


def test_layout_order_and_written_defaults_are_no_difference(pair: Pair) -> None:
    head, _, steps = JOURNEY.partition("trigger:")
    steps = "steps:" + steps.partition("steps:")[2]
    trigger = "# a comment\ntrigger: {max_age: 120m, events: [signup.completed], when: true}\n"
    pair.new.write(WELCOME, "\n".join(reversed(head.splitlines())) + "\n" + trigger + steps)
    pair.new.add(CRM, "timeout: 10s\n")
    found = pair.difference()
    assert (found.journeys.changed, found.destinations.changed, found.affected, found.newly_sent) == (
        {"welcome": (Change("trigger.when", None, "true"),)}, {}, ("crm",), (),
    )  # fmt: skip


def test_keys_are_shown_as_they_were_written(pair: Pair) -> None:
    pair.new.change(WELCOME, "max_age: 2h", "max_age: 90m").change(WELCOME, "goal: Say hello\n", "goal: Greet\n")
    pair.new.add(CRM, "limits: {rate: 200/s}\ntimeout: 5s\n")
    pair.old.add(CRM, "timeout: 2s\n")
    found = pair.difference()
    assert found.journeys.changed["welcome"] == (
        Change("goal", "Say hello", "Greet"),
        Change("trigger.max_age", "2h", "90m"),
    )
    assert set(found.destinations.changed["crm"]) == {
        Change("timeout", "2s", "5s"),
        Change("limits.rate", None, "200/s"),
    }
    assert found.limits == {
        "journeys/welcome": (Change("trigger.max_age", "2h", "90m"),),
        "destinations/crm": found.destinations.changed["crm"],
    }


def test_a_default_is_called_one(pair: Pair) -> None:
    pair.new.add(CRM, "timeout: 5s\n")
    assert pair.difference().destinations.changed == {"crm": (Change("timeout", "(default)", "5s"),)}


def test_objects_and_parts_that_come_and_go(pair: Pair) -> None:
    pair.new.write("destinations/mail.yaml", DESTINATION.replace("crm", "mail"))
    pair.new.write("journeys/bye.yaml", JOURNEY.replace("welcome", "bye").replace("crm.note", "mail.note"))
    pair.old.write("journeys/old.yaml", JOURNEY.replace("welcome", "old"))
    pair.new.add(WELCOME, "  - {step: again, call: crm.note, kind: update, payload: {a: 1}}\n")
    pair.old.add(CRM, "  gone: {path: /gone}\n")
    found = pair.difference()
    assert (found.journeys.added, found.journeys.removed) == (("bye",), ("old",))
    assert (found.destinations.added, found.destinations.removed) == (("mail",), ())
    assert found.journeys.changed == {"welcome": (Change("steps.again", None, "added"),)}
    assert found.destinations.changed == {"crm": (Change("operations.gone", "removed", None),)}
    assert found.affected == ("crm", "mail")


def test_the_main_file_contracts_and_tables(pair: Pair) -> None:
    pair.new.change("hookline.yaml", "purposes: [marketing, service]", "purposes: [service]\nretention: {dead: 7d}")
    pair.old.write("contracts/a.json", '{"type": "object"}')
    pair.new.write("contracts/a.json", '{"type": "array"}').write("shared/a.yaml", "tables: {t: {a: 1}}\n")
    found = pair.difference()
    assert set(found.hookline) == {
        Change("retention.dead", "(default)", "7d"),
        Change("purposes", '["marketing","service"]', '["service"]'),
    }
    assert set(found.contracts.changed) == {"a"} or set(found.contracts.changed) == {"contracts/a.json"}
    assert found.tables.added == ("t",)


def test_personal_data_is_flagged_where_it_is_new_to_its_destination(pair: Pair) -> None:
    pair.old.change(CRM, "[identifier]", "[identifier, contact]")
    pair.new.change(CRM, "[identifier]", "[identifier, contact]")
    pair.new.add(
        WELCOME, "      mail: ${event.customer.email}\n      again: ${event.customer.id}\n      at: ${event.time}\n"
    )
    found = pair.difference()
    assert [(each.sent.field, each.sent.cls, each.is_flagged) for each in found.newly_sent] == [
        ("mail", "contact", True),
        ("again", "identifier", False),
        ("at", "public", False),
    ]
    assert found.is_flagged


def test_what_is_left_out_is_told_and_flags_nothing(pair: Pair) -> None:
    pair.new.change(WELCOME, "customer: ${event.customer.id}", "at: ${event.time}")
    found = pair.difference()
    assert [(each.destination, each.source) for each in found.no_longer_sent] == [("crm", "event.customer.id")]
    assert not found.is_flagged


def test_a_draft_that_goes_live_begins_to_send(pair: Pair) -> None:
    pair.old.change(WELCOME, "status: live", "status: draft")
    found = pair.difference()
    assert found.journeys.changed == {"welcome": (Change("status", "draft", "live"),)}
    assert found.is_flagged


def test_steps_and_operations_are_known_by_name_not_by_place(pair: Pair) -> None:
    step = "  - {step: first, call: crm.note, kind: update, payload: {a: 1}}\n"
    for folder, text in ((pair.old, JOURNEY + step), (pair.new, JOURNEY.replace("steps:\n", "steps:\n" + step))):
        folder.write(WELCOME, text)
    assert pair.difference().journeys.changed == {}
