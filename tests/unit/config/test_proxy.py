"""`proxy` of a destination: what may be written, what it stands for, and that credentials come by reference only."""

from __future__ import annotations

import base64

import pytest

from pipeline.config.request import Requests
from pipeline.config.secrets import Secrets
from pipeline.errors import ConfigError
from pipeline.model import Proxy

CRM = "destinations/crm.yaml"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def proxy(folder, given, **environ) -> Proxy | None:
    folder.add(CRM, f"proxy: {given}\n")
    return Requests(folder.load(), Secrets(folder.root, environ)).destinations["crm"].proxy


@pytest.mark.parametrize(
    ("given", "host", "port"),
    [
        ("http://egress.example:3128", "egress.example", 3128),
        ("http://egress.example/", "egress.example", 80),
        ("'http://[::1]:3128'", "::1", 3128),
    ],
)
def test_a_url_is_the_proxy(folder, given, host, port):
    assert proxy(folder, given) == Proxy(host, port)


def test_by_default_and_by_the_word_none_there_is_none(folder, environment):
    environment.setenv("HTTPS_PROXY", "http://egress.example:3128")
    assert Requests(folder.load(), Secrets(folder.root, {})).destinations["crm"].proxy is None
    assert proxy(folder, "none") is None


@pytest.mark.parametrize("ref", ["env:EGRESS", "file:certs/egress.txt"])
def test_credentials_come_by_reference(folder, ref):
    url = "http://hook%40line:pa%3Ass@egress.example:3128"
    folder.write("certs/egress.txt", url + "\n")
    made = proxy(folder, ref, EGRESS=url)
    assert made is not None
    assert base64.b64decode(made.authorization.removeprefix("Basic ")) == b"hook@line:pa:ss"
    assert "Basic" not in repr(made)


@pytest.mark.parametrize(
    "given",
    ["http://user:hush@egress.example", "https://egress.example", "socks5://egress.example", "egress.example:3128",
     "http://egress.example/path", "http://egress.example:0", "http://egress.example?x=hush", "http://", "7", "[]"],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_with_its_place(folder, given):
    problem = folder.add(CRM, f"proxy: {given}\n").problem()
    assert CRM in problem
    assert "proxy" in problem
    assert "hush" not in problem


@pytest.mark.parametrize("value", ["https://user:hush@egress.example", "http://user:hush@", "hush"])
def test_a_wrong_url_behind_a_reference_is_named_and_never_quoted(folder, value):
    with pytest.raises(ConfigError) as caught:
        proxy(folder, "env:EGRESS", EGRESS=value)
    [problem] = caught.value.problems
    assert (problem.file, problem.field) == (CRM, "proxy")
    assert "env:EGRESS" in problem.message
    assert "hush" not in str(problem)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://egress.example:3128"}, Proxy("egress.example", 3128)),
        ({"https_proxy": "egress.example:3128"}, Proxy("egress.example", 3128)),
        ({"HTTP_PROXY": "http://egress.example:3128"}, None),  # the destination is https
        ({"HTTPS_PROXY": "http://egress.example:3128", "NO_PROXY": "other.example"}, Proxy("egress.example", 3128)),
        ({"HTTPS_PROXY": "http://egress.example:3128", "NO_PROXY": "crm.example"}, None),
        ({"HTTPS_PROXY": "http://egress.example:3128", "no_proxy": ".example"}, None),
        ({"HTTPS_PROXY": "http://egress.example:3128", "NO_PROXY": "*"}, None),
    ],
)
def test_env_is_what_the_variables_say(folder, environment, variables, expected):
    for name, text in variables.items():
        environment.setenv(name, text)
    assert proxy(folder, "env") == expected


def test_a_wrong_variable_is_a_configuration_error(folder, environment):
    environment.setenv("HTTPS_PROXY", "socks5://user:hush@egress.example")
    with pytest.raises(ConfigError, match="the environment's proxy variable must be http://HOST:PORT") as caught:
        proxy(folder, "env")
    assert "hush" not in str(caught.value)
