"""Prints for people and for programs: tables, progress and times. Colours and progress only on a terminal."""

from __future__ import annotations

import io
import re
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final, cast

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.table import Table

_BLANKS: Final = re.compile(r"[ \t]+$", re.MULTILINE)
_PLAIN_WIDTH: Final = 200
"""Columns when the output is no terminal: wide enough that hardly a cell is broken."""

Progress = "Callable[[int, int], None]"


def console() -> Console:
    """Return where tables go: standard output."""
    from rich.console import Console  # noqa: PLC0415 - not for --json, not for --help

    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=_PLAIN_WIDTH, file=cast("IO[str]", _Trimmed(sys.stdout)))


class _Trimmed(io.TextIOBase):
    """Standard output without the blanks that fill up a table's last column: nobody sees them, and diff does."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def write(self, text: str) -> int:
        """Write whole lines; rich hands over nothing less."""
        self._out.write(_BLANKS.sub("", text))
        return len(text)

    def flush(self) -> None:
        """Flush what is written to."""
        self._out.flush()


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Make a table; the columns in `right` are numbers."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def visible(text: str) -> str:
    """Return text from elsewhere fit for a terminal: what is not printable is escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode() for each in text
    )


def cell(text: str) -> str:
    """Return text from elsewhere fit for a table or a line with markup: brackets in it are no markup."""
    from rich.markup import escape  # noqa: PLC0415

    return escape(visible(text))


def print_json(document: Any) -> None:
    """Print one JSON document, indented; dataclasses are objects."""
    print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


@contextmanager
def progress(what: str, doing: str = "reading") -> Iterator[Callable[[int, int], None] | None]:
    """Show how far reading, or whatever is done, is, on a terminal; give None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn(doing + " {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def utc(ms: float) -> str:
    """Return Unix ms as UTC text to the second; "" for 0."""
    return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def age(ms: float) -> str:
    """Return a span in the two largest of its units: 850 ms, 42 s, 3 m 5 s, 2 h 10 m, 4 d 3 h."""
    if ms < 1_000:  # noqa: PLR2004 - one second
        return f"{max(ms, 0):.0f} ms"
    seconds = round(ms / 1_000)
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    for index, (name, size) in enumerate(units):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            smaller = rest // units[index + 1][1] if index + 1 < len(units) else 0
            return f"{whole} {name}" + (f" {smaller} {units[index + 1][0]}" if smaller else "")
    return "0 s"


def count(number: int) -> str:
    """Return a number with separators."""
    return f"{number:,}"
