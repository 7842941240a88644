"""Draws timelines for a terminal: a tree of deliveries, one aligned line for each thing that happened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from pipeline.core import timeline
from pipeline.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.core.timeline import DeliveryLine, Letter, Moment, Timeline

_STYLES: Final = {
    Outcome.DELIVERED: "green", Outcome.REJECTED: "red", Outcome.DEAD: "bold red", Outcome.DEFAULTED: "yellow",
    Outcome.SKIPPED: "yellow", Outcome.RETRYING: "cyan",
}  # fmt: skip
_PLAIN_WIDTH: Final = 400
"""Columns when the output is no terminal: wide enough that no line is broken."""


def show(timelines: Sequence[Timeline], console: Console | None = None) -> None:
    """Print each timeline as a tree; colours only on a terminal."""
    out = console or Console(highlight=False)
    if not out.is_terminal:
        out.width = _PLAIN_WIDTH
    for number, each in enumerate(timelines):
        if number:
            out.print()
        out.print(tree(each))


def tree(of: Timeline) -> Tree:
    """Return one event's tree."""
    top = Tree(Text.assemble(("event ", "dim"), (of.event_id or "(undecodable)", "bold"), f"  {of.event_type}"))
    if of.event_time_ms:
        top.add(_fact("happened", moment_utc(of.event_time_ms)))
    position = "{}/{}/{}".format(*of.position)
    top.add(_fact("arrived", f"{moment_utc(of.arrived_ms)} as {position}"))
    top.add(_fact("trace id", of.trace_id))
    if of.expected > len(of.deliveries):
        top.add(Text(f"{of.expected - len(of.deliveries)} of {of.expected} deliveries not settled yet", "cyan"))
    for line in of.deliveries:
        _add_delivery(top, line, of.arrived_ms)
    for letter in of.letters:
        top.add(_letter(letter))
    return top


def _fact(name: str, content: str) -> Text:
    return Text.assemble((f"{name:<9} ", "dim"), content)


def _add_delivery(top: Tree, line: DeliveryLine, zero_ms: int) -> None:
    style = _STYLES[line.outcome]
    told = line.outcome.value + (f" ({line.reason})" if line.reason else "")
    tries = f" after {line.attempts} attempt{'s' if line.attempts > 1 else ''}" if line.attempts else ""
    title = Text.assemble(
        (f"{line.journey}.{line.step}", "bold"), f" to {line.destination}.{line.operation}  ", (told, style), tries
    )
    branch = top.add(title)
    branch.add(_fact("delivery", line.id))
    for row in _columns((moment, _cells(moment, zero_ms)) for moment in line.moments):
        branch.add(row)
    if line.repeats:
        branch.add(Text(f"{line.repeats} repeated by a crash or a rebalance", "yellow"))


def _cells(moment: Moment, zero_ms: int) -> tuple[str, str, str, str, str]:
    """Return offset, what, status, class and duration as text."""
    offset = f"+{span(moment.at_ms - zero_ms)}" if moment.at_ms >= zero_ms else f"-{span(zero_ms - moment.at_ms)}"
    status = str(moment.status) if moment.status else ""
    if moment.what == timeline.ATTEMPT:
        took = "" if moment.duration_ms is None else ("" if moment.kept else "~") + span(moment.duration_ms)
        return offset, f"attempt {moment.number}", status or "none", moment.cls, took
    if moment.what == timeline.HANDED_OVER:
        return offset, f"handed over (hop {moment.hop})", "", moment.cls, f"due +{span(moment.due_ms - zero_ms)}"
    if moment.what == timeline.SETTLED:
        return offset, moment.detail, "", moment.cls, ""
    place = "{}/{}/{}".format(*moment.place) if moment.place else ""
    return offset, "dead letter", "", moment.detail, place


def _columns(rows: Iterable[tuple[Moment, tuple[str, ...]]]) -> list[Text]:
    table = list(rows)
    wide = [max(map(len, column)) for column in zip(*(cells for _, cells in table), strict=True)]
    lines: list[Text] = []
    for moment, (offset, what, status, cls, last) in table:
        text = f"{offset:>{wide[0]}}  {what:<{wide[1]}}  {status:<{wide[2]}}  {cls:<{wide[3]}}  {last:>{wide[4]}}"
        lines.append(Text(text.rstrip(), _style(moment), no_wrap=True))
    return lines


def _style(moment: Moment) -> str:
    if moment.what == timeline.SETTLED:
        return _STYLES[Outcome(moment.detail)]
    if moment.what == timeline.ATTEMPT:
        return "red" if moment.cls else ""
    return "cyan" if moment.what == timeline.HANDED_OVER else "dim"


def _letter(letter: Letter) -> Text:
    says = letter.says
    place = "{}/{}/{}".format(*letter.position)
    detail = f": {says['detail']}" if says.get("detail") else ""
    return Text(f"dead letter {place}: {says.get('class', 'unknown class')}{detail}", "bold red", no_wrap=True)


def moment_utc(ms: float) -> str:
    """Return Unix ms as UTC text to the millisecond."""
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(" ", "milliseconds").replace("+00:00", " UTC")


def span(ms: float) -> str:
    """Return a time span in a form that is exact enough for its size: 12 ms, 3.2 s, 5m 07s, 2h 05m, 3d 4h."""
    if ms < 1_000:  # noqa: PLR2004
        return f"{ms:.0f} ms" if ms >= 10 or ms == int(ms) else f"{ms:.1f} ms"  # noqa: PLR2004
    seconds = ms / 1_000
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:  # noqa: PLR2004
        return f"{hours}h {minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h"
