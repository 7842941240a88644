"""Measures promise 5: the p99 of a destination that is well, alone and beside dead, slow, flapping and refusing ones.

    python -m tests.bench.isolation [--rate 200] [--seconds 20] [--rounds 3]

Real sockets, one process, the broker is a fake. The rate is events a second for each destination.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys

import uvloop

from tests.support.trouble import ILL, Scene


async def measure(per_s: int, seconds: float, rounds: int) -> None:
    """Take turns, alone and beside the others; print each round and the median of the ratios."""
    ratios = []
    async with Scene() as scene:
        await scene.stream(2.0, per_s, "well", *ILL)
        for _ in range(rounds):
            alone = await scene.stream(seconds, per_s, "well")
            beside = await scene.stream(seconds, per_s, "well", *ILL)
            ratios.append(beside.p99 / alone.p99)
            sys.stdout.write(
                f"{per_s}/s each: p99 {alone.p99:.1f} ms alone, {beside.p99:.1f} ms beside the others: "
                f"{ratios[-1]:.2f} times; medians {statistics.median(alone.ms):.1f} and "
                f"{statistics.median(beside.ms):.1f} ms\n"
            )
            sys.stdout.flush()
    sys.stdout.write(f"median ratio {statistics.median(ratios):.2f}; aim 1.3\n")


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rate", type=int, default=200, help="events a second for each destination (default 200)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a stretch (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of stretches (default 3)")
    arguments = parser.parse_args()
    gc.disable()  # the fake broker keeps all records: to look through them takes longer than anything that is measured
    uvloop.run(measure(arguments.rate, arguments.seconds, arguments.rounds))


if __name__ == "__main__":
    main()
