"""Requests begin with what the destination says, and no secret shows anywhere but in them."""

from __future__ import annotations

import pytest

from pipeline.config.request import Requests
from pipeline.config.secrets import Secrets
from pipeline.core import signing
from pipeline.errors import ConfigError
from pipeline.model import Answer, Broken

CRM = "destinations/crm.yaml"
FULL = """\
destination: crm
owner: sales@shop.example
base_url: env:CRM_URL
private_networks: [127.0.0.0/8]
receives: [identifier]
idempotency: header:Idempotency-Key
auth: {api_key: {query: key, value: env:CRM_KEY}}
sign: {standard_webhooks: {secrets: [env:CRM_SIGN, env:CRM_SIGN]}}
limits: {rate: 10/s, concurrency: 3, queue: 7}
on_status: {409: delivered}
operations:
  note: {method: PATCH, path: /notes, headers: {Prefer: return=minimal}}
"""


def requests(folder, **environ):
    return Requests(folder.load(), Secrets(folder.root, environ))


def head(made, body=b"{}"):
    """The request line, and the headers by name."""
    first, *lines = made.head("id-1", b"", "00-1-2-00", 5, body).decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines if line)


def test_destinations_and_heads_carry_what_the_file_says(folder):
    folder.write(CRM, FULL)
    secret = signing.secret_of(b"k" * 32)
    made = requests(folder, CRM_URL="http://127.0.0.1:8080/api/", CRM_KEY="a key&", CRM_SIGN=secret)
    crm = made.destinations["crm"]
    assert (crm.host, crm.port, crm.tls, crm.rate_per_s, crm.concurrency, crm.queue) == (
        "127.0.0.1", 8080, False, 10.0, 3, 7,
    )  # fmt: skip
    assert made.retry("crm.note").on_status == {409: "delivered", 410: "disable"}
    request = made.request("crm.note", "welcome", "hello")
    assert request.method == "PATCH"
    first, headers = head(request)
    assert first == "PATCH /api/notes?key=a%20key%26 HTTP/1.1"
    assert headers["Host"] == "127.0.0.1:8080"
    assert headers["Prefer"] == "return=minimal"
    assert headers["Accept-Encoding"] == "identity"  # without it any coding would be welcome (RFC 9110, 12.5.3)
    assert headers["Idempotency-Key"] == headers["webhook-id"] == "id-1"
    assert (headers["hookline-journey"], headers["hookline-step"]) == ("welcome", "hello")
    assert headers["webhook-signature"].count("v1,") == 2


def test_what_is_shown_of_an_address_holds_no_secret(folder):
    folder.change(CRM, "https://crm.example", "https://crm.example/v2")
    assert requests(folder).request("crm.note", "welcome", "hello").url_template == "/v2/notes"
    # chat systems' incoming hooks are secrets themselves: of an address out of the environment no path is shown
    folder.change(CRM, "https://crm.example/v2", "env:CRM_URL")
    made = requests(folder, CRM_URL="https://chat.example/hooks/hush").request("crm.note", "welcome", "hello")
    assert made.url_template == "/notes"
    assert head(made)[0] == "POST /hooks/hush/notes HTTP/1.1"


@pytest.mark.parametrize(
    ("url", "host", "port", "header"),
    [
        ("https://crm.example", "crm.example", 443, "crm.example"),
        ("https://crm.example:8443", "crm.example", 8443, "crm.example:8443"),
        ("https://[2001:db8::1]/a", "2001:db8::1", 443, "[2001:db8::1]"),
    ],
)
def test_the_host_header_leaves_the_usual_port_out(folder, url, host, port, header):
    folder.change(CRM, "https://crm.example", "env:CRM_URL")
    made = requests(folder, CRM_URL=url)
    assert (made.destinations["crm"].host, made.destinations["crm"].port) == (host, port)
    assert head(made.request("crm.note", "welcome", "hello"))[1]["Host"] == header


def test_a_bearer_token_is_sent_as_it_is(folder):
    folder.add(CRM, "auth: {bearer: {token: env:CRM_TOKEN}}\n")
    made = requests(folder, CRM_TOKEN=" t0k3n\n").request("crm.note", "welcome", "hello")
    assert head(made)[1]["Authorization"] == "Bearer t0k3n"


def test_secrets_are_named_and_never_quoted(folder):
    folder.add(
        CRM,
        "auth: {bearer: {token: env:CRM_TOKEN}}\nsign: {standard_webhooks: {secrets: [env:CRM_SIGN, env:CRM_GONE]}}\n",
    )
    with pytest.raises(ConfigError) as caught:
        requests(folder, CRM_TOKEN="hush\nhush", CRM_SIGN="hush")
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "hush" not in text
    assert all(name in text for name in ("env:CRM_TOKEN", "env:CRM_SIGN", "env:CRM_GONE"))


