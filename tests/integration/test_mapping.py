"""A shop's own records, mapped and not published again, through a whole worker: what is sent, and what is counted."""

from __future__ import annotations

import copy
import io
import json
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal

import fastavro
import pytest
from confluent_kafka.admin import AdminClient

from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import event, step

MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
PLACED = {
    "type": "record", "name": "OrderPlaced", "namespace": "shop",
    "fields": [
        {"name": "order_id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "placed_at", "type": MICROS},
        {"name": "buyer", "type": {"type": "record", "name": "Buyer", "fields": [
            {"name": "ref", "type": "string", "hookline.class": "identifier"},
            {"name": "mail", "type": ["null", "string"], "default": None, "hookline.class": "contact"},
        ]}},
        {"name": "opted_in", "type": "boolean"},
        {"name": "total", "type": MONEY},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["open", "paid"]}},
        {"name": "shipped_at", "type": ["null", MICROS], "default": None},
        {"name": "voucher", "type": ["null", "string"], "default": None, "hookline.class": "public"},
        {"name": "utm", "type": ["null", "string"], "default": None, "hookline.class": "public"},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
            {"name": "sku", "type": "string", "hookline.class": "public"},
            {"name": "qty", "type": "int"},
            {"name": "price", "type": MONEY},
        ]}}},
    ],
}  # fmt: skip
PARSED = fastavro.parse_schema(copy.deepcopy(PLACED))
HEAD = b"\xc3\x01" + bytes.fromhex(
    fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(PLACED), "CRC-64-AVRO")
)
MAPPING = {
    "record": "shop.OrderPlaced", "id": "${record.order_id}:placed", "type": "purchase.completed",
    "time": "${record.placed_at}", "customer": {"id": "${record.buyer.ref}", "email": "${record.buyer.mail}"},
    "consent": {"marketing.email": "${record.opted_in}"}, "source": {"campaign": "${record.utm}", "shop": "eu"},
    "properties": {
        name: f"${{record.{name}}}" for name in ("order_id", "total", "state", "shipped_at", "voucher", "lines")
    },
}  # fmt: skip
PAYLOAD = {
    "event": "${event.id}", "customer": "${event.customer.id}", "at": "${event.time}", "shop": "${event.source.shop}",
    "order": "${event.properties.order_id}", "total": "${event.properties.total}",
    "state": "${event.properties.state}", "cents": "${minor_units(event.properties.total, 2)}",
    "shipped?": "${event.properties.shipped_at}", "voucher?": "${event.properties.voucher}",
    "campaign?": "${event.source.campaign}", "subject": "Thanks for ${size(event.properties.lines)} things",
    "lines": {
        "each": "event.properties.lines", "as": "line",
        "item": {"sku": "${line.sku}", "qty": "${line.qty}", "price": "${line.price}", "order": "${event.id}"},
    },
}  # fmt: skip
ORDERS = {"events": ["purchase.completed"]}


@pytest.fixture
def shop(system, receiver):
    """The system with a topic of orders instead of its own; `shop.orders` is that topic's name."""
    system.orders = f"{system.group}.shop.orders"
    system.broker.create_topic(system.orders, 1)
    system.hookline["events"] = [{"topic": system.orders, **MAPPING}]
    system.hookline["classes"] = {"source.campaign": "public", "source.shop": "public"}
    (system.folder / "schemas").mkdir(parents=True)
    (system.folder / "schemas" / "shop.OrderPlaced.avsc").write_text(json.dumps(PLACED))
    system.destination("crm", receiver.url)
    system.journeys.clear()
    return system


def order(number: int = 0, **over) -> dict:
    """An order placed 456 µs after a whole millisecond of now."""
    return {
        "order_id": str(uuid.uuid4()), "placed_at": time.time_ns() // 1_000_000 * 1_000 + 456,
        "buyer": {"ref": f"b-{number}", "mail": None}, "opted_in": True, "total": Decimal("1234567890.10"),
        "state": "paid", "shipped_at": None, "voucher": None, "utm": None,
        "lines": [
            {"sku": "A", "qty": 2, "price": Decimal("0.10")}, {"sku": "B", "qty": 1, "price": Decimal("-3.00")}
        ],
    } | over  # fmt: skip


