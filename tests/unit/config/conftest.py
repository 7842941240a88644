"""A small valid configuration that tests change one place of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config.load import load
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    import pathlib

    from pipeline.config.models import Config
    from pipeline.model import Problem

HOOKLINE = """\
group: shop
kafka:
  bootstrap: env:KAFKA_BOOTSTRAP
events:
  - topic: lifecycle.events
    record: hookline.LifecycleEvent
purposes: [marketing, service]
"""

JOURNEY = """\
journey: welcome
status: live
owner: lifecycle@shop.example
goal: Say hello
category: service
basis: contract
trigger:
  events: [signup.completed]
  max_age: 2h
steps:
  - step: hello
    call: crm.note
    kind: update
    payload:
      customer: ${event.customer.id}
"""

DESTINATION = """\
destination: crm
owner: sales@shop.example
base_url: https://crm.example
receives: [identifier]
idempotency: delivery_id
operations:
  note: {path: /notes}
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
        {"name": "opted_in", "type": "boolean", "default": False},
        {"name": "total", "type": MONEY},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["open", "paid"]}},
        {"name": "remark", "type": ["null", "string"], "default": None},
        {
            "name": "lines",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Line",
                    "fields": [
                        {"name": "sku", "type": "string", "hookline.class": "public"},
                        {"name": "price", "type": MONEY},
                    ],
                },
            },
        },
    ],
}  # fmt: skip
ORDERS = """\
group: shop
kafka: {bootstrap: broker:9092}
purposes: [marketing]
events:
  - topic: shop.orders
    record: shop.OrderPlaced
    id: "${record.order_id}:placed"
    type: purchase.completed
    time: ${record.placed_at}
    customer: {id: "${record.buyer}", email: "${record.mail}"}
    consent: {marketing.email: "${record.opted_in}"}
    source: {shop: "eu"}
    properties:
      {total: "${record.total}", state: "${record.state}", remark: "${record.remark}", lines: "${record.lines}"}
"""
ORDERS_JOURNEY = """\
journey: welcome
status: live
owner: lifecycle@shop.example
goal: Say thanks
category: promotional
basis: consent
purpose: marketing
trigger:
  events: [purchase.completed]
  when: event.properties.total >= 20.0 && event.properties.state == "paid"
  max_age: 2h
steps:
  - step: thanks
    call: crm.note
    kind: update
    reaches: email
    when: size(event.properties.lines) > 0
    payload:
      order: ${event.id}
      customer: ${event.customer.id}
      total: ${event.properties.total}
      at: ${event.time}
      shop: ${event.source.shop}
      subject: Thanks for ${size(event.properties.lines)} things
      cents: ${minor_units(event.properties.total, 2)}
      lines:
        each: event.properties.lines
        as: line
        item: {sku: "${line.sku}", price: "${line.price}", order: "${event.id}"}
"""


class Folder:
    """A configuration folder on disk."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.write("hookline.yaml", HOOKLINE)
        self.write("journeys/welcome.yaml", JOURNEY)
        self.write("destinations/crm.yaml", DESTINATION)

    def write(self, file: str, content: str | bytes) -> Folder:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def change(self, file: str, before: str, after: str) -> Folder:
        """Replace text that is there exactly once."""
        text = (self.root / file).read_text()
        assert text.count(before) == 1, (file, before)
        return self.write(file, text.replace(before, after))

    def add(self, file: str, text: str) -> Folder:
        """Append text; an indented one goes below the last top-level key."""
        return self.write(file, (self.root / file).read_text() + text)

    def load(self, env: str | None = None) -> Config:
        return load(self.root, env)

    def problems(self, env: str | None = None) -> tuple[Problem, ...]:
        """Load what must be refused."""
        with pytest.raises(ConfigError) as caught:
            load(self.root, env)
        assert str(caught.value) == "\n".join(map(str, caught.value.problems))
        return caught.value.problems

    def problem(self, env: str | None = None) -> str:
        """Load what must be refused for one reason only."""
        found = self.problems(env)
        assert len(found) == 1, [str(each) for each in found]
        return str(found[0])


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def orders(folder: Folder) -> Folder:
    """A configuration that maps a shop's own record, PLACED, to events."""
    return folder.write("hookline.yaml", ORDERS).write("journeys/welcome.yaml", ORDERS_JOURNEY)
