"""What befalls a fleet while there is trouble: each method of Faults is one kind, and draws whom and how much."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import topics
from pipeline.core import switches
from pipeline.testing.simulation.drawn import CUSTOMERS, ERASED
from pipeline.testing.simulation.people import TOPIC, People, partition_of
from pipeline.testing.simulation.weather import Refusal
from pipeline.testing.simulation.world import PARTITIONS, WORKERS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.testing.simulation.world import Member, World

UNHEARD_S: Final = 40.0
"""The longest that a worker does not hear what customers say."""
_FOREIGN: Final = ("hl1:AAACm08Y6HSnoSMBAQ", "R1-3,5", "B0:ff", "bAAAAAQ==", "{}")
"""Metadata as this program (of another place) and others write it."""


class Faults:
    """Of one world."""

    def __init__(self, world: World, people: People) -> None:
        self._world = world
        self._people = people
        self._chance = world.chance

    def kinds(self) -> list[Callable[[], None]]:
        """Return all there are."""
        return [
            self.crash, self.crash, self.zombie, self.stop, self.start, self.rebalance, self.zombie, self.again,
            self.jump, self.clock,
            self.lost_ack, self.slow_commit, self.refusal, self.fatal, self.outage, self.unheard, self.unread,
            self.pause, self.order, self.erasure, self.gap, self.foreign,
        ]  # fmt: skip

    def happen(self, fault: Callable[[], None]) -> None:
        """Let a fault happen, and count it."""
        name = fault.__name__
        self._world.facts.faults[name] = self._world.facts.faults.get(name, 0) + 1
        self._world.say("fault", name)
        fault()

    def _member(self) -> Member | None:
        return self._chance.choice(self._world.members) if self._world.members else None

    def _after(self, seconds: float, call: Callable[[], object]) -> None:
        self._world.loop.call_later(seconds, call)

    # ----------------------------------------------------------------------------------- workers and partitions

    def crash(self) -> None:
        """Kill a worker."""
        member = self._member()
        if member is not None:
            self._world.say(member.name, "is killed")
            self._world.kill(member)

    def stop(self) -> None:
        """Stop a worker gracefully."""
        member = self._member()
        if member is not None:
            self._world.say(member.name, "is stopped")
            self._world.stop(member)

    def start(self) -> None:
        """Start one more, for which the registry may not answer at first."""
        before = len(self._world.members)
        self._world.start()
        if len(self._world.members) > before and self._chance.random() < 0.3:  # noqa: PLR2004
            schemas = self._world.members[-1].worker.schemas
            schemas.reachable = False
            self._after(self._chance.uniform(0.1, 5.0), lambda: setattr(schemas, "reachable", True))

    def rebalance(self) -> None:
        """Move partitions while everybody is well."""
        self._world.groups[self._chance.choice(sorted(self._world.groups))].balance(self._chance.randrange(WORKERS_MAX))

    def zombie(self) -> None:
        """Take a worker's partitions away behind its back."""
        group = self._world.groups[self._chance.choice(sorted(self._world.groups))]
        if group.members:
            group.expel(self._chance.choice(group.members))

    def again(self) -> None:
        """Post records that were posted already."""
        for group in self._world.groups.values():
            for source in group.members:
                for place in tuple(source.positions):
                    source.again(place, self._chance.randint(1, 5))

    # ------------------------------------------------------------------------------------------------- clocks

    def jump(self) -> None:
        """Let all stand still for a while, as a suspended machine does."""
        self._world.leap(self._world.loop.time() + self._chance.uniform(1.0, 30.0))

    def clock(self) -> None:
        """Set the wall clock forward or back."""
        by_s = self._chance.uniform(-20.0, 20.0)
        self._world.facts.set_back_s += max(-by_s, 0.0)
        self._world.say("clock", f"is set by {by_s:+.1f} s")
        self._world.loop.set_clock(by_s)

    # ------------------------------------------------------------------------------------------------- broker

    def lost_ack(self) -> None:
        """From now on acks get lost; see the world."""

    def slow_commit(self) -> None:
        """Let a worker's commits be answered late or with errors for a while, and asked again."""
        member = self._member()
        if member is None:
            return
        sources: list[Any] = [intake.source for intake in member.worker.intakes]
        for source in sources:
            source.commit_s = lambda: self._chance.uniform(0.0, 3.0)
            self._after(10.0, partial(setattr, source, "commit_s", lambda: 0.0))

    def foreign(self) -> None:
        """Let another program write metadata of its own beside what the group committed."""
        broker = self._world.broker
        for key, (offset, _) in tuple(broker.committed.items()):
            if self._chance.random() < 0.5:  # noqa: PLR2004
                broker.committed[key] = offset, self._chance.choice(_FOREIGN)

    def refusal(self) -> None:
        """Let the broker refuse for a while some of what is written to a topic, and take its time for the rest."""
        group = self._world.performer.config.group
        own = [
            *(topics.outcomes(group),) * 4,
            topics.dead(group),
            topics.memory(group),
            *topics.retry_topics(self._world.performer.config),
        ]
        topic = self._chance.choice(own)
        self._world.say("fault", f"{topic} refuses records")
        self._world.refused.add(topic)
        self._after(self._chance.uniform(0.5, 15.0), lambda: self._world.refused.discard(topic))

    def fatal(self) -> None:
        """Let a worker's producer be of no more use: it stops, and another one takes over."""
        member = self._member()
        if member is not None:
            member.worker.fatal(Refusal("the producer cannot go on"))

    def gap(self) -> None:
        """Leave offsets out, as transactions and compaction do."""
        for _ in range(self._chance.randint(1, 5)):
            self._world.broker.skip(TOPIC, self._chance.randrange(PARTITIONS))

    # ------------------------------------------------------------------------------------------ what is asked

    def outage(self) -> None:
        """Let a system be down for a while."""
        down = self._world.weather.down
        name = self._chance.choice(sorted(self._world.performer.config.destinations))
        down.add(name)
        self._world.say("fault", f"{name} is down")
        self._after(self._chance.uniform(1.0, 15.0), lambda: down.discard(name))

    def unheard(self) -> None:
        """Let a worker not hear for a while what customers say, and let some of them say something."""
        member = self._member()
        if member is None:
            return
        seconds = self._chance.uniform(0.5, UNHEARD_S)
        self._world.facts.unheard_s = max(self._world.facts.unheard_s, UNHEARD_S)
        member.hearing.stop()
        for _ in range(5):
            self._after(self._chance.uniform(0.1, 3.0), self._people.speak)
        self._after(seconds, member.hearing.go_on)

    def unread(self) -> None:
        """Let a worker not read for a while what is remembered."""
        member = self._member()
        if member is None or member.worker.follower is None:
            return
        follower = member.worker.follower
        follower.silent = True
        self._world.facts.unread_s = max(self._world.facts.unread_s, 45.0)
        self._after(self._chance.uniform(1.0, 45.0), lambda: setattr(follower, "silent", False))

    # ------------------------------------------------------------------------------------------- what is said

    def pause(self) -> None:
        """Hold something back by hand for a while."""
        config = self._world.performer.config
        journey = self._chance.choice(sorted(config.journeys))
        step = self._chance.choice(config.journeys[journey].steps)
        scope, name = self._chance.choice([
            ("destination", self._chance.choice(sorted(config.destinations))), ("journey", journey),
            ("step", f"{journey}.{step.name}"),
        ])  # fmt: skip
        if any(each.until_s == float("inf") and (each.scope, each.name) == (scope, name)
               for each in self._world.facts.pauses):  # fmt: skip
            return
        self._switch(switches.pause_key(scope, name), switches.PAUSED)
        number = self._world.hold(scope, name)
        self._world.say("somebody", f"pauses {scope} {name}")

        def resume() -> None:
            self._world.let_go(number)
            self._world.say("somebody", f"resumes {scope} {name}")
            self._switch(switches.pause_key(scope, name), "resumed")

        self._after(self._chance.uniform(1.0, 30.0), resume)

    def order(self) -> None:
        """Release, drop or reset what waits for a destination."""
        verb = self._chance.choice([switches.RELEASE, switches.RELEASE, switches.RESET, switches.DROP])
        name = self._chance.choice(sorted(self._world.performer.config.destinations))
        self._world.say("somebody", f"orders {verb} for {name}")
        self._switch(switches.order_key(verb, name, self._world.now_ms()), verb)

    def reset(self) -> None:
        """Let every operation go on that said it was gone."""
        for name, destination in self._world.performer.config.destinations.items():
            for operation in destination.operations:
                self._switch(switches.disabled_key(name, operation), "reset")

    def _switch(self, key: bytes, state: str) -> None:
        content = switches.content(state, "somebody", "", self._world.now_ms())
        self._world.broker.append(topics.control(self._world.performer.config.group), 0, key, content, ())

    def erasure(self) -> None:
        """Erase a customer, and tell of it."""
        customer = f"c-{self._chance.randrange(CUSTOMERS)}"
        self._world.erase(customer, partition_of(customer))
        self._people.publish(ERASED, customer)
