"""`hookline alert test`: one message as a worker would send it, and what is wrong if it is not taken."""

from __future__ import annotations

import json

import pytest

from pipeline import cli
from pipeline.app import alerting
from pipeline.testing.notifier import ChatReceiver
from tests.unit.config.conftest import DESTINATION, HOOKLINE, JOURNEY

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of Apprise's plugins


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    for name, content in {
        "hookline.yaml": HOOKLINE + "alerts: {oncall: {url: env:ONCALL}}\n",
        "journeys/welcome.yaml": JOURNEY + "on_failure: {alert: [oncall]}\n",
        "destinations/crm.yaml": DESTINATION,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)

    def called(url, *arguments):
        monkeypatch.delenv("ONCALL", raising=False)
        if url is not None:
            monkeypatch.setenv("ONCALL", url)
        code = cli.main(["alert", "test", *(arguments or ["oncall"]), "--config", str(tmp_path)])
        out, err = capsys.readouterr()
        return code, out + err

    return called


def test_the_message_says_that_it_is_a_test(call):
    with ChatReceiver() as chat:
        code, said = call(f"json://127.0.0.1:{chat.port}/T0KEN")
    [(path, body)] = chat.received
    assert (path, body["title"], body["type"]) == ("/T0KEN", "Hookline: a test", "success")
    assert "Nothing is wrong." in body["message"]
    assert "group shop" in body["message"]
    assert (code, said) == (0, "oncall: the message was taken; see that it arrived\n")


def test_one_that_is_not_taken_is_a_problem(call):
    with ChatReceiver() as chat:
        chat.status = 403
        code, said = call(f"json://127.0.0.1:{chat.port}/T0KEN", "oncall", "--json")
    assert code == 1
    assert json.loads(said)["sent"] is False
    assert "T0KEN" not in said


@pytest.mark.parametrize(
    ("url", "code", "expected"),
    [
        ("bogus://T0KEN", 1, "none that Apprise knows"),
        (None, 2, "hookline.yaml:8:24: alerts.oncall.url: env:ONCALL is not set"),
    ],
)
def test_what_is_wrong_is_said_without_the_url(call, url, code, expected):
    found, said = call(url)
    assert found == code
    assert expected in said
    assert "T0KEN" not in said


def test_a_name_that_is_none(call):
    code, said = call("json://x", "oncal")
    assert code == 2
    assert "oncall" in said


def test_without_the_library_it_says_what_to_install(call, monkeypatch):
    monkeypatch.setattr(alerting, "is_installed", lambda: False)
    code, said = call("json://127.0.0.1/")
    assert code == 2
    assert "pip install 'hookline[alerts]'" in said
