"""A secret typed into a file is found wherever it stands, told once, and never repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

WELCOME, CRM = "journeys/welcome.yaml", "destinations/crm.yaml"
STRIPE, GITHUB = "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "ghp_" + "x" * 36
BEARER = "x9" * 12
SLACK = "https://hooks.slack.com/services/" + "T000/B000/secret"


@pytest.mark.parametrize(
    ("file", "before", "after", "field"),
    [
        (WELCOME, "customer: ${event.customer.id}", f"key: {STRIPE}", "steps[0].payload.key"),
        (WELCOME, "customer: ${event.customer.id}", f"a: [{{b: {GITHUB}}}]", "steps[0].payload.a[0].b"),
        (WELCOME, "goal: Say hello", f"goal: With {GITHUB}", "goal"),
        (WELCOME, "customer: ${event.customer.id}", f"a: Bearer {BEARER}", "steps[0].payload.a"),
        (CRM, "https://crm.example", SLACK, "base_url"),
        (CRM, "{path: /notes}", f"{{path: /notes, headers: {{X-Key: {STRIPE}}}}}", "operations.note.headers.X-Key"),
        ("hookline.yaml", "bootstrap: env:KAFKA_BOOTSTRAP", f"bootstrap: {GITHUB}", "kafka.bootstrap"),
    ],
)
def test_a_typed_secret_is_refused(folder: Folder, file: str, before: str, after: str, field: str) -> None:
    problem = folder.change(file, before, after).problem()
    assert f" {field}: looks like a secret, and this file is for everyone to read (" in problem
    assert not [each for each in (STRIPE, GITHUB, SLACK, BEARER) if each in problem]


def test_a_url_that_is_the_secret_has_its_own_remedy(folder: Folder) -> None:
    problem = folder.change(CRM, "https://crm.example", SLACK).problem()
    assert problem.endswith("(write base_url: {secret: env:NAME, host: HOST})")


def test_references_and_common_words_pass(folder: Folder) -> None:
    folder.change(WELCOME, "goal: Say hello", "goal: A bearer of good news, with every basic subscription")
    folder.add(WELCOME, "      subject: Your basic membership\n      template: task_live_reminder_2026\n")
    folder.add(CRM, "auth: {bearer: {token: env:TOKEN}}\n").load()
