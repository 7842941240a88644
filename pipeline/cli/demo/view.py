"""Shows how the demo goes: a picture that moves on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.cli import screen
from pipeline.cli.demo.watch import Moment, happening, told

if TYPE_CHECKING:
    from collections.abc import Iterator

REFRESH_HZ: Final = 8
LINE_S: Final = 2.0
"""Least time between two lines where nobody watches."""
_BAR_COLUMNS: Final = 40
_BREAKERS: Final = {"closed": "green", "open": "bold red", "half-open": "yellow"}


class View(Protocol):
    """Shows one moment after another."""

    def show(self, moment: Moment) -> None:
        """Show how everything stands now."""


@contextmanager
def view(console: Console) -> Iterator[View]:
    """Give the view that suits where the output goes, until the end of the block."""
    if not console.is_terminal:
        yield Lines(console)
        return
    with Live(console=console, refresh_per_second=REFRESH_HZ) as live:
        yield Picture(live)
    console.print()


class Picture:
    """A table that is drawn over itself."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, moment: Moment) -> None:
        """Draw it anew."""
        self._live.update(picture(moment))


class Lines:
    """A line when LINE_S has passed or something else is happening."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0
        self._happening = ""

    def show(self, moment: Moment) -> None:
        """Print a line if one is due."""
        sentence = happening(moment)
        kind = re.sub(r"[\d,]+", "", sentence)
        if kind == self._happening and moment.at_s < self._next_s:
            return
        when = f"{moment.at_s:5.1f} s"
        if kind != self._happening:
            self._console.print(f"{when}  {sentence}")
        self._console.print(f"{when}  {moment.sent:,} of {moment.total:,} sent | {told(moment.lanes)}")
        self._happening = kind
        self._next_s = moment.at_s + LINE_S


def picture(moment: Moment) -> Group:
    """Return the table of one moment, with a bar above and a sentence below."""
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text("events", "bold"),
        ProgressBar(moment.total, moment.sent, width=_BAR_COLUMNS),
        f"{moment.sent:,} of {moment.total:,} sent",
        Text(f"{moment.at_s:.0f} s", "dim"),
    )
    numbers = ("requests", "in flight", "delivered", "waiting", "rejected", "skipped")
    table = screen.table("destination", "breaker", *numbers, right=numbers)
    for lane in moment.lanes:
        table.add_row(
            Text(lane.name, "bold"),
            Text(lane.breaker if lane.up else f"{lane.breaker} (it is down)", _BREAKERS.get(lane.breaker, "")),
            *(Text(f"{number:,}", style if number else "dim") for number, style in (
                (lane.requests, ""), (lane.in_flight, ""), (lane.delivered, "green"), (lane.waiting, "cyan"),
                (lane.rejected + lane.dead, "red"), (lane.skipped, "yellow"),
            )),
        )  # fmt: skip
    return Group(bar, table, Text(happening(moment), "italic"))
