"""`hookline simulate`: fleets under seeded faults, and what must hold whatever happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pipeline.cli import options, screen

if TYPE_CHECKING:
    import argparse

    from pipeline.testing.simulation.run import Found

OK: Final = 0
FOUND: Final = 1
SEEDS: Final = 100
TRACE_LINES: Final = 30
"""Lines of the trace that are shown up to the first flaw, where a seed is not replayed."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "simulate",
        help="try the guarantees under faults",
        description="Run fleets of workers on a clock of their own, with a broker, systems and customers in memory. "
        "Each seed has one of 50 configurations that are drawn too: graphs of steps, gates, memory, batches, limits. "
        "Workers crash, stop and start, partitions move, a worker loses its partitions without knowing, records come "
        "twice, clocks jump, acks are late or lost, the broker refuses writes and answers commits with errors, tables "
        "and memory fall behind, systems fail in every way, things are paused, customers withdraw consent and are "
        "erased. Checked on each seed is every guarantee that can be: see guarantees.md. The same seed is the same "
        "run. Exit code 1 if anything did not hold.",
    )
    parser.add_argument(
        "--seeds", metavar="N", type=options.whole(1), default=SEEDS, help="how many (default: %(default)s)"
    )
    parser.add_argument("--first-seed", metavar="K", type=options.whole(0), default=0, help="the first (default: 0)")
    parser.add_argument(
        "--replay", metavar="SEED", type=options.whole(0), help="run this seed alone, and tell all that happened"
    )
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks."""
    from pipeline.testing.simulation.run import Simulation  # noqa: PLC0415 - commands import what is heavy late

    simulation = Simulation()
    if args.replay is not None:
        return _replay(simulation.run(args.replay, tell=True), as_json=args.json)
    began_s = time.monotonic()
    found: list[Found] = []
    with screen.progress("seeds") as progress:
        for done, seed in enumerate(range(args.first_seed, args.first_seed + args.seeds), 1):
            found.append(simulation.run(seed))
            if progress is not None:
                progress(done, args.seeds)
    took_s = time.monotonic() - began_s
    bad = [each for each in found if each.flaws]
    hours = sum(each.simulated_s for each in found) / 3_600
    if args.json:
        screen.print_json({
            "seeds": len(found), "seconds": round(took_s, 3), "simulated_hours": round(hours, 3),
            "hours_per_second": round(hours / took_s, 4), "found": bad,
        })  # fmt: skip
        return FOUND if bad else OK
    for each in bad:
        print("\n".join(_shown(each)))
    if bad:
        first = simulation.run(bad[0].seed, tell=True)
        print("\n".join(_before(first)))
    faults = sum(sum(each.faults.values()) for each in found)
    print(
        f"{len(found) - len(bad)} of {len(found)} seeds held: {sum(each.events for each in found):,} events, "
        f"{sum(each.requests for each in found):,} requests, {faults:,} faults; "
        f"{hours:.1f} h simulated in {took_s:.0f} s ({hours / took_s:.3f} h a second)"
    )
    return FOUND if bad else OK


def _replay(found: Found, *, as_json: bool) -> int:
    """Tell all of one seed."""
    if as_json:
        screen.print_json(found)
    else:
        print("\n".join((*found.trace, *_shown(found))))
    return FOUND if found.flaws else OK


def _shown(found: Found) -> list[str]:
    """Return what one seed came to."""
    faults = ", ".join(f"{name} {number}" for name, number in found.faults.items()) or "none"
    return [
        f"seed {found.seed}: " + ("; ".join(found.flaws) or "everything held"),
        (
            f"  configuration {found.configuration}: {found.events} events, {found.requests} requests, "
            f"{found.repeats} repeats; faults: {faults}"
        ),
    ]


def _before(found: Found) -> list[str]:
    """Return what happened right before the first flaw, and how to see the rest."""
    at = next((index for index, line in enumerate(found.trace) if "  FLAW " in line), len(found.trace) - 1)
    lines = found.trace[max(at - TRACE_LINES + 1, 0) : at + 1]
    return [*lines, f"all that happened: hookline simulate --replay {found.seed}"]
