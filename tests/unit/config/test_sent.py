"""What is sent where, with its class: every value, lists and URLs included, each once."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING

from pipeline.config.compile import sent
from pipeline.config.sent import Sent, sending
from tests.unit.config.conftest import PLACED

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

READERS = {
    "shop.OrderPlaced": PLACED,
    "hookline.LifecycleEvent": json.loads(pathlib.Path("schemas/lifecycle_event.avsc").read_text("utf-8")),
}


def test_every_value_of_a_payload(orders: Folder) -> None:
    found = sent(orders.load(), READERS)
    assert {(each.field, each.source, each.cls) for each in found} == {
        ("order", "event.id", "public"),
        ("customer", "event.customer.id", "identifier"),
        ("total", "event.properties.total", "public"),
        ("at", "event.time", "public"),
        ("shop", "event.source.shop", "public"),
        ("subject", "event.properties.lines", "public"),
        ("cents", "event.properties.total", "public"),
        ("lines[].sku", "line.sku", "public"),
        ("lines[].price", "line.price", "public"),
        ("lines[].order", "event.id", "public"),
    }
    assert len(found) == len(set(found))
    assert {(each.journey, each.step, each.call, each.destination) for each in found} == {
        ("welcome", "thanks", "crm.note", "crm")
    }


def test_path_and_query(folder: Folder) -> None:
    folder.change("destinations/crm.yaml", "{path: /notes}", '{path: "/c/{customer}", query: {e: "${event.id}"}}')
    assert [(each.field, each.source) for each in sent(folder.load(), READERS)] == [
        ("customer", "event.customer.id"),
        ("query.e", "event.id"),
    ]


def test_text_of_no_class_may_be_personal(folder: Folder) -> None:
    found = sent(folder.load(), {})
    assert [(each.cls, each.is_personal) for each in found] == [("public", False)] or found[0].is_personal
    assert Sent("j", "s", "d.o", "f", "event.properties.x", "unclassified").is_personal
    assert not Sent("j", "s", "d.o", "f", "event.id", "public").is_personal


def test_drafts_send_nothing(folder: Folder) -> None:
    folder.change("journeys/welcome.yaml", "status: live", "status: draft")
    config = folder.load()
    assert sent(config, READERS)
    assert sending(sent(config, READERS), config.journeys) == ()
