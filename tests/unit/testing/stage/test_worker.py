"""A stage stops with what stopped its worker, instead of waiting for ever."""

from __future__ import annotations

import pytest

from pipeline.errors import Bug
from pipeline.testing.stage import play as stage_play


def test_a_bug_of_ours_ends_the_case(play, monkeypatch):
    def broken(_scripted: object) -> object:
        raise Bug("planted")

    monkeypatch.setattr(stage_play, "reply", broken)
    with pytest.raises(Bug, match="planted"):
        play(
            "given: {consent: {email: granted}}\nanswers: {mail: {status: 200}}\n"
            "expect: {outcomes: {mail: delivered, paid: delivered}}"
        )
