"""One policy for all destinations: what `identity:` says decides how the event's identifiers are read and sent."""

from __future__ import annotations

import orjson
import pytest

from pipeline import cli
from pipeline.config.compile import check
from pipeline.config.compile import compile as compile_config
from pipeline.config.secrets import Secrets
from pipeline.model import FailureClass, Refused

PERSON = {
    "type": "record", "name": "Signup", "namespace": "shop",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "mail", "type": ["null", "string"], "default": None},
        {"name": "tel", "type": ["null", "string"], "default": None},
        {"name": "tel_number", "type": "long", "default": 0},
        {"name": "friend", "type": ["null", "string"], "default": None},
        {"name": "ids", "type": {"type": "map", "values": "string"}, "default": {}},
    ],
}  # fmt: skip
MAIN = """\
group: shop
kafka: {bootstrap: broker:9092}
events:
  - topic: shop.signups
    record: shop.Signup
    id: ${record.id}
    type: signup.completed
    time: ${record.at}
    customer: {id: "${record.id}", email: "${record.mail}", phone: "${record.tel}", ids: "${record.ids}"}
    properties: {friend: "${record.friend}"}
classes: {customer: contact, properties.friend: contact}
identity: {phone: {default_region: DE}}
"""
DATUM = {"id": "c-1", "at": 0, "mail": " Ann@BÜCHER.example", "tel": "0171 3920012", "friend": None, "ids": {}}


@pytest.fixture
def sending(folder):
    """Compile one step with that payload (and condition), and give what it sends for a datum."""

    def made(payload: str, when: str = "true", main: str = MAIN):
        folder.write("hookline.yaml", main)
        folder.change("destinations/crm.yaml", "[identifier]", "[identifier, contact]")
        folder.change("journeys/welcome.yaml", "      customer: ${event.customer.id}", f"      {payload}")
        folder.add("journeys/welcome.yaml", f"    when: {when}\n")
        config = folder.load()
        plan = compile_config(config, Secrets(folder.root, {}), {"shop.Signup": PERSON}).plan("shop.signups", PERSON)
        step = plan.routes["signup.completed"][0].steps[0]

        def sent(**changes):
            body = step.render(DATUM | changes, 0)
            return body if isinstance(body, Refused) else orjson.loads(body)

        sent.when = lambda **changes: step.when(DATUM | changes, 0)
        return sent

    return made


def invalid(field):
    return Refused(FailureClass.INVALID_IDENTIFIER, field)


def test_identifiers_are_sent_in_their_one_form(sending):
    sent = sending(
        '{to: "${event.customer.email}", tel: "${event.customer.phone}"}'[1:-1].replace(", tel", "\n      tel")
    )
    assert sent() == {"to": "ann@xn--bcher-kva.example", "tel": "+491713920012"}
    assert sent(mail="ann@example.org", tel="+44 7700 900123") == {"to": "ann@example.org", "tel": "+447700900123"}


def test_an_invalid_one_is_the_reason_with_the_key_that_sends_it(sending):
    sent = sending('a: {b: ["${event.customer.email}"]}')
    assert sent(mail="ann") == invalid("a.b[]")
    assert sent(mail=None) == Refused(FailureClass.MISSING_FIELD, "a.b[]")


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ("to: ${event.customer.email}", "to"),
        ("to?: ${event.customer.email}", "to"),  # left out is what is absent, not what is wrong
        ("to: Ann <${event.customer.email}>", "to"),
        ("to: ${sha256(event.customer.email)}", "to"),
        ("to: ${event.customer.email + ''}", "to"),
        ("to: {of: '${event.customer.phone}'}", "to.of"),
    ],
)
def test_however_it_is_sent(sending, payload, field):
    assert sending(payload)(mail="nobody", tel="12") == invalid(field)


def test_an_expression_that_does_without_it_is_sent(sending):
    sent = sending("to: '${has(event.customer.email) ? event.customer.email : \"none\"}'")
    assert (sent(mail="nobody"), sent(mail=None)) == ({"to": "none"}, {"to": "none"})


def test_to_conditions_an_invalid_one_is_absent(sending):
    sent = sending("x: 1", when='has(event.customer.email) && event.customer.email.endsWith("@example.org")')
    assert [sent.when(mail=each) for each in ("ANN@Example.org", "ann@other.example", "ann", None)] == [
        True, False, False, False,
    ]  # fmt: skip


