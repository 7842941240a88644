"""cli/screen: what people and programs are shown."""

from __future__ import annotations

import json

import pytest

from pipeline.cli import screen
from pipeline.model import Undecodable


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (-5, "0 ms"), (0, "0 ms"), (999, "999 ms"), (1_000, "1 s"), (59_600, "1 m"), (185_000, "3 m 5 s"),
        (3_600_000, "1 h"), (7_800_000, "2 h 10 m"), (360_000_000, "4 d 4 h"),
    ],
)  # fmt: skip
def test_spans_have_their_two_largest_units(ms, text):
    assert screen.age(ms) == text


def test_times_are_utc_and_zero_is_never():
    assert screen.utc(1_800_000_000_000) == "2027-01-15 08:00:00"
    assert screen.utc(0) == ""


def test_text_from_outside_is_harmless():
    assert screen.visible("a\x1b[2J\n\x00b\u202e é") == "a\\x1b[2J\\n\\x00b\\u202e é"
    assert screen.cell("[red]x[/red]") == "\\[red]x\\[/red]"


def test_tables_show_cells_as_they_are(capsys):
    shown = screen.table("name", "number", right=("number",))
    shown.add_row(screen.cell("[/b]"), screen.count(1_234_567))
    screen.console().print(shown)
    assert "[/b]" in (out := capsys.readouterr().out)
    assert "1,234,567" in out


def test_a_table_has_no_trailing_blanks_where_a_program_reads_it(capsys):
    shown = screen.table("name", "said")
    shown.add_row("a", "long enough to fill up")
    shown.add_row("b", "short")
    screen.console().print("[bold]a heading[/]  ", shown)
    out = capsys.readouterr().out
    assert "a heading\n" in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]


def test_json_has_values_as_objects(capsys):
    screen.print_json({"a": (Undecodable("x"),)})
    assert json.loads(capsys.readouterr().out) == {"a": [{"detail": "x"}]}


def test_nobody_who_is_not_looking_gets_progress():
    with screen.progress("topic") as progress:
        assert progress is None
