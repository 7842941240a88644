"""`hookline plan`: what a change of the configuration does, and whom it affects, before it is made."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.cli.backlog import WaitingStep
    from pipeline.config.difference import Difference, Kind, Side
    from pipeline.config.models import Config

OK: Final = 0
REVIEW: Final = 1
GIT_S: Final = 60
"""Bound on each call of Git."""
MARKS: Final = {"added": "+", "removed": "-", "changed": "~"}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "plan",
        help="what a change of the configuration does",
        description="Compare two configurations: what was added, removed and changed, which values are newly sent "
        "where, which destinations are affected, and with --live how many runs wait that the change touches, and why. "
        "Exit code 1 if personal data goes to a destination that did not get it before, so that a review can be "
        "demanded.",
    )
    parser.add_argument("old", metavar="OLD", help="configuration folder, or a Git revision of NEW's repository")
    parser.add_argument("new", metavar="NEW", type=Path, nargs="?", default=Path(), help="folder (default: .)")
    parser.add_argument("--env", metavar="NAME", help="with this environment laid over both")
    parser.add_argument("--live", action="store_true", help="ask Kafka for the runs that wait on the retry tiers")
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on files, on Git, and with `--live` on Kafka. Raises ConfigError, BrokerError."""
    from pipeline.config.difference import difference  # noqa: PLC0415 - commands import what is heavy once they run

    new = _side(args.new, args.env, strict=True)
    with _folder(args.old, args.new) as folder:
        old = _side(folder, args.env, strict=False)
    found = difference(old, new)
    waiting = _waiting(args, old, new) if args.live else None
    in_flight = None if waiting is None else touched(waiting, found, old.config)
    if args.json:
        screen.print_json(document(found, in_flight))
    else:
        _print(found, in_flight)
    return REVIEW if found.is_flagged else OK


# ------------------------------------------------------------------------------------------------------- two sides


def _side(folder: Path, env: str | None, *, strict: bool) -> Side:
    """Read one side. The old one may have problems by the rules of today: it is compared as far as it can be read."""
    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415
    from pipeline.app.check import checked  # noqa: PLC0415
    from pipeline.config import files  # noqa: PLC0415
    from pipeline.config.compile import sent  # noqa: PLC0415
    from pipeline.config.difference import Side  # noqa: PLC0415
    from pipeline.config.load import examine  # noqa: PLC0415
    from pipeline.errors import ConfigError  # noqa: PLC0415

    config, problems = checked(folder, env) if strict else examine(folder, env)
    if config is None:
        raise ConfigError(problems)
    readers = Folders.examined((packaged(), folder / "schemas"))[0]
    return Side(config, files.read(folder).trees, sent(config, readers))


