"""What a destination may say is read, and what it may not is refused at its place, unquoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CRM = "destinations/crm.yaml"

FULL = """\
destination: crm
owner: sales@shop.example
base_url: https://crm.example
receives: [identifier]
data: {region: eu, retention: 2y}
private_networks: [10.2.0.0/16]
auth: {bearer: {token: env:TOKEN}}
tls: {ca: file:ca.pem}
sign: {standard_webhooks: {secrets: [env:A, file:b]}}
idempotency: header:Idempotency-Key
timeout: 5s
limits: {rate: 10/s, concurrency: 8, queue: 100}
breaker: {failures: 20%, of: 10, open: 1s, open_max: 1m}
retry: {max_attempts: 3, max_age: 1h, ambiguous: dead}
on_status: {409: delivered, 401: hold}
response_bytes_max: 1KiB
operations:
  note: {method: PUT, path: /a/b-c, headers: {Prefer: return=minimal}, body: json, metadata: headers}
  ping: {method: GET, body: none}
"""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", (64, True)),
        ("limits: {concurrency: {adaptive: {max: 500}}}\n", (500, True)),
        ("limits: {concurrency: {adaptive: {}}}\n", (64, True)),
        ("limits: {concurrency: 12}\n", (12, False)),
    ],
)
def test_concurrency_is_adaptive_or_a_number(folder: Folder, line: str, expected: tuple[int, bool]) -> None:
    folder.add(CRM, line)
    assert folder.load().destinations["crm"].limits.concurrency == expected


def test_every_key_of_a_destination(folder: Folder) -> None:
    crm = folder.write(CRM, FULL).load().destinations["crm"]
    assert (crm.data.region, crm.data.retention) == ("eu", 730 * 86_400_000)
    assert crm.sign is not None
    assert crm.sign.standard_webhooks.secrets == ("env:A", "file:b")
    assert (crm.limits.rate, crm.breaker.open_ms, crm.retry.max_age_ms) == (10.0, 1_000, 3_600_000)
    assert crm.retries_ambiguous is False
    assert crm.on_status == {409: "delivered", 401: "hold"}
    assert crm.operations["note"].headers == {"Prefer": "return=minimal"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("receives: identifier", "receives: must be a list ([a, b])"),
        (
            "private_networks: [10.2.0.1/16]",
            "private_networks[0]: must be a network in CIDR notation without host bits ",
        ),
        ("private_networks: [localhost]", "private_networks[0]: must be a network in CIDR notation"),
        ("idempotency: 'header:a b'", "idempotency: must be delivery_id, header:NAME or none"),
        ("idempotency: header:Authorization", "idempotency: carries a credential"),
        ("timeout:", "timeout: has no value (leave the key out for its default)"),
        ("timeout: 0s", "timeout: must be more than 0 and at most 40000d"),
        ("timeout: 1.5", "timeout: needs a unit (such as 800ms"),
        ("timeout: 301s", "timeout: must be at most 5m"),
        ("limits: {rate: 10}", "limits.rate: needs a unit"),
        ("limits: {rate: 10/d}", "limits.rate: must be a rate such as 200/s"),
        ("limits: {concurrency: 0}", "limits.concurrency: must be at least 1"),
        ("limits: {concurrency: 1.5}", "limits.concurrency: must be a whole number"),
        ("limits: {concurrency: true}", "limits.concurrency: must be a whole number"),
        ("limits: {concurrency: '8'}", "limits.concurrency: must be a whole number"),
        ("limits: {concurrency: 10001}", "limits.concurrency: must be at most 10000"),
        ("limits: {concurrency: {adaptive: {max: 0}}}", "limits.concurrency: must be at least 1"),
        ("limits: {concurrency: {adaptive: 8}}", "limits.concurrency: must be a whole number or {adaptive: {max:"),
        (
            "limits: {concurrency: {adaptive: {min: 8}}}",
            "limits.concurrency: must be a whole number or {adaptive: {max:",
        ),
        ("limits: {queue: 1000000}", "limits.queue: must be at most 100000"),
        ("breaker: {failures: 0.5}", "breaker.failures: needs a unit"),
        ("breaker: {open: 1h}", "breaker: `open_max` must not be shorter than `open`"),
        ("retry: {max_attempts: 101}", "retry.max_attempts: must be at most 100"),
        ("retry: {ambiguous: maybe}", "retry.ambiguous: must be one of: retry, dead"),
        ("on_status: {9: retry}", "on_status[9]: must be an HTTP status from 200 to 599"),
        ("on_status: {4xx: retry}", "on_status.4xx: must be an HTTP status from 200 to 599"),
        (
            "on_status: {409: deliverd}",
            "on_status[409]: must be one of: delivered, rejected, retry, hold, disable (did you mean",
        ),
        ("response_bytes_max: 17MiB", "response_bytes_max: must be at most 16MiB"),
        ("operations: []", "operations: must be a mapping (key: value)"),
        ("operations: {Note: {}}", "operations.Note: must be a name: lower-case letters, digits and underscores"),
        ("owner: ''", "owner: must not be empty"),
        ("owner: [a]", "owner: must be text"),
        ('owner: "a\\nb"', "owner: must be one line"),
    ],
)
def test_refused(folder: Folder, line: str, expected: str) -> None:
    key = line.partition(":")[0]
    lines = [each for each in FULL.splitlines() if not each.startswith((key, "  "))]
    if key != "operations":
        lines[-1] = "operations: {note: {path: /notes}}"
    problem = folder.write(CRM, "\n".join([*lines, line]) + "\n").problem()
    _, place, rest = problem.partition(f"{CRM}:")
    assert place
    assert rest.partition(": ")[2].startswith(expected)
    assert "hunter2" not in problem
