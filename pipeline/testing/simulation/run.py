"""Runs seeds: a configuration by the seed's number, a world, trouble, peace, and what did not hold."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from pipeline.adapters.schemas import Folders, packaged
from pipeline.model import value
from pipeline.testing.simulation.drawn import draw
from pipeline.testing.simulation.faults import Faults
from pipeline.testing.simulation.people import People
from pipeline.testing.simulation.world import WORKERS_MAX, World
from pipeline.testing.stage.perform import Events
from pipeline.testing.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.testing.stage.perform import Performer

START_MS: Final = 1_795_428_000_000
"""2026-11-23T10:00:00Z."""
CONFIGURATIONS: Final = 50
"""How many are drawn; seeds take them in turn."""
EVENTS_MAX: Final = 60
TROUBLE_S: Final = 60.0
"""How long events come and faults happen; after that everything is well."""
FAULT_SHARE: Final = 0.15
"""Of the steps of trouble, about one a second, that bring a fault."""
SPEAK_SHARE: Final = 0.2
"""Of the same that a customer says something in."""


@value
class Found:
    """What one seed came to: flaws, and figures of the run. `trace`, if asked for, tells what happened line by line."""

    seed: int
    configuration: int
    flaws: tuple[str, ...]
    simulated_s: float
    events: int
    requests: int
    repeats: int
    faults: Mapping[str, int]
    trace: tuple[str, ...] = ()


class Simulation:
    """Any number of seeds; each configuration is drawn and compiled once."""

    def __init__(self) -> None:
        self._readers: dict[str, Any] = dict(Folders((packaged(),)).readers)
        self._made: dict[int, tuple[Events, Performer]] = {}

    def run(self, seed: int, *, tell: bool = False) -> Found:
        """Run one seed to its end; blocks. `tell` keeps the trace, and changes nothing else."""
        number = seed % CONFIGURATIONS
        if number not in self._made:
            config = draw(number)
            events = Events(config, self._readers, None)
            self._made[number] = events, events.performer()
        events, performer = self._made[number]
        loop = VirtualLoop(START_MS * 1_000_000)
        try:
            return loop.run_until_complete(self._played(loop, events, performer, seed, tell=tell))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    @staticmethod
    async def _played(loop: VirtualLoop, events: Events, performer: Performer, seed: int, *, tell: bool) -> Found:
        world = World(performer, loop, seed, tell=tell)

        def broken(_loop: object, context: dict[str, Any]) -> None:
            """Take an exception in a callback for what it is to a worker: fatal."""
            world.flaw(f"a callback failed: {type(context.get('exception')).__name__}")

        loop.set_exception_handler(broken)
        people = People(world, events, seed)
        faults = Faults(world, people)
        for _ in range(world.chance.randint(1, WORKERS_MAX)):
            world.start()
        await _stir(world, people, faults)
        _make_peace(world, faults)
        await world.settle()
        await world.end()
        repeats = sum(count - 1 for count in world.taken.values() if count > 1)
        return Found(
            seed, seed % CONFIGURATIONS, tuple(world.flaws), loop.time(), len(world.facts.events), world.requests,
            repeats, dict(world.facts.faults), tuple(world.chronicle.lines) if world.chronicle is not None else (),
        )  # fmt: skip


async def _stir(world: World, people: People, faults: Faults) -> None:
    """Let events come, customers speak and faults happen."""
    chance, left = world.chance, world.chance.randint(EVENTS_MAX // 4, EVENTS_MAX)
    kinds = faults.kinds()
    kinds = chance.sample(kinds, chance.randint(1, 7))  # with all of them each hides what others break
    while world.loop.time() < TROUBLE_S or left:
        await asyncio.sleep(chance.expovariate(1.0))
        for _ in range(min(left, chance.choice((0, 1, 1, 2, 5)))):
            people.publish()
            left -= 1
        if chance.random() < SPEAK_SHARE:
            people.speak()
        if chance.random() < FAULT_SHARE:
            faults.happen(chance.choice(kinds))
        world.watch()


def _make_peace(world: World, faults: Faults) -> None:
    """End all trouble: what lasts for a while does so by itself."""
    world.trouble = world.weather.bad = False
    world.say("peace", "nothing fails from now on")
    for number, pause in enumerate(world.facts.pauses):
        if pause.until_s == float("inf"):
            world.say("peace", f"{pause.scope} {pause.name} is still paused: number {number}")
    faults.reset()
    if not world.members:
        world.start()
