"""How the workers of a fleet are shown by `hookline status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.cli import screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from pipeline.core.fleet import HaltReport, WorkerReport


def document(report: WorkerReport) -> dict[str, Any]:
    """Return what is printed of a worker as JSON."""
    return {
        "id": report.id, "at_ms": report.at_ms, "host": report.host, "pid": report.pid, "version": report.version,
        "unsettled": report.unsettled, "oldest_ms": report.oldest_ms, "assigned": report.assigned,
        "config": report.config, "refused": report.refused, "mode": report.mode, "halts": report.halts,
        "stuck": report.stuck,
    }  # fmt: skip


def table(alive: Sequence[WorkerReport], stale: Sequence[WorkerReport], now_ms: int) -> Table:
    """Return the table of workers, those that fell silent last."""
    shown = screen.table(
        "worker",
        "host",
        "pid",
        "version",
        "configuration",
        "reported",
        "partitions",
        "unsettled",
        "oldest",
        right=("pid", "unsettled"),
    )
    for each in (*alive, *stale):
        partitions = ", ".join(f"{len(places)} {screen.cell(role)}" for role, places in each.assigned.items() if places)
        reported = f"{screen.age(now_ms - each.at_ms)} ago"
        shown.add_row(
            *map(screen.cell, (each.id, each.host, str(each.pid), each.version, each.config)),
            reported if each in alive else f"[red]gone, {reported}[/]", partitions,
            screen.count(each.unsettled), screen.age(each.oldest_ms) if each.oldest_ms else "",
        )  # fmt: skip
    return shown


def unsent(alive: Sequence[WorkerReport]) -> Iterator[str]:
    """Say what becomes of requests where they do not go to their destinations."""
    for mode, does in (("redirect", "send every request to the sink"), ("dry", "send nothing")):
        count = sum(each.mode == mode for each in alive)
        if count:
            yield f"[yellow]mode {mode}: {count} of {len(alive)} workers {does}[/]"


def stuck(alive: Sequence[WorkerReport], group: str) -> Iterator[str]:
    """Say which partitions of logs wait, for whom, and what to do."""
    for each in (found for report in alive for found in report.stuck):
        journey = screen.cell(each.topic.removeprefix(f"{group}.ordered."))
        whose = "one customer" if each.customers == 1 else f"{screen.count(each.customers)} customers"
        yield (
            f"[yellow]{screen.cell(each.topic)}/{each.partition} waits: {screen.count(each.held)} events of {whose} "
            f"are held, as many as may be; what for: hookline waiting list --journey {journey}[/]"
        )


def refused(alive: Sequence[WorkerReport]) -> Iterator[str]:
    """Say which workers could not take over what is in their folder, and why."""
    for each in alive:
        if each.refused:
            yield f"[red]{screen.cell(each.id)} goes on as it is; the configuration in its folder is refused:[/]"
            yield from map(screen.cell, each.refused)


def halted(alive: Sequence[WorkerReport], now_ms: int) -> Iterator[str]:
    """Say what stands still, in how many workers, why, and what to do."""
    found: dict[str, list[HaltReport]] = {}
    for each in alive:
        for halt in each.halts:
            found.setdefault(halt.what, []).append(halt)
    for what, halts in sorted(found.items()):
        first = min(halts, key=lambda halt: halt.since_ms)
        soon_ms = min(halt.look_ms for halt in halts) - now_ms
        again = f"tried again in {screen.age(soon_ms)}" if soon_ms > 0 else "tried again at once"
        yield (
            f"[bold red]{screen.cell(what)} stands still in {len(halts)} of {len(alive)} workers, for "
            f"{screen.age(now_ms - first.since_ms)}[/]: {screen.cell(first.why)}; {again}{_remedy(what)}"
        )


def _remedy(what: str) -> str:
    kind, _, name = what.partition(" ")
    if kind == "taking":
        return "; see: hookline dead list --class bug, and the workers' logs"
    if kind != "intake":
        return "; see: hookline topics check, and the brokers' logs"
    return (
        f"; see: hookline dead list; to go on whatever comes: hookline resume intake {screen.cell(name)} --reason TEXT"
    )
