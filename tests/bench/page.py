"""Writes what was measured to docs/benchmarks.md, each table between marks of its own, and draws a plot beside it."""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from tests.support.parts import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"
WANTED = {"go": "1.0", "parallel_consumer": "5.0"}
BAR_WIDTH, BAR_HEIGHT, LEFT = 460, 22, 190
OURS, THEIRS = "#2563eb", "#9ca3af"


def where(machine: Mapping[str, str]) -> str:
    """One line: when and on what something was measured."""
    return (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['python']}, "
        f"a step of which takes {machine['python_step']}, load {machine['load']}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def record(name: str, text: str) -> None:
    """Replace what the page has between the marks of that name. Raises ValueError when it has none."""
    begin, end = f"<!-- measured: {name} -->", "<!-- end -->"
    before = PAGE.read_text()
    after, number = re.subn(
        f"{re.escape(begin)}\n.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", before, flags=re.DOTALL
    )
    if number != 1:
        raise ValueError(f"{PAGE.name} has no place {begin} ... {end}")
    PAGE.write_text(after)


def bench(document: Mapping[str, Any]) -> str:
    """What `hookline bench --json` told, as text with tables; see its `_document` for the fields."""
    ours = {each["scenario"]: each["rounds"] for each in document["scenarios"]}
    aims = [
        (each["what"], each["scenario"], f"{each['wanted']:,.0f}", f"{each['measured']:,.0f}")
        for each in document["targets"]
    ]
    rows = [
        ("**Hookline**", name, f"{middle(found, 'per_cpu_s'):,.0f}", f"{middle(found, 'cpu_us'):.1f}",
         f"{middle(found, 'per_s'):,.0f}", f"{max(each['peak_mb'] for each in found):.0f}", "", "")
        for name, found in ours.items()
    ]  # fmt: skip
    for each in document["peers"]:
        mine, theirs = each["compared"], each["rounds"]
        ratio = median(one["per_cpu_s"] / other["per_cpu_s"] for one, other in zip(mine, theirs, strict=True))
        rows.append(
            (each["peer"], each["scenario"], f"{middle(theirs, 'per_cpu_s'):,.0f}", f"{middle(theirs, 'cpu_us'):.1f}",
             f"{middle(theirs, 'per_s'):,.0f}", f"{max(one['peak_mb'] for one in theirs):.0f}", f"{ratio:.2f}",
             WANTED.get(each["peer"], ""))
        )  # fmt: skip
    head = ("", "scenario", "deliveries/CPU-s", "CPU µs each", "deliveries/s", "peak MB", "ours / theirs", "aim")
    rounds = len(next(iter(ours.values())))
    told = "one round" if rounds == 1 else f"{rounds} rounds; medians"
    parts = [
        f"{where(document['machine'])} {document['events']:,} events, {told}.",
        table(("", "scenario", "aim", "measured"), aims),
        table(head, rows),
    ]
    parts += [f"Not measured: {peer}: {why}" for peer, why in document["skipped"].items()]
    return "\n\n".join(parts)


def middle(rounds: Sequence[Mapping[str, float]], name: str) -> float:
    """The median of one figure over the rounds."""
    return float(median(each[name] for each in rounds))


def draw(document: Mapping[str, Any]) -> str:
    """The same as a picture (SVG 1.1): deliveries per CPU-second, one bar for each worker and scenario."""
    bars = [
        (f"Hookline, {each['scenario']}", middle(each["rounds"], "per_cpu_s"), OURS) for each in document["scenarios"]
    ] + [
        (f"{each['peer'].replace('_', ' ')}, {each['scenario']}", middle(each["rounds"], "per_cpu_s"), THEIRS)
        for each in document["peers"]
    ]
    bars.sort(key=lambda bar: (bar[0].rpartition(", ")[2], -bar[1]))
    most = max(figure for _, figure, _ in bars)
    height = 40 + len(bars) * (BAR_HEIGHT + 6)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + BAR_WIDTH + 90} {height}" role="img">',
        '<g font-family="sans-serif" font-size="13">',
        "<title>Deliveries per CPU-second</title>",
        f'<text x="{LEFT}" y="18" font-weight="bold" fill="currentColor">deliveries per CPU-second</text>',
    ]
    for at, (name, figure, colour) in enumerate(bars):
        y = 30 + at * (BAR_HEIGHT + 6)
        width = round(BAR_WIDTH * figure / most)
        lines += [
            f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end" fill="currentColor">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR_HEIGHT}" fill="{colour}"/>',
            f'<text x="{LEFT + width + 6}" y="{y + 15}" fill="currentColor">{figure:,.0f}</text>',
        ]
    return "\n".join([*lines, "</g></svg>", ""])
