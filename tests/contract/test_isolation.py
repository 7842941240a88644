"""Promise 5 over real sockets, in one process: destinations in trouble beside one that is well.

Speed is printed (`pytest -s`, and `python -m tests.bench.isolation`), not asserted. What is asserted is what isolation
is made of: the one that is well gets all of its own while the others are parked, and nothing is dead.
"""

from __future__ import annotations

import statistics
import sys

from pipeline.run.consume import TURN_RECORDS
from tests.support.trouble import ILL, QUEUE, SLOTS, Scene

SECONDS = 4.0
PER_S = 100


async def test_one_that_is_well_notices_nothing_of_dead_slow_flapping_and_refusing_ones() -> None:
    async with Scene() as scene:
        await scene.stream(1.0, PER_S, "well")  # connections open, the window finds its size
        alone = await scene.stream(SECONDS, PER_S, "well")
        beside = await scene.stream(SECONDS, PER_S, "well", *ILL)
        sys.stdout.write(
            f"\np99 of the one that is well: {alone.p99:.1f} ms alone, {beside.p99:.1f} ms beside the others, "
            f"{beside.p99 / alone.p99:.2f} times; medians {statistics.median(alone.ms):.1f} and "
            f"{statistics.median(beside.ms):.1f} ms\n"
        )
        worker = scene.worker
        stats = {name: lane.stats for name, lane in worker.lanes.items()}
        assert (stats["dead"].state, stats["refusing"].state) == ("open", "open")
        assert min(stats["dead"].parked, stats["refusing"].parked) > SECONDS * PER_S / 2
        assert stats["well"].parked == 0
        assert worker.lanes["slow"]._pace.slow, "when its queue is full it is parked, and holds nobody back"
        assert beside.queued <= QUEUE + TURN_RECORDS, "the bound of a queue, and what one turn may add"
        assert beside.seats <= SLOTS
        assert worker.broker.of("g.dead") == []
        assert {name for name, word in worker.settlement.outcome_counts if word != "delivered"} == set()
