"""Of a request that is shown, what may be personal is masked; what nobody knows may be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.config.shown import MASK, Masking, call_of, entry
from tests.unit.config.conftest import DESTINATION, ORDERS, ORDERS_JOURNEY, PLACED

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CRM = DESTINATION.replace("[identifier]", "[identifier, contact, free_text]").replace(
    "note: {path: /notes}", 'note: {path: "/notes/{order}", query: {q: "${event.customer.id}", v: 2}}'
)
CLASSES = "classes: {properties.remark: free_text}\n"


@pytest.fixture
def masking(folder: Folder):
    folder.write("hookline.yaml", ORDERS + CLASSES).write("destinations/crm.yaml", CRM)
    config = folder.write("journeys/welcome.yaml", ORDERS_JOURNEY).load()
    made = Masking(config, entry(config, "purchase.completed"), {"shop.OrderPlaced": PLACED})
    return made, call_of(config.journeys["welcome"], "thanks")


def test_a_body(masking) -> None:
    made, step = masking
    body = {
        "customer": "c-1", "total": "129.50", "at": "2026-11-23T10:00:00.000Z", "shop": "eu", "subject": "Thanks",
        "cents": 12950, "lines": [{"sku": "A", "price": "1.00", "order": "7"}], "hookline": {"event_id": "7"},
        "stray": "x",
    }  # fmt: skip
    shown = made.body(step, body)
    assert shown["customer"] == MASK
    assert shown["stray"] == MASK
    assert (shown["total"], shown["cents"], shown["shop"]) == ("129.50", 12950, "eu")
    assert shown["hookline"] == {"event_id": "7"}
    assert "c-1" not in json.dumps(shown)


def test_path_and_query(masking) -> None:
    made, step = masking
    assert made.target(step) == f"/notes/{{order}}?q={MASK}&v=2"


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("plain", True),
        ("${event.properties.total}", True),
        ("${event.time}", True),
        ("${event.customer.email}", False),
        ("Dear ${event.customer.id}", False),
        ("${event.properties.remark}", False),
        ("${no.such.thing}", False),
        ("${event.customer.email.size() > 3}", False),
    ],
)
def test_what_is_public(masking, text: str, *, public: bool) -> None:
    assert masking[0].public(text) is public
