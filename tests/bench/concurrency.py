"""Prints what adaptive concurrency makes of modelled receivers, as the table of docs/decisions/0013: seeded, no clock.

python -m tests.bench.concurrency
"""

from __future__ import annotations

import statistics
import sys

from pipeline.core.concurrency import Adaptive
from tests.support.modelled import Loop, Receiver, lognormal

RTT_MS = 100.0
CASES = (
    ("queues, steady 100 ms", 64, Receiver(20, lambda _: RTT_MS)),
    ("queues, 100 ms, sigma 0.5", 64, Receiver(20, lognormal(RTT_MS, 0.5))),
    ("queues, 100 ms, sigma 1.0", 64, Receiver(20, lognormal(RTT_MS, 1.0))),
    ("queues, 20 ms or 490 ms", 64, Receiver(20, lambda random: 20.0 if random.random() < 0.83 else 490.0)),
    ("queues, sigma 0.5", 64, Receiver(4, lognormal(RTT_MS, 0.5))),
    ("queues, sigma 0.5", 1_000, Receiver(200, lognormal(RTT_MS, 0.5))),
    ("takes all, sigma 1.0", 64, Receiver(1_000, lognormal(RTT_MS, 1.0))),
    ("takes all, 1% stray 503", 64, Receiver(1_000, lognormal(RTT_MS, 0.5), stray_503=0.01)),
    ("refuses with 429", 64, Receiver(20, lognormal(RTT_MS, 0.5), refuses=True)),
    ("refuses with 429", 1_000, Receiver(200, lognormal(RTT_MS, 0.5), refuses=True)),
)


def main() -> None:
    """Run every case and print one line for each."""
    out = sys.stdout.write
    out("| receiver | capacity | max | throughput, of what is to be had | mean latency | refused | median limit |\n")
    out("|---|---|---|---|---|---|---|\n")
    for name, most, receiver in CASES:
        loop = Loop(Adaptive(most), receiver)
        loop.run(20 * RTT_MS)
        seen = loop.run(500 * RTT_MS)
        share = seen.per_s / (min(most, receiver.capacity) * 1_000 / RTT_MS)
        refused = seen.refused / (seen.refused + seen.delivered)
        out(
            f"| {name} | {receiver.capacity:,} | {most:,} | {share:.0%} | {seen.mean_ms:.0f} ms | {refused:.1%} "
            f"| {statistics.median(seen.limits):.0f} |\n"
        )


if __name__ == "__main__":
    main()