def test_a_reference_without_a_value_is_named_with_its_place(folder):
    folder.add(
        CRM, "auth: {bearer: {token: env:CRM_TOKEN}}\ntls: {ca: file:none.pem}\n"
        "sign: {standard_webhooks: {secrets: [env:CRM_SIGN]}}\n",
    )  # fmt: skip
    folder.change(CRM, "https://crm.example", "env:CRM_URL")
    with pytest.raises(ConfigError) as caught:
        requests(folder)
    assert {(problem.field, problem.message) for problem in caught.value.problems} == {
        ("base_url", "env:CRM_URL is not set"),
        ("auth.bearer.token", "env:CRM_TOKEN is not set"),
        ("tls.ca", "file:none.pem is not there"),
        ("sign.standard_webhooks.secrets[0]", "env:CRM_SIGN is not set"),
    }
    assert all(problem.file == CRM and problem.line and problem.column for problem in caught.value.problems)
    assert all(problem.hint for problem in caught.value.problems)


def test_an_address_out_of_the_environment_is_checked_like_a_written_one(folder):
    folder.change(CRM, "https://crm.example", "env:CRM_URL")
    with pytest.raises(ConfigError) as caught:
        requests(folder, CRM_URL="https://user:hush@crm.example")
    [problem] = caught.value.problems
    assert (problem.file, problem.field) == (CRM, "base_url")
    assert "hush" not in str(problem)


def test_a_constant_query_is_part_of_the_target_and_a_changing_one_comes_with_the_delivery(folder):
    folder.write(CRM, FULL)
    folder.change(CRM, "path: /notes,", "path: /notes, query: {expand: a b, 'n?': 5, all: true},")
    environ = {"CRM_URL": "http://127.0.0.1/api", "CRM_KEY": "k", "CRM_SIGN": signing.secret_of(b"k" * 32)}
    made = requests(folder, **environ).request("crm.note", "welcome", "hello")
    assert head(made)[0] == "PATCH /api/notes?expand=a%20b&n=5&all=true&key=k HTTP/1.1"
    folder.change(CRM, "expand: a b", 'expand: "${event.id}"')
    made = requests(folder, **environ).request("crm.note", "welcome", "hello")
    first = made.head("id-1", b"", "00-1-2-00", 5, b"{}", b"/notes?expand=7").partition(b"\r\n")[0]
    assert first == b"PATCH /api/notes?expand=7&key=k HTTP/1.1"
    assert made.url_template == "/notes"


def test_what_is_shown_of_a_path_is_its_template(folder):
    folder.change(CRM, "{path: /notes}", '{path: "/accounts/{account}/notes", query: {q: "${event.id}"}}')
    folder.change("journeys/welcome.yaml", "customer:", "account:")
    made = requests(folder).request("crm.note", "welcome", "hello")
    assert made.url_template == "/accounts/{account}/notes"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("json", "application/json"), ("form", "application/x-www-form-urlencoded"), ("ndjson", "application/x-ndjson"),
        ("none", None),
    ],
)  # fmt: skip
def test_the_content_type_is_that_of_the_body(folder, body, content_type):
    folder.change(CRM, "/notes}", f"/notes, body: {body}}}")
    if body == "none":
        folder.change("journeys/welcome.yaml", "    payload:\n      customer: ${event.customer.id}\n", "")
    assert head(requests(folder).request("crm.note", "welcome", "hello"))[1].get("Content-Type") == content_type


def test_only_what_is_asked_for_is_kept_of_a_response(folder):
    made = requests(folder).request("crm.note", "welcome", "hello")
    assert (made.response, made.keep_bytes, made.excerpt_bytes) == (None, 0, 0)
    folder.add(CRM, "retain_excerpt: 1KiB\n")
    made = requests(folder).request("crm.note", "welcome", "hello")
    assert (made.response, made.keep_bytes, made.excerpt_bytes) == (None, 1_024, 1_024)
    folder.write("contracts/a.json", '{"required": ["id"]}')
    folder.change(CRM, "/notes}", "/notes, response_schema: contracts/a.json, response: {n: {at: /n, type: int}}}")
    made = requests(folder).request("crm.note", "welcome", "hello")
    assert (made.keep_bytes, made.excerpt_bytes) == (65_536, 1_024)
    assert made.response(Answer(200, "", b'{"id": 1, "n": 2}')) == {"n": 2}
    assert made.response(Answer(200, "", b'{"n": 2}')) == Broken("#/id required")
    assert made.response(Answer(200, "", b'{"id": 1}')) == Broken("#/n required")
    folder.add(CRM, "response_bytes_max: 512B\n")
    made = requests(folder).request("crm.note", "welcome", "hello")
    assert (made.keep_bytes, made.excerpt_bytes) == (512, 512)
