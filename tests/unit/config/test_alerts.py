"""Who is told of what follows from the live steps that name an alert."""

from __future__ import annotations

import pytest

from pipeline.config.alerts import audience, urls
from pipeline.config.secrets import Secrets
from pipeline.errors import ConfigError

ALERTS = """\
alerts:
  oncall: {url: env:ONCALL}
  sales: {url: "file:secrets/sales", digest: 1h}
  nobody: {url: env:UNUSED}
"""
STEPS = """\
  - step: log
    call: crm.note
    kind: record
    payload: {customer: "${event.customer.id}"}
    on_failure: {alert: [sales, oncall]}
  - step: quiet
    call: crm.note
    kind: update
    payload: {customer: "${event.customer.id}"}
    on_failure: {alert: []}
on_failure: {alert: [oncall]}
"""


@pytest.fixture
def telling(folder):
    return folder.add("hookline.yaml", ALERTS).add("journeys/welcome.yaml", STEPS)


def test_steps_name_who_is_told_or_their_journey_does(telling):
    told = audience(telling.load())
    assert told.digest_ms == {"oncall": 300_000, "sales": 3_600_000}
    assert told.destinations == {"crm": ("oncall", "sales")}
    assert told.conditions == {
        ("welcome", "steps.hello.when"): ("oncall",),
        ("welcome", "steps.log.when"): ("sales", "oncall"),
        ("welcome", "trigger.when"): ("oncall", "sales"),
    }
    assert told.types == {"welcome": ("signup.completed",)}


def test_nobody_is_told_of_what_does_not_run(telling):
    telling.change("journeys/welcome.yaml", "status: live", "status: draft")
    told = audience(telling.load())
    assert (told.digest_ms, told.destinations, told.conditions) == ({}, {}, {})


def test_urls_are_secrets_and_all_that_are_missing_are_named(telling):
    config = telling.load()
    telling.write("secrets/sales", "json://crm.example/T0KEN\n")
    wanted = audience(config).digest_ms
    assert urls(config, Secrets(telling.root, {"ONCALL": "json://chat.example/"}), wanted) == {
        "oncall": "json://chat.example/", "sales": "json://crm.example/T0KEN",
    }  # fmt: skip
    telling.write("secrets/sales", "")
    with pytest.raises(ConfigError) as caught:
        urls(config, Secrets(telling.root, {}), wanted)
    assert [each.split(":")[3].strip() for each in map(str, caught.value.problems)] == [
        "alerts.oncall.url",
        "alerts.sales.url",
    ]
