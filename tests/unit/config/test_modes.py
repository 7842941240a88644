"""A mode other than live calls no destination and needs none of their secrets."""

from __future__ import annotations

import pytest

from pipeline.config import compile as compiler
from pipeline.config import modes
from pipeline.config.request import Requests
from pipeline.config.secrets import Secrets
from pipeline.errors import ConfigError
from tests.unit.config.test_request import FULL, head

CRM = "destinations/crm.yaml"
ENV = "env/staging.yaml"
SINK = "mode: redirect\nredirect_to: https://sink.example/all\n"


def requests(folder, **environ):
    return Requests(folder.load("staging"), Secrets(folder.root, environ))


def test_a_redirected_request_is_the_sinks_and_says_where_it_would_have_gone(folder):
    folder.write(CRM, FULL.replace("env:CRM_URL", "https://crm.example/api")).write(ENV, SINK)
    made = requests(folder)  # none of the destination's secrets has a value
    crm = made.destinations["crm"]
    assert (crm.host, crm.port, crm.private_networks, crm.rate_per_s) == ("sink.example", 443, (), 10.0)
    first, headers = head(made.request("crm.note", "welcome", "hello"))
    assert first == "PATCH /all HTTP/1.1"
    assert headers["Host"] == "sink.example"
    assert headers["hookline-original-url"] == "https://crm.example/api/notes"
    assert headers["Idempotency-Key"] == headers["webhook-id"] == "id-1"
    assert (headers["hookline-journey"], headers["Prefer"]) == ("welcome", "return=minimal")
    assert "webhook-signature" not in headers
    assert "Authorization" not in headers


def test_a_path_that_events_change_is_in_the_original_url_alone(folder):
    folder.change(CRM, "note: {path: /notes}", "note: {path: '/notes/{customer}', query: {v: 2}}").write(ENV, SINK)
    made = requests(folder).request("crm.note", "welcome", "hello")
    written = made.head("id-1", b"", "00-1-2-00", 5, b"{}", b"/notes/c-1?v=2").decode()
    assert written.startswith("POST /all HTTP/1.1\r\n")
    assert "\r\nhookline-original-url: https://crm.example/notes/c-1?v=2\r\n" in written


def test_a_live_request_says_nothing_of_it(folder):
    folder.write(ENV, "mode: live\n")
    assert "hookline-original-url" not in head(requests(folder).request("crm.note", "welcome", "hello"))[1]


@pytest.mark.parametrize(
    ("base_url", "original"),
    [
        ("env:CRM_URL", "env:CRM_URL/notes"),
        ("{secret: env:HOOK, host: chat.example}", "https://chat.example/.../notes"),
        ("https://crm.example/v2/", "https://crm.example/v2/notes"),
    ],
)
def test_of_a_secret_url_the_sink_learns_no_more_than_a_log(folder, base_url, original):
    folder.change(CRM, "https://crm.example", base_url).write(ENV, SINK)
    first, headers = head(requests(folder).request("crm.note", "welcome", "hello"))
    assert (first, headers["hookline-original-url"]) == ("POST /all HTTP/1.1", original)


def test_credentials_are_the_environments_own_or_the_sinks_never_the_destinations(folder):
    folder.add(CRM, "auth: {bearer: {token: env:LIVE}}\nsign: {github: {secret: env:LIVE_SIGN}}\n")
    folder.write(
        "destinations/mail.yaml", (folder.root / CRM).read_text().replace("destination: crm", "destination: mail")
    )
    folder.write(ENV, """\
mode: redirect
redirect_to: {url: "http://10.2.0.1:8080", private_networks: [10.2.0.0/16], auth: {bearer: {token: env:SINK}}}
destinations:
  crm: {auth: {bearer: {token: env:SANDBOX}}, sign: {github: {secret: env:SANDBOX_SIGN}}}
""")  # fmt: skip
    made = requests(folder, LIVE="live", LIVE_SIGN="live", SINK="sink", SANDBOX="sandbox", SANDBOX_SIGN="s")
    crm, mail = (head(made.request(call, "welcome", "hello"))[1] for call in ("crm.note", "mail.note"))
    assert (crm["Authorization"], mail["Authorization"]) == ("Bearer sandbox", "Bearer sink")
    assert "x-hub-signature-256" in {each.lower() for each in crm}
    assert "x-hub-signature-256" not in {each.lower() for each in mail}
    assert {each.private_networks for each in made.destinations.values()} == {("10.2.0.0/16",)}


def test_what_lacks_a_value_is_named_where_it_is_written(folder):
    folder.write(ENV, """\
mode: redirect
redirect_to: {url: env:SINK_URL, auth: {bearer: {token: env:SINK}}}
destinations:
  crm: {base_url: https://sandbox.crm.example, sign: {github: {secret: env:SANDBOX_SIGN}}}
""")  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        requests(folder)
    assert [str(each).split(" is not set")[0] for each in caught.value.problems] == [
        "env/staging.yaml:2:20: redirect_to.url: env:SINK_URL",
        "env/staging.yaml:2:57: redirect_to.auth.bearer.token: env:SINK",
        "env/staging.yaml:4:72: sign.github.secret: env:SANDBOX_SIGN",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("mode: redirect\n", "1:1: mode redirect needs `redirect_to` (the URL of what takes all requests)"),
        ("redirect_to: https://sink.example\n", "1:1: mode: is required (one of: live, redirect, dry)"),
        ("mode: dry\nredirect_to: https://sink.example\n", "1:1: mode dry has no use for `redirect_to` (write "),
        ("mode: redirect\nredirect_to: http://sink.example\n", "2:14: redirect_to: sends in the clear (redirect_to: {"),
        ("mode: redirect\nredirect_to: https://10.2.0.1\n", "2:14: redirect_to: is of this machine or a private netw"),
        ("mode: redirect\nredirect_to: {url: https://10.2.0.1}\n", "2:20: redirect_to.url: is of this machine or a"),
        ("mode: redirect\nredirect_to: {host: a}\n", "2:15: redirect_to.host: there is no such key"),
        ("mode: redirct\n", "1:7: mode: must be one of: live, redirect, dry (did you mean redirect)"),
    ],
)
def test_refused(folder, text, problem):
    folder.write(ENV, text)
    assert any(str(each).startswith(f"env/staging.yaml:{problem}") for each in folder.problems("staging")), [
        str(each) for each in folder.problems("staging")
    ]


def test_dry_needs_no_secret_and_every_live_journey_is_dry(folder):
    folder.write(CRM, FULL).write(ENV, "mode: dry\ngroup: shop-dry\n")
    folder.write("journeys/other.yaml", (folder.root / "journeys/welcome.yaml").read_text().replace("welcome", "other"))
    folder.change("journeys/other.yaml", "status: live", "status: paused")
    config = folder.load("staging")
    compiled = compiler.compile(config, Secrets(folder.root, {}))
    assert dict(compiled.statuses) == {"welcome": "dry", "other": "paused"}
    assert (config.group, folder.load(None).group) == ("shop-dry", "shop")
    assert compiled.destinations["crm"].host == "crm.invalid"
    assert modes.said(config) == "mode dry: nothing is sent"