def written(datum: dict) -> Outgoing:
    """The record as the shop writes it: keyed by the order, not by the customer."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED, datum)
    return Outgoing(HEAD + out.getvalue(), datum["order_id"].encode())


def rfc3339(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000 / 1_000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def committed(system, topic: str) -> bool:
    return system.broker.lag(system.group, topic) == 0


async def test_a_foreign_record_becomes_a_request_with_exact_values(shop, receiver):
    shop.journey("receipt", step("crm", "crm.upsert", payload=PAYLOAD), trigger=ORDERS)
    shop.prepare()
    shop.worker()
    shipped = 1_795_428_000_123_999
    bare, full = order(1), order(2, shipped_at=shipped, voucher="V-1", utm="spring", total=Decimal("0.05"), lines=[])
    shop.broker.produce(shop.orders, [written(bare), written(full)])
    await eventually(lambda: receiver.accepted() == 2)
    one, two = sorted((json.loads(seen.body) for seen in receiver.seen), key=lambda body: body["customer"])
    name = f"{bare['order_id']}:placed"
    assert one == {
        "event": name, "customer": "b-1", "at": rfc3339(bare["placed_at"]), "shop": "eu", "order": bare["order_id"],
        "total": "1234567890.10", "state": "paid", "cents": 123_456_789_010, "subject": "Thanks for 2 things",
        "lines": [
            {"sku": "A", "qty": 2, "price": "0.10", "order": name},
            {"sku": "B", "qty": 1, "price": "-3.00", "order": name},
        ],
    }  # fmt: skip
    assert two == {
        "event": f"{full['order_id']}:placed", "customer": "b-2", "at": rfc3339(full["placed_at"]), "shop": "eu",
        "order": full["order_id"], "total": "0.05", "state": "paid", "cents": 5, "shipped": rfc3339(shipped),
        "voucher": "V-1", "campaign": "spring", "subject": "Thanks for 0 things", "lines": [],
    }  # fmt: skip
    assert rfc3339(shipped).endswith(".123Z")
    await eventually(lambda: committed(shop, shop.orders))
    assert {row.event_id for row in shop.outcomes()} == {one["event"], two["event"]}
    assert shop.account()["balanced"] is True


async def test_conditions_see_decimals_times_enums_and_null_as_what_they_are(shop, receiver):
    conditions = {
        "large": "event.properties.total >= 100.0",
        "exact": "event.properties.total == 99.99",
        "paid": 'event.properties.state == "paid"',
        "fresh": 'event.time > timestamp("2020-01-01T00:00:00Z")',
        "shipped": "has(event.properties.shipped_at) && event.properties.shipped_at > event.time",
        "vouched": "has(event.properties.voucher)",
        "bulky": "event.properties.lines.exists(line, line.qty > 1 && line.price < 1.0)",
    }
    payload = {"event": "${event.id}"}
    steps = [step(name, "crm.upsert", payload=payload, when=when) for name, when in conditions.items()]
    shop.journey("checks", *steps, trigger=ORDERS)
    shop.prepare()
    shop.worker()
    late = order(1, shipped_at=time.time_ns() // 1_000 + 60_000_000, total=Decimal("99.99"), state="open")
    none = order(2, total=Decimal("100.00"), voucher="", lines=[])
    shop.broker.produce(shop.orders, [written(late), written(none)])
    await eventually(lambda: len(shop.outcomes()) == 2 * len(conditions))
    held = {each["order_id"]: set() for each in (late, none)}
    for row in shop.outcomes():
        assert (row.outcome, row.reason) in {("delivered", ""), ("skipped", "condition_false")}
        if row.outcome == "delivered":
            held[row.event_id.partition(":")[0]].add(row.step)
    assert held[late["order_id"]] == {"exact", "fresh", "shipped", "bulky"}
    assert held[none["order_id"]] == {"large", "paid", "fresh", "vouched"}


async def test_consent_comes_from_the_records_own_field(shop, receiver):
    reaching = step("crm", "crm.upsert", payload={"event": "${event.id}"}, reaches="email")
    shop.journey("thanks", reaching, trigger=ORDERS, basis="consent", purpose="marketing")
    shop.prepare()
    shop.worker()
    yes, no = order(1), order(2, opted_in=False)
    shop.broker.produce(shop.orders, [written(yes), written(no)])
    await eventually(lambda: len(shop.outcomes()) == 2)
    assert {row.event_id.partition(":")[0]: (row.outcome, row.reason) for row in shop.outcomes()} == {
        yes["order_id"]: ("delivered", ""), no["order_id"]: ("skipped", "consent"),
    }  # fmt: skip
    assert receiver.deliveries() == 1


async def test_an_id_made_of_the_position_is_the_same_over_a_retry(shop, receiver):
    receiver.behaviour = Behaviour(unavailable=1.0)
    shop.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    shop.hookline["events"][0]["id"] = "position"
    shop.journey("receipt", step("crm", "crm.upsert", payload={"event": "${event.id}"}), trigger=ORDERS)
    shop.prepare()
    shop.worker()
    shop.broker.produce(shop.orders, [written(order(1)), written(order(2))])
    await eventually(lambda: sum(row.outcome == "retrying" for row in shop.outcomes()) >= 2)
    receiver.behaviour = Behaviour()
    await eventually(lambda: receiver.accepted() == 2, timeout_s=40)
    assert receiver.deliveries() == 2
    names = {f"{shop.orders}/0/0", f"{shop.orders}/0/1"}
    assert {json.loads(seen.body)["event"] for seen in receiver.seen} == names
    assert {seen.headers["hookline-event-id"] for seen in receiver.seen} == names
    assert {row.event_id for row in shop.outcomes()} == names


async def test_two_input_topics_work_side_by_side_and_are_both_accounted_for(shop, receiver):
    shop.hookline["events"].append({"topic": shop.topic, "record": "hookline.LifecycleEvent"})
    shop.journey("receipt", step("crm", "crm.upsert", payload={"event": "${event.id}"}), trigger=ORDERS)
    shop.journey("welcome", step("crm", "crm.upsert", payload={"event": "${event.id}"}))
    shop.prepare()
    shop.worker()
    orders = [order(n) for n in range(50)]
    shop.broker.produce(shop.orders, [written(each) for each in orders])
    signups = [event(n) for n in range(50)]
    shop.feed([*signups, b"no event", event(1, type="nobody.asked")])
    await eventually(lambda: receiver.accepted() == 100)
    await eventually(lambda: committed(shop, shop.orders) and committed(shop, shop.topic))
    wanted = {f"{each['order_id']}:placed" for each in orders} | {each["id"] for each in signups}
    assert {json.loads(seen.body)["event"] for seen in receiver.seen} == wanted

    admin = AdminClient(dict(shop.broker.settings))  # kept: its futures do not keep it
    done = admin.describe_consumer_groups([shop.group])[shop.group].result(20)
    topics = [{part.topic for part in member.assignment.topic_partitions} for member in done.members]
    assert sorted(topics, key=sorted) == sorted([{shop.orders}, {shop.topic}], key=sorted)  # one group, a consumer each
    for topic, count in ((shop.orders, 50), (shop.topic, 52)):
        assert sum(offset for offset, _ in shop.broker.committed(shop.group, topic).values()) == count
    account = shop.account()
    assert account["balanced"] is True
    assert account["positions"] == 102
    assert shop.ledger() == {"undecodable": 1, "no_journey": 1}