@contextmanager
def _folder(old: str, new: Path) -> Iterator[Path]:
    """Give the folder `old` names: itself, or what the repository of `new` had in its place at a revision."""
    if Path(old).is_dir():
        yield Path(old)
        return
    prefix = _git(new, "rev-parse", "--show-prefix").decode().strip()
    commit = _git(new, "rev-parse", "--verify", "--end-of-options", f"{old}^{{commit}}").decode().strip()
    top = Path(_git(new, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    archive = _git(top, "archive", "--format=tar", f"{commit}:{prefix.rstrip('/')}")
    with tempfile.TemporaryDirectory(prefix="hookline-plan-") as root:
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            _unpack(packed, Path(root))
        yield Path(root)


def _unpack(packed: tarfile.TarFile, root: Path) -> None:
    """Write the plain files of an archive of Git's: nothing else is part of a configuration."""
    for member in packed:
        path = Path(member.name)
        content = packed.extractfile(member) if member.isfile() else None
        if content is None or path.is_absolute() or ".." in path.parts:
            continue
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.read())


def _git(folder: Path, *args: str) -> bytes:
    try:
        command = ["git", "-C", str(folder), *args]
        return subprocess.run(command, capture_output=True, check=True, timeout=GIT_S).stdout  # noqa: S603
    except FileNotFoundError:
        raise options.refuse("OLD", "is no folder, and there is no git to ask for a revision") from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        raise options.refuse("OLD", "is neither a folder nor a Git revision that has this folder") from None


# ------------------------------------------------------------------------------------------------ runs under way


def _waiting(args: argparse.Namespace, old: Side, new: Side) -> list[WaitingStep]:
    from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415
    from pipeline.cli.backlog import waiting  # noqa: PLC0415
    from pipeline.config.load import kafka_settings  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415

    settings = kafka_settings(new.config, Secrets(args.new))
    return waiting(old.config, settings, Admin(settings))


def touched(waiting: Sequence[WaitingStep], found: Difference, old: Config) -> list[dict[str, Any]]:
    """Count deliveries and runs that wait and that the change touches, by journey, tier and reasons.

    A run is counted once in each tier where it waits for the same reasons.
    """
    from pipeline.config import touching  # noqa: PLC0415

    why = touching.reasons(old, found)
    deliveries: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    runs: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    for each in waiting:
        reasons = why.get((each.journey, each.step)) or touching.of_journey(found, each.journey)
        if reasons:
            name = (each.journey, each.topic, reasons)
            deliveries[name] += 1
            runs.setdefault(name, set()).add(each.event_id)
    what = dict.fromkeys(found.journeys.removed, "removed") | dict.fromkeys(found.journeys.changed, "changed")
    return [
        {
            "journey": journey,
            "what": what.get(journey, "unchanged"),
            "why": list(reasons),
            "tier": topic,
            "runs": len(runs[journey, topic, reasons]),
            "deliveries": count,
        }
        for (journey, topic, reasons), count in sorted(deliveries.items())
    ]


# -------------------------------------------------------------------------------------------------------- printing


def document(found: Difference, in_flight: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return what is printed as JSON. `in_flight` is None without `--live`."""
    return {
        "journeys": found.journeys,
        "destinations": found.destinations,
        "hookline": found.hookline,
        "contracts": _names(found.contracts),
        "tables": _names(found.tables),
        "newly_sent": [{**_sent(each.sent), "flagged": each.is_flagged} for each in found.newly_sent],
        "no_longer_sent": [_sent(each) for each in found.no_longer_sent],
        "limits": found.limits,
        "destinations_affected": found.affected,
        "topics_needed": found.topics_needed,
        "copies": {"before": found.copies[0], "after": found.copies[1]},
        "in_flight": in_flight,
        "review": found.is_flagged,
    }


def _names(kind: Kind) -> dict[str, list[str]]:
    return {"added": list(kind.added), "removed": list(kind.removed), "changed": list(kind.changed)}


def _sent(sent: Any) -> dict[str, str]:
    return {
        "journey": sent.journey, "step": sent.step, "destination": sent.destination, "operation": sent.call,
        "field": sent.field, "source": sent.source, "class": sent.cls,
    }  # fmt: skip


def _print(found: Difference, in_flight: list[dict[str, Any]] | None) -> None:
    out = screen.console()
    kinds = {
        "journeys": found.journeys, "destinations": found.destinations, "contracts": found.contracts,
        "tables": found.tables,
    }  # fmt: skip
    lines = [*_lines(kinds), *(f"~ hookline.yaml: {_told(each)}" for each in found.hookline)]
    for line in lines or ["nothing differs"]:
        out.print(screen.cell(line))
    if found.newly_sent:
        shown = screen.table("newly sent to", "field", "from", "class", "by", "")
        for each in found.newly_sent:
            sent = each.sent
            shown.add_row(
                *map(screen.cell, (sent.call, sent.field, sent.source, sent.cls, f"{sent.journey}.{sent.step}")),
                "[bold red]personal data it did not get before[/]" if each.is_flagged else "",
            )
        out.print(shown)
    for gone in found.no_longer_sent:
        out.print(screen.cell(f"{gone.destination} no longer gets {gone.source}"))
    if found.affected:
        out.print(f"destinations affected: {', '.join(found.affected)}")
    before, after = found.copies
    if before != after:
        where = f"into {after} under their customers' IDs from now on, and journeys run there" if after else "no more"
        out.print(screen.cell(f"events are copied {where}"))
    if found.topics_needed:
        out.print(screen.cell(f"needs topics: {', '.join(found.topics_needed)}; hookline topics create makes them"))
    if in_flight is not None:
        _print_in_flight(in_flight)


def _print_in_flight(rows: Sequence[Mapping[str, Any]]) -> None:
    out = screen.console()
    if not rows:
        out.print("no run waits that this touches")
        return
    shown = screen.table("journey", "waits in", "runs", "deliveries", "why", right=("runs", "deliveries"))
    for row in rows:
        shown.add_row(
            screen.cell(row["journey"]), screen.cell(row["tier"]), screen.count(row["runs"]),
            screen.count(row["deliveries"]), screen.cell("; ".join(row["why"])),
        )  # fmt: skip
    out.print(shown)


def _lines(kinds: Mapping[str, Kind]) -> Iterator[str]:
    for folder, kind in kinds.items():
        for word in ("added", "removed"):
            yield from (f"{MARKS[word]} {folder}/{name}" for name in getattr(kind, word))
        for name, changes in kind.changed.items():
            yield from (f"{MARKS['changed']} {folder}/{name}: {_told(each)}".rstrip(": ") for each in changes)


def _told(change: Any) -> str:
    if change.before is None and change.after is None:
        return ""
    if change.before is None:
        return f"{change.path}: {change.after}"
    if change.after is None:
        return (
            f"{change.path}: {change.before}"
            if change.before == "removed"
            else f"{change.path}: {change.before} → gone"
        )
    return f"{change.path}: {change.before} → {change.after}"
