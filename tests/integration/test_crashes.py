"""A record that kills its worker: the process really dies, the fleet goes on, and that record alone is given up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from pipeline.core.crashes import CRASHES_MAX
from tests.support.conditions import eventually
from tests.support.system import event
from tests.support.told import lines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.system import System

POISON = "poison"
SITE = '''
"""Makes one record deadly: whatever takes up an event that holds POISON dies as HOW says. Sessions are short."""
import importlib.util
import sys

def reading(module):
    read = module.Reading.read
    def deadly(self, record):
        if record.value is not None and b"POISON" in record.value:
            HOW
        return read(self, record)
    module.Reading.read = deadly

def grouped(module):
    module.TUNING.update({"session.timeout.ms": 1500, "heartbeat.interval.ms": 300})

CHANGED = {"pipeline.run.reading": reading, "pipeline.adapters.kafka.grouped": grouped}

class Finder:
    def find_spec(self, name, path=None, target=None):
        change = CHANGED.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            change(module)
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
'''.replace("POISON", POISON)
WAYS = {
    "segfault": "import ctypes; ctypes.string_at(0)",
    "exit": "import os; os._exit(70)",
    "exception": "raise RuntimeError('a bug of ours')",
}


def plug(system: System, folder: Path, how: str) -> None:
    """Have the workers of a system killed by one record."""
    (folder / "plug").mkdir()
    (folder / "plug" / "sitecustomize.py").write_text(SITE.replace("HOW", how))
    system.environ["PYTHONPATH"] = os.pathsep.join([str(folder / "plug"), os.environ.get("PYTHONPATH", "")])
    system.environ["XDG_STATE_HOME"] = str(folder / "state")


@pytest.mark.parametrize("how", WAYS)
async def test_a_record_that_kills_three_workers_is_given_up_and_all_others_are_delivered(
    system, receiver, tmp_path, how
) -> None:
    plug(system, tmp_path, WAYS[how])
    system.partitions = 1
    system.destination("crm", receiver.url)
    await asyncio.to_thread(system.prepare)
    workers = system.worker("--workers", "2")
    first = [event(n) for n in range(40)]
    system.feed(first)
    await eventually(lambda: receiver.accepted() == 40, timeout_s=60)
    await eventually(system.settled)
    deadly = event(99, source={"page": POISON})
    places = system.feed([*(event(n) for n in range(100, 120)), deadly, *(event(n) for n in range(200, 240))])
    await eventually(lambda: receiver.deliveries() == 100, timeout_s=120)
    await eventually(system.settled, timeout_s=60)
    (letter,) = system.dead()
    assert (letter.header("hookline-class"), letter.header("hookline-detail")) == ("bug", "crashed_its_worker")
    partition, offset = places[20]
    assert (letter.header("hookline-source-partition"), letter.header("hookline-source-offset")) == (
        str(partition), str(offset),
    )  # fmt: skip
    assert POISON.encode() in (letter.value or b"")
    # The neighbour may take the record up before the first one is back and tells of it: then both count at once.
    counts = [each["crashes"] for each in lines(workers, "worker_died_over_record")]
    assert counts == list(range(1, len(counts) + 1))
    assert len(counts) in (CRASHES_MAX, CRASHES_MAX + 1)
    assert receiver.snapshot()["requests"] - 100 <= 2 * 20, "once it is known, a crash does nothing else again"
    assert workers.returncode is None
    account = await asyncio.to_thread(system.account)
    assert account["balanced"] is True, json.dumps(account)


async def test_a_record_that_killed_one_worker_by_accident_is_delivered_by_the_next(system, receiver, tmp_path) -> None:
    once = repr(str(tmp_path / "died"))
    plug(system, tmp_path, f"import os, ctypes; os.path.exists({once}) or (os.mkdir({once}), ctypes.string_at(0))")
    system.destination("crm", receiver.url)
    await asyncio.to_thread(system.prepare)
    dead = system.worker()
    system.feed([event(1), event(2, source={"page": POISON}), event(3)])
    await eventually(lambda: dead.returncode is not None, timeout_s=60)
    assert dead.returncode == -signal.SIGSEGV
    worker = system.worker()
    await eventually(lambda: receiver.deliveries() == 3, timeout_s=90)
    await eventually(system.settled, timeout_s=60)
    assert system.dead() == []
    assert [each["crashes"] for each in lines(worker, "worker_died_over_record")] == [1]

    def told() -> list[bool]:
        control = system.broker.records(f"{system.group}.control")
        return [each.value is not None for each in control if (each.key or b"").startswith(b"crash/")]

    await eventually(lambda: told() == [True, False], what="counted, and forgotten again")
    assert (await asyncio.to_thread(system.account))["balanced"] is True