def test_the_normal_form_is_what_is_hashed_and_a_hash_is_not_hashed_again(sending):
    sent = sending("a: ${sha256(event.customer.email)}\n      b: ${sha256(event.properties.friend)}")
    once = sent(mail="ann@example.org", friend="x")["a"]
    assert once == "438c4c7afe600cdf1e455c369bec76dc970fc8ca463447c7b387a347f3c79331"  # of sha256sum
    assert sent(mail=" ANN@example.ORG ", friend="x")["a"] == once
    for hashed in (once, once.upper(), f" {once}\n", "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="):
        assert sent(mail="ann@example.org", friend=hashed) == invalid("b")


def test_cross_system_ids_come_from_a_map_in_the_event(sending):
    sent = sending("account: ${event.customer.ids.crm}")
    assert sent(ids={"crm": "A-7", "shop": "s"}) == {"account": "A-7"}
    assert sent(ids={"shop": "s"}) == Refused(FailureClass.MISSING_FIELD, "account")


def test_other_fields_may_hold_identifiers(sending):
    main = MAIN.replace("identity: {", "identity: {fields: {properties.friend: email}, ")
    sent = sending("to: ${event.properties.friend}", main=main)
    assert (sent(friend="Bob@Example.org"), sent(friend="bob")) == ({"to": "bob@example.org"}, invalid("to"))


def test_a_source_has_its_own_region(sending):
    main = MAIN.replace("    type: signup", "    identity: {phone: {default_region: GB}}\n    type: signup")
    assert sending("tel: ${event.customer.phone}", main=main)(tel="07700 900123") == {"tel": "+447700900123"}


def test_without_a_region_a_number_needs_its_country(sending):
    main = MAIN.replace("identity: {phone: {default_region: DE}}\n", "")
    sent = sending("tel: ${event.customer.phone}", main=main)
    assert sent() == invalid("tel")
    assert sent(tel="+49 171 3920012") == {"tel": "+491713920012"}


def test_as_is_sends_what_the_event_has(sending):
    main = MAIN.replace("{phone: {default_region: DE}}", "{email: as_is, phone: {form: as_is}}")
    sent = sending("to: ${event.customer.email}\n      tel: ${event.customer.phone}", main=main)
    assert sent(mail="nobody") == {"to": "nobody", "tel": "0171 3920012"}


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("default_region: DE", "default_region: de", "12:36: identity.phone.default_region: must be a country code of"),
        ("default_region: DE", "default_region: XX", "12:36: identity.phone.default_region: is no country with a"),
        ("{phone: {default_region: DE}}", "{email: lower}", "12:19: identity.email: must be one of: normalise, as_is"),
        ("{phone: {default_region: DE}}", "{fields: {a b: email}}", "must be a field path such as customer.email"),
    ],
)
def test_what_is_refused(folder, before, after, problem):
    folder.write("hookline.yaml", MAIN.replace(before, after))
    assert problem in folder.problem()


def test_an_identifier_that_is_no_text_is_found_by_validate(folder):
    folder.write("hookline.yaml", MAIN.replace("record.tel}", "record.tel_number}"))
    folder.change("journeys/welcome.yaml", "${event.customer.id}", "${event.customer.phone}")
    folder.change("destinations/crm.yaml", "[identifier]", "[identifier, contact]")
    [found] = check(folder.load(), {"shop.Signup": PERSON})
    assert "an identifier must be text, this is int" in str(found)


CASES = """\
journey: welcome
event:
  type: signup.completed
  time: 2026-11-23T10:00:00Z
  customer: {id: c-1, email: "nobody at example.org", phone: "+49 171 3920012"}
cases:
  - case: one identifier is none
    expect:
      outcomes: {hello: dead(invalid_identifier), text: delivered}
      requests: {text: {body: {to: "+491713920012"}}}
"""


def test_an_invalid_one_ends_its_own_delivery_alone(folder, capsys):
    """On a whole worker: the step that sends it is dead, the one beside it is delivered."""
    folder.change("destinations/crm.yaml", "[identifier]", "[identifier, contact]")
    folder.change("journeys/welcome.yaml", "customer: ${event.customer.id}", "to: ${event.customer.email}")
    folder.add(
        "journeys/welcome.yaml",
        '  - {step: text, call: crm.note, kind: update, payload: {to: "${event.customer.phone}"}}\n',
    )
    folder.write("tests/welcome.yaml", CASES)
    code = cli.main(["test", "--config", str(folder.root)])
    said = capsys.readouterr()
    assert code == 0, said
    assert "1 of 1 cases" in said.out
