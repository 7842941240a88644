"""How a destination lets us in is read, and what may not be said is refused at its place, unquoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CRM = "destinations/crm.yaml"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("auth: hunter2", "auth: must be a mapping (key: value)"),
        ("auth: {}", "auth: needs exactly one of `api_key` and `bearer` (or the word none)"),
        ("auth: {bearer: {token: hunter2}}", "auth.bearer.token: must be a reference to a secret, never the secret "),
        ("auth: {bearer: {token: 'env:not a name'}}", "auth.bearer.token: must be a reference to a secret"),
        ("auth: {bearer: {}}", "auth.bearer.token: is required"),
        ("auth: {api_key: {value: env:K}}", "auth.api_key: needs exactly one of `header` and `query`"),
        ("auth: {api_key: {header: 'X Y', value: env:K}}", "auth.api_key.header: must be an HTTP header name"),
        ("auth: {berer: {token: env:K}}", "auth.berer: there is no such key (did you mean bearer)"),
        ("sign: {standard_webhooks: {secrets: []}}", "sign.standard_webhooks.secrets: must not be empty"),
        ("sign: {standard_webhooks: {secrets: [hunter2]}}", "sign.standard_webhooks.secrets[0]: must be a reference"),
        ("tls: {ca: env:CA}", "tls.ca: must be file:PATH (relative to the configuration folder)"),
    ],
)
def test_refused(folder: Folder, line: str, expected: str) -> None:
    problem = folder.add(CRM, f"{line}\n").problem()
    _, place, rest = problem.partition(f"{CRM}:")
    assert place
    assert rest.partition(": ")[2].startswith(expected)
    assert "hunter2" not in problem


def test_an_api_key_may_be_the_authorization_header(folder: Folder) -> None:
    auth = "auth: {api_key: {header: Authorization, value: env:K}}"
    assert folder.add(CRM, f"{auth}\n").load().destinations["crm"].auth is not None
