"""What is promised holds on 1,000 seeds: `hookline simulate` runs as many as are asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256

import pytest

from pipeline.testing.simulation.run import CONFIGURATIONS, Found, Simulation

SEEDS = 1_000
PART = 50
"""Seeds of one test: each configuration once."""

FAULTS = {
    "crash", "stop", "start", "rebalance", "zombie", "again", "jump", "clock", "lost_ack", "slow_commit", "refusal",
    "fatal", "outage", "unheard", "unread", "pause", "order", "erasure", "gap", "foreign",
}  # fmt: skip

TRACED = """
from hashlib import sha256
from pipeline.testing.simulation.run import Simulation
print(sha256("\\n".join(Simulation().run({seed}, tell=True).trace).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation()


def told(simulation: Simulation, found: Found) -> str:
    """Tell what happened, of a seed that found something."""
    trace = "\n".join(simulation.run(found.seed, tell=True).trace)
    return f"hookline simulate --replay {found.seed}: {'; '.join(found.flaws)}\n{trace}"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, SEEDS, PART))
def test_what_is_promised_holds(simulation, first):
    faults: Counter[str] = Counter()
    events = 0
    for seed in range(first, first + PART):
        found = simulation.run(seed)
        assert not found.flaws, told(simulation, found)
        faults.update(found.faults)
        events += found.events
    assert events > 15 * PART
    assert len(faults) > 10


def test_every_fault_happens_and_every_configuration_is_drawn(simulation):
    found = [simulation.run(seed) for seed in range(CONFIGURATIONS)]
    assert {each.configuration for each in found} == set(range(CONFIGURATIONS))
    assert {fault for each in found for fault in each.faults} == FAULTS


def test_the_same_seed_is_the_same_run(simulation):
    for seed in (3, 7, 11):
        first = simulation.run(seed, tell=True)
        assert first.trace
        assert simulation.run(seed, tell=True) == first
        assert simulation.run(seed).requests == first.requests, "telling changes nothing"
    assert simulation.run(57) != simulation.run(7)


def test_the_same_seed_is_the_same_run_in_another_process(simulation):
    expected = sha256("\n".join(simulation.run(5, tell=True).trace).encode()).hexdigest()
    for hashed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-c", TRACED.format(seed=5)], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": hashed},
        )  # fmt: skip
        assert ran.stdout.strip() == expected
