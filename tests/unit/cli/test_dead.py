"""cli/dead: the list, over letters in memory. The command on a broker: tests/integration."""

from __future__ import annotations

import argparse
import json

from pipeline.cli import dead
from pipeline.cli.letter import letter
from pipeline.cli.options import Since
from pipeline.model import Record


def letters(number: int):
    for offset in range(number):
        headers = (("hookline-class", b"tls" if offset % 2 else b"auth"), ("hookline-event-id", b"%d" % offset))
        yield letter(Record("dead", 0, offset, None, None, headers, 1_000 + offset))


def listed(capsys, number: int, **args: object) -> dict:
    asked = dict.fromkeys(("cls", "destination", "journey", "step", "event", "until"))
    given = {**asked, "limit": 3, "json": True} | args
    assert dead._list(argparse.Namespace(**given), letters(number), 2_000) == 0
    return json.loads(capsys.readouterr().out)


def test_the_newest_come_first_and_all_are_counted(capsys):
    found = listed(capsys, 100)
    assert [each["event-id"] for each in found["letters"]] == ["99", "98", "97"]
    assert (found["count"], found["classes"]) == (100, {"auth": 50, "tls": 50})


def test_filters_come_before_the_limit(capsys):
    found = listed(capsys, 10, cls="auth")
    assert [each["event-id"] for each in found["letters"]] == ["8", "6", "4"]
    assert listed(capsys, 10, destination="crm")["letters"] == []
    assert [each["event-id"] for each in listed(capsys, 10, event="3")["letters"]] == ["3"]
    assert listed(capsys, 10, step="x")["count"] == 0
    assert listed(capsys, 10, until=Since("1970-01-01T00:00:01.004Z"))["count"] == 5
