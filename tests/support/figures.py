"""What a chaos run found, as a table in docs/guarantees.md: written by the run itself, checked by its form."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import confluent_kafka

from pipeline import __version__
from tests.support.kafka import KAFKA_VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parents[2] / "docs" / "guarantees.md"
BEGIN = "<!-- figures of `make chaos`: begin -->"
END = "<!-- figures of `make chaos`: end -->"
HEAD = "| what is done to it | deliveries | lost | sent again | oldest of these | account | shown by |"
ROW = re.compile(r"\| [^|]+ \| \d+ \| 0 \| (0|\d+ \(\d+\.\d%\)) \| (-|\d+\.\d s before) \| balances \| `test_\w+` \|")
RUN = re.compile(
    r"Run on \d{4}-\d\d-\d\d, [\d:]+ UTC: Hookline [\w.]+, Apache Kafka [\d.]+, librdkafka [\d.]+, Python [\d.]+, "
    r"\w+ on \w+, \d+ CPUs\."
)


@dataclass(frozen=True)
class Row:
    """One test: what was done, to how many deliveries, how many 2xx were repeats, and how old the oldest of them was.

    `oldest_s` is how long before its fault the oldest acceptance that was repeated came; below zero for one after it.
    """

    what: str
    deliveries: int
    repeats: int
    oldest_s: float
    test: str

    def line(self) -> str:
        """A row of the table. Nothing is lost, and the account balances, or there is no row."""
        share = f"{self.repeats} ({self.repeats / self.deliveries:.1%})" if self.repeats else "0"
        oldest = f"{self.oldest_s:.1f} s before" if self.repeats and self.oldest_s > 0 else "-"
        return f"| {self.what} | {self.deliveries} | 0 | {share} | {oldest} | balances | `{self.test}` |"


def block(rows: Sequence[Row]) -> str:
    """The whole block, marks included."""
    run = (
        f"Run on {datetime.now(UTC):%Y-%m-%d, %H:%M} UTC: Hookline {__version__}, Apache Kafka {KAFKA_VERSION}, "
        f"librdkafka {confluent_kafka.libversion()[0]}, Python {platform.python_version()}, {platform.system()} on "
        f"{platform.machine()}, {os.cpu_count()} CPUs."
    )
    return "\n".join([BEGIN, run, "", HEAD, "|---|---|---|---|---|---|---|", *(row.line() for row in rows), END])


def write(rows: Sequence[Row]) -> None:
    """Replace the block of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + block(rows) + after, encoding="utf-8")


def flaws(text: str, tests: Sequence[str]) -> list[str]:
    """What is wrong with the block of a page: its form, or a chaos test that has no row; nothing about the figures."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        return ["the marks of the block"]
    run, empty, head, rule, *rows = [*text.partition(BEGIN)[2].partition(END)[0].strip("\n").split("\n"), "", "", ""]
    rows = rows[:-3]
    found = [line for line in rows if not ROW.fullmatch(line)]
    if not RUN.fullmatch(run):
        found.append(run)
    if (empty, head) != ("", HEAD) or not re.fullmatch(r"\|(---\|)+", rule):
        found.append("the head of the table")
    return found + [name for name in tests if not any(f"`{name}`" in line for line in rows)]
