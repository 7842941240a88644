"""A configuration with a mapped record, conditions, consent and a batch, to be played."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config import staged
from pipeline.config.load import load
from pipeline.testing.stage.play import Player

if TYPE_CHECKING:
    import pathlib

HOOKLINE = """\
group: shop
kafka: {bootstrap: env:KAFKA_BOOTSTRAP}
events:
  - topic: shop.orders
    record: shop.OrderPlaced
    id: "${record.order_id}:placed"
    type: purchase.completed
    time: ${record.placed_at}
    customer: {id: "${record.buyer}", email: "${record.mail}"}
    source: {shop: "eu"}
    properties: {total: "${record.total}", state: "${record.state}", big: "${record.order_id > 1000}"}
classes: {properties.total: public, properties.state: public}
purposes: [marketing]
"""
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
PLACED = {
    "type": "record",
    "name": "OrderPlaced",
    "namespace": "shop",
    "fields": [
        {"name": "order_id", "type": "long"},
        {"name": "placed_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "buyer", "type": "string", "hookline.class": "identifier"},
        {"name": "mail", "type": ["null", "string"], "default": None, "hookline.class": "contact"},
        {"name": "total", "type": MONEY},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["open", "paid"]}},
    ],
}  # fmt: skip
JOURNEY = """\
journey: thanks
owner: lifecycle@shop.example
goal: Say thanks
category: promotional
basis: consent
purpose: marketing
trigger:
  events: [purchase.completed]
  when: event.properties.total >= 20.0
  max_age: 2d
steps:
  - step: mail
    call: mail.send
    kind: update
    reaches: email
    payload: {to: "${event.customer.email}", total: "${event.properties.total}", shop: "${event.source.shop}"}
  - step: paid
    call: warehouse.touchpoints
    kind: record
    when: event.properties.state == "paid" && event.time < now
    payload: {id: "${event.id}", at: "${event.time}"}
"""
MAIL = """\
destination: mail
owner: mail@shop.example
base_url: env:MAIL_URL
receives: [contact]
auth: {bearer: {token: env:MAIL_TOKEN}}
idempotency: delivery_id
timeout: 5s
operations:
  send: {path: /send}
"""
WAREHOUSE = """\
destination: warehouse
owner: data@shop.example
base_url: https://warehouse.example
receives: [identifier]
idempotency: delivery_id
operations:
  touchpoints:
    path: /touchpoints
    metadata: headers_and_body
    batch: {max_events: 10, max_bytes: 64KiB, max_wait: 1s}
"""
BASE = """\
journey: thanks
event:
  type: purchase.completed
  time: 2026-11-23T10:00:00Z
  customer: {id: c-1, email: ann@example.org}
  properties: {total: "129.50", state: paid}
cases:
"""


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    """The folder on disk, without cases."""
    for name, text in (
        ("hookline.yaml", HOOKLINE), ("journeys/thanks.yaml", JOURNEY), ("destinations/mail.yaml", MAIL),
        ("destinations/warehouse.yaml", WAREHOUSE), ("schemas/placed.avsc", json.dumps(PLACED)),
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def play(folder: pathlib.Path):
    """Return what plays one case, given as YAML."""

    def played(text: str):
        (folder / "tests").mkdir(exist_ok=True)
        indented = "".join(f"    {line}\n" for line in text.strip().splitlines())
        (folder / "tests/thanks.yaml").write_text(f"{BASE}  - case: it\n{indented}")
        config = load(folder, None)
        readers = dict(Folders((packaged(), folder / "schemas")).readers)
        assert staged.check(config, readers) == ()
        return Player(config, readers, "thanks").play(0)

    return played
