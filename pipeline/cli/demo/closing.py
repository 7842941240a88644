"""Prints what the demo says before and after: what is there, the account, one event's trace, what to try next."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.text import Text

from pipeline.cli.demo import summary
from pipeline.cli.demo.folder import ENV
from pipeline.cli.demo.processes import COMMAND_S, call
from pipeline.cli.demo.systems import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from pipeline.cli.demo.folder import Folder

TUTORIAL: Final = "docs/tutorial/first-journey.md"


def introduce(console: Console, folder: Folder, bootstrap: str, *, embedded: bool) -> None:
    """Say what is there and where."""
    broker = (
        f"an embedded demo broker at {bootstrap}: real protocol, but in memory only and gone at the end"
        if embedded
        else f"the Kafka at {bootstrap}; the demo's topics, named demo-*, are deleted at the end unless you --keep it"
    )
    console.print("[bold]Hookline demo[/]: events of a shop become webhooks to three systems, and none is lost\n")
    _fact(console, "broker", broker)
    _fact(console, "worker", "one real `hookline run`, a process of its own")
    for name, problem in PROBLEMS.items():
        _fact(console, name, problem)
    _fact(console, "journeys", f"{folder.config / 'journeys'}/")
    _fact(console, "logs", str(folder.log))
    console.print()


def account(console: Console, evidence: summary.Evidence) -> bool:
    """Print what became of everything; return whether it all agrees."""
    found = summary.checks(evidence)
    summary.show(console, evidence, found)
    good = all(check.good for check in found)
    if not good:
        console.print("[bold red]The account does not balance.[/] This is a bug: please report it with the log.\n")
    return good


def trace(console: Console, event_id: str, folder: Folder) -> None:
    """Have `hookline trace` print the event, straight to where our output goes."""
    if not event_id:
        console.print("No event was retried this time, so there is no trace worth printing.\n")
        return
    words = call("trace", event_id, config=folder.config)
    console.print(f"One event that met trouble, as [bold]hookline trace {event_id}[/] shows it:\n")
    console.file.flush()
    with folder.log.open("ab") as errors:
        subprocess.run(  # noqa: S603 - our own command
            words, stdin=subprocess.DEVNULL, stderr=errors, timeout=COMMAND_S, check=True
        )
    console.print()


def invite(console: Console, folder: Folder, program: str, urls: Mapping[str, str], topic: str, pid: int) -> None:
    """Say what to try while everything is up."""
    place = f"--config {shlex.quote(str(folder.config))} --env {ENV}"
    console.print("[bold]Everything stays up until Ctrl-C.[/] In another terminal, try:\n")
    more = folder.path / "more.jsonl"
    for what, command in (
        ("send another hundred events", f"{program} produce {shlex.quote(str(more))} {place} --id-from random"),
        ("see how worker and destinations are", f"{program} status {place}"),
        ("account for them all", f"{program} account {place}"),
        ("trace a record by its place", f"{program} trace {topic}/0/10 {place}"),
        ("read the dead letters", f"{program} dead list {place}"),
        ("stop the worker: it drains", f"kill {pid}"),
        (
            "start another",
            f"{program} run {place}",
        ),
    ):
        console.print(Text.assemble((f"  {what}\n", "dim"), f"    {command}"), soft_wrap=True)
    console.print()
    for name, url in urls.items():
        _fact(console, name, url)
    console.print()


def farewell(console: Console, program: str) -> None:
    """Say what to do next."""
    console.print("[bold]Next:[/]")
    hints = (
        (f"{program} demo --keep", "the same, but it stays up for you to play with"),
        (f"{program} demo --example cart_abandonment", "journeys that ask, decide and branch, scene by scene"),
        (f"{program} --help", "all commands"),
        (TUTORIAL, "build it by hand: your first journey"),
    )
    wide = max(len(command) for command, _ in hints)
    for command, what in hints:
        console.print(Text.assemble(f"  {command:<{wide}}  ", (what, "dim")), soft_wrap=True)


def _fact(console: Console, name: str, content: str) -> None:
    console.print(Text.assemble((f"  {name:<10}", "bold"), content), soft_wrap=True)


def program(executable: Path) -> str:
    """Return how a person calls this installation's `hookline`: next to its Python, or as a module of it."""
    script = executable.with_name("hookline")
    if script.exists():
        return shlex.quote(str(_near(script)))
    return f"{shlex.quote(str(_near(executable)))} -m pipeline"


def _near(path: Path) -> Path:
    """Return the path as one would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
