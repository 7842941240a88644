"""`hookline render` shows the requests of one event, masked, and why there are none."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.cli import main
from pipeline.config.models import LIFECYCLE_EVENT
from pipeline.config.plain import record
from pipeline.core import decode

EVENT = {
    "id": "00000000-0000-5000-8000-000000000001", "type": "cart.abandoned", "time": "2026-11-23T10:00:00Z",
    "customer": {"id": "c-1", "email": "ann@example.org"}, "properties": {"cart_id": "k-1", "cart_value": "129.50"},
}  # fmt: skip


@pytest.fixture
def shop(tmp_path: pathlib.Path):
    folder = pathlib.Path(shutil.copytree("deploy/compose/config", tmp_path / "shop"))

    def render(event: Any, *args: str) -> int:
        file = tmp_path / ("event.avro" if isinstance(event, bytes) else "event.json")
        file.write_bytes(event if isinstance(event, bytes) else json.dumps(event).encode())
        return main(["render", str(file), "--config", str(folder), *args])

    return render


def test_a_request_is_shown_masked(shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop(EVENT, "--consent", "email=granted") == 0
    out = capsys.readouterr().out
    assert out.startswith("cart_recovery, reminder: delivered\n  POST https://")
    assert "webhook-id: " in out
    assert '"cart_value": "129.50"' in out
    assert "ann@example.org" not in out
    assert out.endswith("personal data is masked; --reveal shows it\n")


def test_revealed_as_json(shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop(EVENT, "--consent", "email=granted", "--reveal", "--json") == 0
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert step["body"] == {
        "to": "ann@example.org", "template": "cart_reminder", "cart_id": "k-1", "cart_value": "129.50",
    }  # fmt: skip
    assert step["headers"]["hookline-event-id"] == EVENT["id"]


def test_why_there_is_none(shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop(EVENT) == 0
    assert capsys.readouterr().out.startswith(
        "cart_recovery, reminder: skipped(consent)\n  basis consent: no consent to marketing on email\n"
    )
    assert shop(EVENT | {"type": "cart.forgotten"}) == 1
    assert capsys.readouterr().err == "cart.forgotten starts no journey\n"


def test_a_record_as_kafka_has_it(shop, capsys: pytest.CaptureFixture[str]) -> None:
    schema = Folders((packaged(),)).readers[LIFECYCLE_EVENT]
    money = {"cart_id": "k-1", "cart_value": {"decimal": "129.50"}}
    datum = record(EVENT | {"consent": {"email": "granted"}, "properties": money}, schema)
    frame = decode.single_object(decode.fingerprint(schema))
    assert shop(frame + decode.encode(schema)(datum), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["event_id"], told["steps"][0]["outcome"]) == (EVENT["id"], "delivered")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ([], "must be a JSON object"),
        (EVENT | {"properties": {"x": {"a": 1}}}, "is no event: properties.x: must be"),
        (EVENT | {"customer": {"id": "c-1", "mail": "x"}}, "did you mean email"),
        ({"time": EVENT["time"]}, "is no event: type: is missing"),
        ({"type": "cart.abandoned"}, "is no event: time: is missing"),
        ({"type": "cart.abandoned", "time": EVENT["time"]}, "is no event: customer"),
        (EVENT | {"customer": "c-1"}, "is no event: customer"),
        (EVENT | {"customer": {}}, "is no event: customer.id: is missing"),
        (b"\xff\xff", "neither a schema header"),
        (b"\xc3\x01" + bytes(8), "is of an unknown schema"),
    ],
)
def test_what_is_no_event(shop, event: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop(event) == 2
    assert said in capsys.readouterr().err


def test_an_id_that_is_none_says_that_none_is_needed(shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop(EVENT | {"id": "e-1"}) == 2
    assert (
        "is no event: id: must be a UUID (leave it out, and one that stands for any is taken)"
        in capsys.readouterr().err
    )


def test_where_requests_of_an_environment_go_is_said(shop, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shop" / "env" / "try.yaml").write_text("mode: redirect\nredirect_to: https://sink.example/all\n")
    assert shop(EVENT, "--consent", "email=granted", "--env", "try") == 0
    assert capsys.readouterr().err == "mode redirect: every request goes to sink.example, none to a destination\n"
