"""What the files of a configuration say must fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config.checks import class_problem, known_types
from pipeline.config.classes import named

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

MAPPED = """\
group: shop
kafka: {bootstrap: localhost:9092}
events:
  - topic: shop.orders
    record: shop.OrderPlaced
    id: "${record.order_id}:placed"
    type: purchase.completed
    time: ${record.placed_at}
    customer: {id: "${record.buyer}"}
  - topic: shop.signups
    id: position
    type: signup.completed
    time: ${record.at}
    customer: {id: "${record.who}"}
classes: {customer.id: identifier, properties.address: contact, properties.total: public}
purposes: [marketing, service]
"""
WELCOME = "journeys/welcome.yaml"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("crm.note", "crn.note", "12:11: steps[0].call: there is no such destination (did you mean crm)"),
        (
            "crm.note",
            "x.note",
            "12:11: steps[0].call: there is no such destination (each is a file destinations/NAME.yaml)",
        ),
        ("crm.note", "crm.nite", "12:11: steps[0].call: crm has no such operation (did you mean note)"),
        ("crm.note", "crm.x", "12:11: steps[0].call: crm has no such operation (it has: note)"),
        ("crm.note", "note", "12:11: steps[0].call: must be destination.operation (such as mail.send)"),
        ("crm.note", "crm.note.x", "12:11: steps[0].call: must be destination.operation (such as mail.send)"),
        (
            "basis: contract",
            "basis: contract\npurpose: servce",
            "7:10: purpose: is no purpose of hookline.yaml (did you mean service)",
        ),
        ("basis: contract", "basis: legitimate_interest", "6:8: basis: needs a `purpose` with legitimate_interest"),
        (
            "kind: update",
            "kind: update\n    basis: legitimate_interest",
            "14:12: steps[0].basis: needs a `purpose` with legitimate_interest",
        ),
        (
            "basis: contract",
            "basis: consent\npurpose: service",
            (
                "12:5: steps[0].basis: consent is given for a channel, and no step reaches any (say on "
                "which channel a step reaches the customer, or choose another basis)"
            ),
        ),
        ("kind: update", "kind: update\n    max_age: 3h", "14:14: steps[0].max_age: is longer than the trigger's"),
        (
            "    payload:\n      customer: ${event.customer.id}\n",
            "",
            "11:5: steps[0]: needs a `payload`: crm.note sends a body",
        ),
    ],
)
def test_journeys(folder: Folder, before: str, after: str, expected: str) -> None:
    assert folder.change(WELCOME, before, after).problem() == f"{WELCOME}:{expected}"


def test_a_step_is_named_once(folder: Folder) -> None:
    folder.add(WELCOME, "  - {step: hello, call: crm.note, kind: record, payload: {a: 1}}\n")
    assert folder.problem() == f"{WELCOME}:16:12: steps[1].step: is here twice (see steps[0])"


def test_consent_for_the_channel_of_another_step(folder: Folder) -> None:
    folder.change(WELCOME, "basis: contract", "basis: consent\npurpose: service")
    folder.add(WELCOME, "  - {step: mail, call: crm.note, kind: update, reaches: email, payload: {a: 1}}\n")
    steps = folder.load().journeys["welcome"].steps
    assert [step.reaches for step in steps] == [None, "email"]


def test_an_operation_without_body_takes_no_payload(folder: Folder) -> None:
    folder.change("destinations/crm.yaml", "/notes}", "/notes, body: none}")
    assert folder.problem() == f"{WELCOME}:15:7: steps[0].payload: crm.note sends no body"
    folder.change(WELCOME, "    payload:\n      customer: ${event.customer.id}\n", "").load()


def test_event_types_that_no_mapping_makes(folder: Folder) -> None:
    folder.write("hookline.yaml", MAPPED)
    folder.change(WELCOME, "signup.completed", "signup.complete, purchase.completed, x")
    assert [str(each) for each in folder.problems()] == [
        (
            f"{WELCOME}:8:12: trigger.events[0]: no `events` entry of hookline.yaml makes this type "
            "(did you mean signup.completed)"
        ),
        (
            f"{WELCOME}:8:49: trigger.events[2]: no `events` entry of hookline.yaml makes this type "
            "(there are: purchase.completed, signup.completed)"
        ),
    ]


def test_types_taken_from_the_record_cannot_be_known(folder: Folder) -> None:
    assert known_types(folder.load().events) is None
    folder.write("hookline.yaml", MAPPED.replace("type: signup.completed", "type: ${record.kind}"))
    assert known_types(folder.load().events) is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("topic: shop.signups", "topic: shop.dead", "10:12: events[1].topic: is one of Hookline's own topics"),
        ("topic: shop.signups", "topic: shop.retry.10s", "10:12: events[1].topic: is one of Hookline's own topics"),
        ("topic: shop.signups", "topic: a/b", "10:12: events[1].topic: must be a Kafka topic name"),
        (
            "topic: shop.signups",
            "topic: shop.orders\n    record: shop.OrderPlaced",
            "10:5: events[1]: maps the same topic and record again (see events[0])",
        ),
        (
            "    id: position\n",
            "",
            "10:5: events[1]: needs `id` (only hookline.LifecycleEvent has fields of that name)",
        ),
        ('{id: "${record.who}"}', '{name: "${record.who}"}', "10:5: events[1]: `customer` needs `id`"),
        (
            "time: ${record.at}",
            "time: record.at",
            ("13:11: events[1].time: is text as it stands, not a value (write ${…} around an expression)"),
        ),
        ("[marketing, service]", "[service, service]", "16:21: purposes[1]: is here twice"),
        (
            "properties.total: public",
            "properties.total: secret",
            ("15:83: classes.properties.total: must be one of: identifier, contact, free_text, public"),
        ),
        ("group: shop", "group: shop\nretry_tiers: [1m, 10s]", "2:14: retry_tiers: must ascend, each delay once"),
        ("group: shop", "group: shop\nretry_tiers: [60s, 1m]", "2:14: retry_tiers: must ascend, each delay once"),
        ("group: shop", "group: shop\nretry_tiers: [10ms]", "2:15: retry_tiers[0]: must be at least 1s"),
        ("group: shop", "group: shop\nretry_tiers: []", "2:14: retry_tiers: must not be empty"),
        (
            "group: shop",
            "group: shop\nregistry: {url: env:REGISTRY, user: b}",
            ("2:11: registry: needs `user` and `password`, or neither"),
        ),
    ],
)
def test_the_main_file(folder: Folder, before: str, after: str, expected: str) -> None:
    folder.write("hookline.yaml", MAPPED)
    assert folder.change("hookline.yaml", before, after).problem() == f"hookline.yaml:{expected}"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            "https://crm.example",
            "http://crm.example",
            "3:11: base_url: sends in the clear (use https://, or name the private_networks it is in)",
        ),
        (
            "https://crm.example",
            "https://u:hunter2@crm.example",
            "3:11: base_url: must not carry credentials; use auth",
        ),
        ("https://crm.example", "https://crm.example/?k=hunter2", "3:11: base_url: must have no query and no fragment"),
        ("https://crm.example", "https://crm.example:99999", "3:11: base_url: is not a URL"),
        (
            "https://crm.example",
            "ftp://crm.example",
            "3:11: base_url: must start with https:// (or http:// for private networks) and name a host",
        ),
        (
            "[identifier]",
            "[identity]",
            "4:12: receives[0]: must be one of: identifier, contact, free_text (did you mean identifier)",
        ),
        ("{note: {path: /notes}}", "{}", ""),
    ],
)
def test_destinations(folder: Folder, before: str, after: str, expected: str) -> None:
    if not expected:
        folder.change("destinations/crm.yaml", "operations:\n  note: {path: /notes}", "operations: {}")
        assert folder.problem() == "destinations/crm.yaml:6:13: operations: must not be empty"
        return
    problem = folder.change("destinations/crm.yaml", before, after).problem()
    assert problem == f"destinations/crm.yaml:{expected}"


def test_the_query_is_not_that_of_the_key(folder: Folder) -> None:
    folder.change("destinations/crm.yaml", "/notes}", "/notes, query: {'key?': a}}")
    folder.add("destinations/crm.yaml", "auth: {api_key: {query: key, value: env:K}}\n")
    assert folder.problem().endswith("operations.note.query.key?: is what carries the key of auth")


def test_plain_http_in_a_private_network(folder: Folder) -> None:
    folder.change("destinations/crm.yaml", "https:", "http:")
    folder.add("destinations/crm.yaml", 'private_networks: [10.2.0.0/16, "::1/128"]\n').load()


PLACE = ("steps", 0, "payload", "customer")


def test_classes(folder: Folder) -> None:
    config = folder.write("hookline.yaml", MAPPED).load()
    assert named(config.classes, ("customer", "id")) == ("identifier", 0)
    assert named(config.classes, ("properties", "address", "street")) == ("contact", 1)
    assert named(config.classes, ("properties", "note")) == ("", 0)
    journey = config.journeys["welcome"]
    assert class_problem(config, "crm.note", journey.file, PLACE, "identifier") is None
    assert class_problem(config, "crm.note", journey.file, PLACE, "public") is None
    assert str(class_problem(config, "crm.note", journey.file, PLACE, "contact")) == (
        f"{WELCOME}:15:17: steps[0].payload.customer: sends a field of class contact, which crm "
        "does not receive (add it to receives of destinations/crm.yaml, or do not send it)"
    )
    assert str(class_problem(config, "crm.note", journey.file, PLACE, None)) == (
        f"{WELCOME}:15:17: steps[0].payload.customer: sends text of no class (name its class in "
        "hookline.yaml's classes; public is not personal)"
    )
    found = class_problem(config, "crm.note", "destinations/crm.yaml", ("operations", "note"), "contact", in_url=True)
    assert str(found).startswith(
        "destinations/crm.yaml:7:9: operations.note: puts a field of class contact into the URL"
    )


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("localhost", "127.0.0.0/8"),
        ("crm.localhost:8443", "127.0.0.0/8"),
        ("127.0.0.9", "127.0.0.0/8"),
        ("10.2.3.4", "10.2.3.4/32"),
        ("[::1]:8443", "::1/128"),
    ],
)
def test_a_host_that_is_plainly_not_public_needs_its_network(folder: Folder, host: str, network: str) -> None:
    folder.change("destinations/crm.yaml", "crm.example", host)
    assert folder.problem() == (
        "destinations/crm.yaml:3:11: base_url: is of this machine or a private network, which is never called "
        f"(name the network: private_networks: [{network}])"
    )
    folder.add("destinations/crm.yaml", f'private_networks: ["{network}"]\n').load()


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("note.reqest", "did you mean contracts/note.request.json"),
        ("note.response", "put the JSON Schema of note's request there, or leave request_schema out"),
        ("order.request", "put the JSON Schema of note's request there, or leave request_schema out"),
    ],
)
def test_a_contract_that_is_missing_is_not_confused_with_another(folder: Folder, wanted: str, hint: str) -> None:
    for name in ("note.request", "mail.response"):
        folder.write(f"contracts/{name}.json", "{}")
    folder.change("destinations/crm.yaml", "/notes}", f"/notes, request_schema: contracts/{wanted}.json}}")
    assert folder.problem().endswith(f"there is no such file ({hint})")
