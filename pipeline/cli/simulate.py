"""`hookline simulate`: a fleet under seeded faults, and what must hold whatever happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pipeline.cli import options, screen

if TYPE_CHECKING:
    import argparse

    from pipeline.testing.stage.simulation import Found, Simulation

OK: Final = 0
FOUND: Final = 1
SEEDS: Final = 100


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "simulate",
        help="try the guarantees under faults",
        description="Run a fleet of workers on a clock of its own, with a broker and systems in memory, while workers "
        "crash, stop and start, partitions move, a worker loses its partitions without knowing, records come twice, "
        "the clock jumps, acks are slow, and systems fail in every way. Checked on each seed: every event is accounted "
        "for, each delivery ends, keeps one ID, and is sent with consent only; nothing is committed that was given up; "
        "nothing is delivered twice where nothing crashed. The same seed is the same run. Exit code 1 if anything did "
        "not hold.",
    )
    parser.add_argument(
        "--seeds", metavar="N", type=options.whole(1), default=SEEDS, help="how many (default: %(default)s)"
    )
    parser.add_argument("--first-seed", metavar="K", type=options.whole(0), default=0, help="the first (default: 0)")
    parser.add_argument("--replay", metavar="SEED", type=options.whole(0), help="run this seed alone, and say more")
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks."""
    simulation = _simulation()
    seeds = (
        range(args.first_seed, args.first_seed + args.seeds)
        if args.replay is None
        else range(args.replay, args.replay + 1)
    )
    began_s = time.monotonic()
    found: list[Found] = []
    with screen.progress("seeds") as progress:
        for done, seed in enumerate(seeds, 1):
            found.append(simulation.run(seed))
            if progress is not None:
                progress(done, len(seeds))
    took_s = time.monotonic() - began_s
    bad = [each for each in found if each.flaws]
    if args.json:
        screen.print_json(
            {"seeds": len(found), "seconds": round(took_s, 3), "found": found if args.replay is not None else bad}
        )
        return FOUND if bad else OK
    for each in found if args.replay is not None else bad:
        print(f"seed {each.seed}: " + ("; ".join(each.flaws) or "everything held"))
        faults = ", ".join(f"{name} {number}" for name, number in each.faults.items()) or "none"
        print(f"  {each.events} events, {each.requests} requests, {each.repeats} repeats; faults: {faults}")
    number = sum(sum(each.faults.values()) for each in found)
    hours = sum(each.simulated_s for each in found) / 3_600
    print(
        f"{len(found) - len(bad)} of {len(found)} seeds held: {sum(each.events for each in found):,} events, "
        f"{number:,} faults, {hours:.1f} h simulated in {took_s:.0f} s ({hours * 3_600 / took_s:,.0f} s a second)"
    )
    return FOUND if bad else OK


def _simulation() -> Simulation:
    """Compile the demo's configuration, which needs nothing else to be there."""
    from pathlib import Path  # noqa: PLC0415 - commands import what is heavy once they run

    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415
    from pipeline.config.load import load  # noqa: PLC0415
    from pipeline.testing.stage.simulation import SAMPLES, Simulation  # noqa: PLC0415

    config = load(Path(__file__).parent / "demo" / "configuration", None)
    return Simulation(config, dict(Folders((packaged(),)).readers), SAMPLES)
