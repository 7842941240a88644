"""The worked configuration: four journeys as a marketer writes them, from two companies' own Avro records."""

from __future__ import annotations

import io
import json
import pathlib
import shutil
from typing import Any

import fastavro
import pytest

from pipeline.config.compile import check
from pipeline.config.compile import compile as compile_config
from pipeline.config.load import load
from pipeline.config.secrets import Secrets
from pipeline.model import (
    ABSENT,
    RESULTS,
    ConsentSaid,
    Edge,
    FailureClass,
    Kind,
    Outcome,
    Record,
    Refused,
    Result,
    Suppress,
)

WORKED = pathlib.Path("tests/data/config/worked")
SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (WORKED / "schemas").glob("*.avsc")}
ENVIRONMENT = dict.fromkeys(("CRM_TOKEN", "PROMO_ALERT", "SALES_ALERT", "PRIVACY_ALERT"), "a" * 40)
NOW = 1_795_428_000_000
ON = frozenset({Outcome.DELIVERED, Outcome.DEFAULTED})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the folder."""
    root = tmp_path_factory.mktemp("worked") / "config"
    shutil.copytree(WORKED, root)
    return root


@pytest.fixture(scope="module")
def made(folder: pathlib.Path) -> Any:
    return compile_config(load(folder, None), Secrets(folder, ENVIRONMENT), SCHEMAS)


def started(made: Any, record: str, topic: str, **fields: object) -> tuple[Any, Any, Any]:
    """The datum, the event and the one route of a record."""
    plan = made.plan(topic, SCHEMAS[record])
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(json.loads(json.dumps(SCHEMAS[record]))), fields)
    datum = plan.read(out.getvalue(), 0)
    event = plan.envelope(datum, Record(topic, 0, 0, None, out.getvalue(), (), NOW))
    [route] = plan.routes[event.type]
    return datum, event, route


def steps_of(route: Any) -> dict[str, Any]:
    return {step.name: step for step in route.steps}


def test_nothing_is_wrong_with_it(folder: pathlib.Path) -> None:
    config = load(folder, None)
    assert check(config, SCHEMAS) == ()
    assert sorted(config.journeys) == ["cart_recovery", "churn_risk", "trial_to_paid", "unsubscribe_everywhere"]


CART = {"event_id": "e-1", "at": NOW, "buyer": "c-1", "mail": "ann@example.org", "cart": "k-1", "utm": None,
        "value": 129.5, "lines": [{"sku": "A", "qty": 2}]}  # fmt: skip


def cart(made: Any) -> tuple[Any, dict[str, Any]]:
    from decimal import Decimal  # noqa: PLC0415

    datum, _, route = started(made, "shop.CartAbandoned", "shop.carts", **CART | {"value": Decimal("129.50")})
    return datum, steps_of(route)


def test_a_decision_is_asked_within_its_budget_or_defaulted(made: Any) -> None:
    datum, steps = cart(made)
    incentive = steps["incentive"]
    assert (incentive.kind, incentive.budget_ms, incentive.after) == (Kind.DECIDE, 800, ())
    assert incentive.alerts == ("promo-oncall",)
    assert json.loads(incentive.render(datum, NOW)) == {
        "customer_id": "c-1", "cart_id": "k-1", "cart_value": "129.50", "source": "hookline",
        "lines": [{"sku": "A", "qty": 2}],
    }  # fmt: skip
    assert incentive.default(datum, NOW) == {"code": ""}


def test_the_code_decides_which_mail_is_sent(made: Any) -> None:
    datum, steps = cart(made)
    coded, plain = steps["with_code"], steps["without_code"]
    assert coded.after == plain.after == (Edge("incentive", ON),)
    answered = {"code": "SAVE10", "expires_at": "2026-11-23T11:00:00Z"}
    for response, wanted in ((answered, (True, False)), ({"code": ""}, (False, True))):
        datum[RESULTS] = {"incentive": Result(Outcome.DELIVERED, "", 200, response)}
        assert (coded.when(datum, NOW), plain.when(datum, NOW)) == wanted
        assert coded.deadline(datum, NOW) == (NOW + 3_600_000 if response is answered else ABSENT)
    datum[RESULTS] = {"incentive": Result(Outcome.DELIVERED, "", 200, answered)}
    assert json.loads(coded.render(datum, NOW)) == {
        "to": "ann@example.org", "template": "cart_incentive", "subject": "You left 1 things in your cart",
        "code": "SAVE10",
    }  # fmt: skip


def test_one_of_two_mails_is_enough_for_the_log(made: Any) -> None:
    datum, steps = cart(made)
    reached, delivered = steps["reached"], frozenset({Outcome.DELIVERED})
    assert reached.after == (Edge("with_code", delivered), Edge("without_code", delivered))
    assert reached.any_parent
    datum[RESULTS] = {"incentive": Result(Outcome.DEFAULTED, "timeout", 0, {"code": ""})}
    assert json.loads(reached.render(datum, NOW)) == {
        "customer_id": "c-1", "reached_at": "2026-11-23T10:00:00.000Z", "incentive": "defaulted",
    }  # fmt: skip


def test_a_stage_of_the_crm_chooses_the_template(made: Any) -> None:
    fields = {"event_id": "e-1", "at": NOW, "account": "a-1", "mail": "ann@example.org", "crm_id": "0035g"}
    datum, _, route = started(made, "saas.TeammateInvited", "saas.milestones", **fields)
    stage, nurture = route.steps
    assert (stage.kind, stage.alerts, nurture.alerts) == (Kind.ENRICH, ("sales-ops",), ())
    assert stage.target(datum, NOW) == b"/v3/accounts/0035g"
    assert json.loads(stage.render(datum, NOW)) == {"milestone": "collaborating", "at": "2026-11-23T10:00:00.000Z"}
    datum[RESULTS] = {"stage": Result(Outcome.DELIVERED, "", 200, {"stage": "collaborating"})}
    assert json.loads(nurture.render(datum, NOW))["template"] == "connect_a_source"
    datum[RESULTS] = {"stage": Result(Outcome.DELIVERED, "contract", 200)}
    assert nurture.render(datum, NOW) == Refused(FailureClass.MISSING_FIELD, "template")


def test_promotions_are_held_back_until_the_ticket_is_closed(made: Any) -> None:
    fields = {"event_id": "e-1", "at": NOW, "account": "a-1", "mail": None, "ratio": 0.5, "internal": None}
    datum, event, route = started(made, "saas.UsageDropped", "saas.usage", **fields)
    assert route.condition(datum, NOW) is True
    assert route.condition(datum | {"internal": True}, NOW) is False
    hold = steps_of(route)["hold_promotions"]
    assert hold.kind is Kind.MARK
    assert hold.after == (Edge("ticket", frozenset({Outcome.DELIVERED, Outcome.RETRYING})),)
    found = hold.mark(datum, NOW)
    assert isinstance(found, Suppress)
    assert (found.id, found.scope, found.of) == (f"ticket:{event.id}", "category", "promotional")
    assert (found.until_event, found.until_ms) == ("ticket.closed", NOW + 30 * 86_400_000)


def test_an_unsubscribe_reaches_three_systems_and_our_own_table(made: Any) -> None:
    fields = {
        "event_id": "e-1",
        "at": NOW,
        "buyer": "c-1",
        "mail": "ann@example.org",
        "crm_id": "7",
        "channel": "email",
    }
    datum, _, route = started(made, "shop.ConsentWithdrawn", "shop.consents", **fields)
    steps = steps_of(route)
    assert steps["ours"].mark(datum, NOW) == ConsentSaid("email", granted=False, at_ms=NOW)
    assert steps["crm"].target(datum, NOW) == b"/v3/contacts/7"
    assert {edge.parent for edge in steps["proof"].after} == {"ours", "esp", "crm", "ads"}
    assert {step.alerts for step in steps.values()} == {("privacy-oncall",)}
    assert {step.basis for step in steps.values()} == {"legal_obligation"}
