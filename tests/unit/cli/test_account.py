"""cli/account: from when on rows can be trusted. The command itself: tests/integration."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.cli import account, screen
from pipeline.cli.named import Named
from pipeline.core import outcome
from pipeline.core.account import Account, Part
from pipeline.model import Record


def test_without_deletions_every_row_counts():
    assert account._horizon_ms([], {0: 500}, 100) == 0


def test_the_partition_that_lost_most_decides():
    assert account._horizon_ms([0, 1], {0: 500, 1: 800, 2: 900}, 100) == 800


def test_a_partition_that_lost_all_has_lost_what_is_older_than_the_retention():
    assert account._horizon_ms([0, 1], {0: 500}, 700) == 700


@pytest.mark.parametrize(
    ("reason", "skipped", "said"),
    [("no_journey", "consent", "type no journey asks for"), ("gap", "condition_error", "a condition failed")],
)
def test_what_a_misspelt_name_brings_about_is_remarked_on(reason, skipped, said):
    told = Account()
    told.ledger(outcome.LedgerRow("in", 0, 0, 2, 5, ((0, 0, reason),)))
    report = dataclasses.replace(told.report({("in", 0): 1}, {}, 100), reasons={"skipped": {skipped: 3}})
    (line,) = [each for each in account._remarks(report) if "hookline status" in each]
    assert said in line


def test_rows_are_told_apart_and_the_oldest_of_each_partition_remembered():
    ledger = outcome.encode_ledger("events", 0, 0, 1, [(0, 0, "gap")], 5)
    records = [
        Record("o", partition, 0, None, content, (), stamp)
        for partition, content, stamp in ((0, ledger, 10), (0, b"", 11), (1, None, 12))
    ]
    told = Account()
    assert account._feed(told, records) == {0: 10, 1: 12}
    report = told.report({("events", 0): 1}, {}, 100)
    assert (report.rows, report.unreadable, report.ledger) == (3, 2, {"gap": 1})


def test_a_partition_is_drawn_with_what_is_missing_where_it_is():
    part = Part("in", 0, 100, 180, ((110, 180),), ((150, 151),))
    assert account.strip(part) == "·····" + "█" * 20 + "[bold red]✗[/]" + "█" * 14
    assert account.strip(Part("in", 0, 0, 3, ((0, 3),), ())) == "███", "no more cells than positions"
    assert account.strip(Part("in", 0, 0, 400, ((5, 400),), ()))[0] == "▒"
    assert account.strip(Part("in", 0, 7, 7, (), ())) == ""


def test_partitions_with_something_missing_come_first_and_few_are_drawn(capsys, monkeypatch):
    monkeypatch.setattr(account, "PARTS_MAX", 2)
    parts = [Part("in", number, 0, 9, ((0, 9),), ((3, 4),) if number == 5 else ()) for number in range(6)]
    screen.console().print(account._picture(parts))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines if line and line[0].startswith("in/")] == ["in/5", "in/0"]
    assert ["and", "4", "more"] in lines


def test_as_many_missing_events_are_named_as_is_asked_for(capsys):
    told = Account()
    told.ledger(outcome.LedgerRow("in", 0, 0, 9, 5, ()))
    report = told.report({("in", 0): 9}, {}, 100)
    names = {("in", 0, 0): Named("e-[1]", "signup"), ("in", 0, 1): Named(why="a tombstone")}
    account._print_missing(report, names)
    assert capsys.readouterr().out.splitlines() == [
        "missing in/0/0 to 8: no outcome", "  in/0/0: event e-[1], signup", "  in/0/1: a tombstone",
        "missing and 7 more: --limit",
    ]  # fmt: skip
