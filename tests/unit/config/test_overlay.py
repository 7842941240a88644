"""An environment sets a few things, is laid over the rest, and answers for what it sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

STAGING = """\
mode: live
kafka: {bootstrap: "staging:9092", sasl.password: env:STAGING}
registry: {url: https://registry.example}
telemetry: {sample: 100%}
destinations:
  crm:
    base_url: http://10.2.0.1:8080/api
    private_networks: [10.2.0.0/16]
    auth: {bearer: {token: env:SANDBOX}}
    tls: {ca: file:certs/ca.pem}
    proxy: http://egress.example:3128
    sign: none
    limits: {rate: 5/s}
"""


def test_what_an_environment_may_set(folder: Folder) -> None:
    folder.change("hookline.yaml", "  bootstrap:", "  client.id: shop\n  sasl.password: env:LIVE\n  bootstrap:")
    folder.add("hookline.yaml", "telemetry: {interval: 5s}\n")
    folder.add("destinations/crm.yaml", "auth: {api_key: {header: X-Key, value: env:KEY}}\n")
    folder.add("destinations/crm.yaml", "limits: {concurrency: 8, rate: 100/s}\n")
    folder.add("destinations/crm.yaml", "sign: {standard_webhooks: {secrets: [env:SIGN]}}\n")
    config = folder.write("env/staging.yaml", STAGING).load("staging")
    assert (config.env, config.mode, config.kafka.bootstrap) == ("staging", "live", "staging:9092")
    assert config.kafka.settings == {"client.id": "shop", "sasl.password": "env:STAGING"}
    assert config.registry is not None
    assert config.registry.url == "https://registry.example"
    assert (config.telemetry.sample, config.telemetry.interval_ms) == (1.0, 5_000)
    crm = config.destinations["crm"]
    assert (crm.base_url, crm.private_networks) == ("http://10.2.0.1:8080/api", ("10.2.0.0/16",))
    assert crm.auth is not None
    assert crm.auth.api_key is None
    assert crm.auth.bearer is not None
    assert crm.auth.bearer.token == "env:SANDBOX"
    assert (crm.sign, crm.tls.ca) == (None, "file:certs/ca.pem")
    assert crm.proxy == "http://egress.example:3128"
    assert (crm.limits.rate, crm.limits.concurrency) == (5.0, (8, False))
    assert config.where("destinations/crm.yaml", ("auth", "bearer", "token"))[:2] == ("env/staging.yaml", 9)
    assert config.where("destinations/crm.yaml", ("limits", "concurrency"))[0] == "destinations/crm.yaml"
    assert folder.load().destinations["crm"].base_url == "https://crm.example"


@pytest.mark.parametrize("url", ["env:CRM_URL", "https://sandbox.crm.example"])
def test_the_base_url_may_come_from_the_environment(folder: Folder, url: str) -> None:
    folder.write("env/test.yaml", f"mode: live\ndestinations: {{crm: {{base_url: '{url}'}}}}\n")
    assert folder.load("test").destinations["crm"].base_url == url


def test_an_environment_may_be_all_comments_but_not_empty(folder: Folder) -> None:
    assert folder.write("env/live.yaml", "mode: live\n").load("live").env == "live"
    assert folder.write("env/live.yaml", "# nothing\n").problem("live") == "env/live.yaml:1:1: the file is empty"


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        (
            "hours: {}",
            "1:1: hours: is nothing an environment may set (only mode, redirect_to, group, kafka, registry, ",
        ),
        ("purposes: [a]", "1:1: purposes: is nothing an environment may set"),
        ("telemtry: {sample: 1%}", "1:1: telemtry: is nothing an environment may set (did you mean telemetry)"),
        ("kafka: {group.id: x}", "1:19: kafka.group.id: is no Kafka setting that is passed through"),
        ("kafka: {sasl.password: hunter2}", "1:24: kafka.sasl.password: must be a reference to a secret"),
        (
            "destinations: {crn: {limits: {rate: 1/s}}}",
            "1:16: destinations.crn: there is no such destination (did you mean crm)",
        ),
        (
            "destinations: {crm: {timeout: 1s}}",
            "1:22: destinations.crm.timeout: is nothing an environment may set (only base_url, private_networks, ",
        ),
        ("destinations: {crm: {base_url: hunter2}}", "1:32: base_url: must start with https://"),
        ("destinations: {crm: {auth: {bearer: {token: hunter2}}}}", "1:45: auth.bearer.token: must be a reference"),
        ("destinations: {crm: {base_url: http://10.0.0.1}}", "1:32: base_url: sends in the clear"),
        ("- mode", "1:1: must be a mapping (key: value)"),
    ],
)
def test_refused(folder: Folder, overlay: str, expected: str) -> None:
    mode = "" if overlay.startswith("- ") else "\nmode: live"
    folder.write("env/staging.yaml", f"{overlay}{mode}\n")
    for env in (None, "staging"):
        problem = folder.problem(env)
        assert (
            problem.removeprefix("env/staging.yaml:")
            .replace("destinations.crm.base_url", "base_url")
            .replace("destinations.crm.auth", "auth")
            .startswith(expected)
        )
        assert "hunter2" not in problem


def test_without_a_name_every_environment_is_checked(folder: Folder) -> None:
    folder.write("env/a.yaml", "mode: of\n").write("env/b.yaml", "mode: dry\ntelemetry: {sample: 5}\n")
    assert [each.file for each in folder.problems()] == ["env/a.yaml", "env/b.yaml"]


def test_an_environment_that_is_not_there(folder: Folder) -> None:
    folder.write("env/staging.yaml", "mode: live\n")
    assert folder.problem("stagin") == "env/stagin.yaml: there is no such environment (did you mean staging)"
    assert folder.problem("x") == "env/x.yaml: there is no such environment (there are: staging)"


def test_a_wrong_destination_is_told_once_however_many_environments(folder: Folder) -> None:
    folder.write("env/a.yaml", "mode: dry\n").write("env/b.yaml", "mode: live\n")
    assert folder.add("destinations/crm.yaml", "timeout: 6m\n").problem().endswith("timeout: must be at most 5m")
