"""The world of one seed: a fleet, a broker, systems and customers, and everything that befalls them.

Production `run/` and `core/` do the work, on a clock of the world's own. The same seed is the same run to the last
record, so what a seed finds can be looked at as often as is wanted.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import topics
from pipeline.core import memory
from pipeline.core.memory import record_key
from pipeline.testing.simulation import weather
from pipeline.testing.simulation.books import Books
from pipeline.testing.simulation.chronicle import Chronicle
from pipeline.testing.simulation.closing import Closing
from pipeline.testing.simulation.facts import Facts, Pause, Remembered
from pipeline.testing.simulation.promises import Promises
from pipeline.testing.simulation.words import Hearing, Words
from pipeline.testing.stage.broker import ACK_S, StageBroker
from pipeline.testing.stage.group import StageGroup
from pipeline.testing.stage.order import Order

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from pipeline.model import Record
    from pipeline.testing.simulation.facts import Published
    from pipeline.testing.stage.broker import Place
    from pipeline.testing.stage.endpoints import Reply, Request
    from pipeline.testing.stage.perform import Performer
    from pipeline.testing.stage.worker import StageWorker
    from pipeline.testing.virtual import VirtualLoop

WORKERS_MAX: Final = 3
PARTITIONS: Final = 4
QUIET_S: Final = 9_000.0
"""Within this all must be settled once peace has come: the longest `max_age` and some."""
STEP_S: Final = 0.5
COMMITTED_S: Final = 2.0
"""Once all is settled: time for the last commits, which come twice a second."""
REPLACED_S: Final = 1.0
"""How soon a worker that stopped by itself is replaced."""
_INPUT: Final = "stage.0"


class Member:
    """One worker of the fleet, and how it hears of customers."""

    def __init__(self, name: str, hearing: Hearing) -> None:
        self.name = name
        self.hearing = hearing
        self.worker: StageWorker


class World:
    """Of one seed. Owner of the workers; `flaws` is what did not hold."""

    def __init__(self, performer: Performer, loop: VirtualLoop, seed: int, *, tell: bool) -> None:
        self.flaws: list[str] = []
        self.performer = performer
        self.loop = loop
        self.chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.trouble = True
        self.members: list[Member] = []
        self.gone: list[Member] = []
        self.requests = 0
        self.taken: Counter[str] = Counter()
        self.refused: set[str] = set()
        """Topics the broker takes nothing for."""
        self._leapt_s = 0.0
        self._count = 0
        self._ending: set[asyncio.Task[None]] = set()
        config = performer.config
        self._group = config.group
        roles = {"input": performer.input_topics, "retry": topics.retry_topics(config)}
        if logs := topics.logs(config):
            roles["ordered"] = tuple(logs.values())
        own = (*(topic for each in roles.values() for topic in each), topics.outcomes(self._group))
        self.broker = StageBroker(loop.wall_ns, dict.fromkeys((*own, topics.memory(self._group)), PARTITIONS))
        self.groups = {role: StageGroup(self.broker, dict.fromkeys(each, PARTITIONS)) for role, each in roles.items()}
        self._order = Order(config, self.broker)
        self.words = Words(self.now_s)
        self.facts = Facts(config, self.words, self.now_s, self.now_ms)
        self.promises = Promises(self.facts, self.flaw)
        advises = frozenset(name for name, each in config.destinations.items()
                            if any(operation.response for operation in each.operations.values()))  # fmt: skip
        self.weather = weather.Weather(self.chance, advises)
        self.books = Books()
        self._outcomes, self._memory = topics.outcomes(self._group), topics.memory(self._group)
        self.broker.told.append(self._appended)
        self.broker.committing = self._committed
        self.chronicle = Chronicle(loop.time, self.facts.name) if tell else None

    def now_s(self) -> float:
        """Return the time that passed for the fleet: what was leapt over did not."""
        return self.loop.time() - self._leapt_s

    def now_ms(self) -> int:
        """Return the wall clock's time."""
        return self.loop.wall_ns() // 1_000_000

    def say(self, who: str, what: str) -> None:
        """Tell the chronicle, if anybody wants to know."""
        if self.chronicle is not None:
            self.chronicle.say(who, what)

    def flaw(self, what: str) -> None:
        """Note that something did not hold."""
        if what not in self.flaws:
            self.flaws.append(what)
            self.say("FLAW", what)

    def leap(self, to_s: float) -> None:
        """Let the loop's time jump."""
        self._leapt_s += max(to_s - self.loop.time(), 0.0)
        self.loop.leap(to_s)

    # ------------------------------------------------------------------------------------------------ workers

    def start(self) -> None:
        """Start one more worker, if there may be one more."""
        if len(self.members) >= WORKERS_MAX:
            return
        self._count += 1
        member = Member(f"worker {self._count}", Hearing(self.words, self.now_s, self.loop.wall_ns))
        told = partial(self._logged, member.name) if self.chronicle is not None else None
        worker = member.worker = self.performer.worker(
            self.loop, self.broker, partial(self._asked, member), seed=self.chance.getrandbits(32), members=self.groups,
            known=member.hearing, told=told,
        )  # fmt: skip
        worker.producer.append_s = self._append_s
        worker.producer.ack_s = self._ack_s
        worker.producer.refuses = self._refuses
        self.members.append(member)
        self.say(member.name, "starts")
        worker.start()

    def kill(self, member: Member) -> None:
        """Kill a worker: what it had queued for the broker may have got there or not; it hears of nothing more."""
        self.members.remove(member)
        self.gone.append(member)
        member.hearing.end()
        member.worker.producer.dead = lambda: self.chance.random() < 0.5  # noqa: PLR2004
        member.worker.halt()
        self.later(member.worker.kill())
        for intake in member.worker.intakes:
            source: Any = intake.source
            source.kill()

    def stop(self, member: Member) -> None:
        """Stop a worker gracefully."""
        self.members.remove(member)
        self.gone.append(member)
        self.later(member.worker.stop())

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on beside the rest."""
        task = self.loop.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _append_s(self) -> float:
        """How long an append takes; now and then long, while the broker elects or stalls."""
        if self.trouble and self.chance.random() < (0.5 if self.refused else 0.02):
            return self.chance.uniform(0.5, 4.0)
        return ACK_S

    def _ack_s(self) -> float:
        """How much longer its ack takes; now and then it is lost, and comes once the client has asked again."""
        if self.trouble and "lost_ack" in self.facts.faults and self.chance.random() < 0.05:  # noqa: PLR2004
            return self.chance.uniform(0.5, 5.0)
        return 0.0

    def _refuses(self, topic: str) -> object:
        """Say why a record is refused: of a topic that is in trouble half of them are, such as those too large."""
        if topic in self.refused and self.chance.random() < 0.5:  # noqa: PLR2004
            return f"{topic} does not take it"
        return None

    def watch(self) -> None:
        """Look at every worker and group: what stopped, what was late, what committed that must not."""
        for member in (*self.members, *self.gone):
            for error in member.worker.errors if member.worker.producer.dead is None else ():
                if not isinstance(error, weather.Refusal):
                    self.flaw(f"{member.name} stopped: {type(error).__name__}")
            if member.worker.errors and member in self.members:
                self.say(member.name, "stops: its producer cannot go on")
                self.kill(member)
                self.loop.call_later(REPLACED_S, self.start)
        for group in self.groups.values():
            if group.late:
                self.flaw("a worker did not let go in time")
            if any(source.refused for source in group.members):
                self.flaw("a worker committed what it had given up or lost")

    # ---------------------------------------------------------------------------------------------- what happens

    def publish(self, event: Published, record: tuple[bytes | None, bytes | None], *, copy: bool) -> None:
        """Note an event that is about to be appended, and append it."""
        if copy:
            self.facts.copies.append(event)
        else:
            self.facts.events[event.id] = event
        self.say("producer", f"event {event.number}{' again' if copy else ''}: {event.type} of {event.customer}, key "
                 f"{event.key}, value {event.level}, says {dict(event.flags) or 'nothing'}, at {event.place[0]}/"
                 f"{event.place[1]}@{event.offset}")  # fmt: skip
        self.broker.append(*event.place, *record, ())

    def _appended(self, record: Record) -> None:
        """Hear of every record: note what it accounts for, and what is remembered from when on."""
        if self.chronicle is not None and record.topic != _INPUT:
            self.chronicle.appended(record)
        if record.topic == self._outcomes:
            self.books.note(record)
        if record.topic != self._memory or record.value is None:
            return
        row = memory.decode(record.value)
        if row is None:
            self.flaw("wrote what nobody can read to the memory topic")
            return
        customer = (record.key or b"").decode().partition("\0")[0]
        entry = Remembered(self.now_s(), row.by, row.at_ms, self._owner((_INPUT, record.partition)))
        if row.key()[0] == "h":
            self.facts.happened[customer, row.name].append(entry)
        elif row.key()[0] == "c":
            self.facts.contacts[customer, row.name, row.mark].append(entry)

    def _committed(self, group: str, place: Place, offset: int) -> None:
        """Hear of every commit: all below it must be accounted for by now, whatever happens next."""
        if self.chronicle is not None:
            self.chronicle.committed(group, place, offset)
        if group == self._group and (what := self.books.missing(place, offset)):
            self.flaw(what)

    def _owner(self, place: Place) -> object:
        for member in self.members:
            source: Any = member.worker.intakes[0].source
            if source.owns(place):
                return member.worker
        return None

    def _asked(self, member: Member, request: Request) -> Reply:
        """Answer a request, and look at it."""
        self.requests += 1
        reply = self.weather.reply(request)
        self._tell(member, request, reply)
        if member.worker.producer.dead is not None:
            self.flaw(f"{member.name} sent a request after it was killed")
        self.promises.request(member.worker, request, weather.not_before_s(reply))
        copied = {each.id for each in self.facts.copies}  # a copy has a turn of its own, under the same ID
        for event_id, journey, step in weather.members(request):
            if event_id in copied:
                continue
            for what in self._order.asked(journey, step, event_id):
                self.flaw(f"{self.facts.name(event_id)} {journey}.{step}: {what}")
        if weather.taken(reply):
            self.taken.update(weather.deliveries(request))
        return reply

    def _tell(self, member: Member, request: Request, reply: Reply) -> None:
        if self.chronicle is None:
            return
        event = self.facts.name(request.headers.get("hookline-event-id", ""))
        what = f"{event} {request.journey}.{request.step}"
        if not request.step:
            members = (f"{self.facts.name(each)} {journey}.{step}" for each, journey, step in weather.members(request))
            what = f"a batch ({', '.join(members)})"
        self.say(member.name, f"asks {request.destination} for {what}: {weather.shown(reply)}")

    def _logged(self, name: str, event: str, fields: Mapping[str, object]) -> None:
        self.say(name, " ".join([event, *(f"{key}={given}" for key, given in fields.items())]))

    def erase(self, customer: str, partition: int) -> None:
        """Erase a customer, as `hookline erase` does: the marker first, then what is remembered."""
        known = self.words.at(customer, self.now_s())
        self.words.say(customer, replace(known, erased_ms=self.now_ms()))
        self.say("somebody", f"erases {customer}")
        self.broker.append(topics.memory(self._group), partition, record_key(customer), None, ())

    def hold(self, scope: str, name: str) -> int:
        """Note that something is paused; return its number."""
        self.facts.pauses.append(Pause(scope, name, self.now_s(), float("inf")))
        return len(self.facts.pauses) - 1

    def let_go(self, number: int) -> None:
        """Note that it is not any more."""
        pause = self.facts.pauses[number]
        self.facts.pauses[number] = Pause(pause.scope, pause.name, pause.since_s, self.now_s())

    # ------------------------------------------------------------------------------------------------- peace

    async def settle(self) -> None:
        """Wait until all is settled, over whatever has to be waited for."""
        until_s = self.loop.time() + QUIET_S
        while self.loop.time() < until_s:
            await asyncio.sleep(STEP_S)
            self.watch()
            workers = [member.worker for member in self.members]
            if not workers or any(worker.settlement.unsettled() for worker in workers):
                continue
            if not all(group.settled() for group in self.groups.values()):
                continue
            waiting = [worker.next_s() for worker in workers if worker.open()]
            if not waiting and not self._behind():
                await asyncio.sleep(COMMITTED_S)
                return
            due_s = min((due_s for due_s, _ in waiting), default=0.0)
            if 1.0 < due_s - self.loop.time() < QUIET_S and not any(parked for _, parked in waiting):
                self.leap(due_s)
        self.flaw("not everything was settled in the end")

    def _behind(self) -> bool:
        """Whether a record was posted to nobody yet, or is committed by nobody yet."""
        for role in self.groups:
            group = self._group if role == "input" else f"{self._group}.{role}"
            for place in self.groups[role].places:
                committed, _ = self.broker.committed.get((group, *place), (0, ""))
                if committed < self.broker.logs[place].last:
                    return True
        return False

    async def end(self) -> None:
        """End all workers, and ask whether everything came out."""
        for member in self.members:
            await member.worker.kill()
        await asyncio.sleep(0)
        for what in Closing(self.facts, self.promises, self.broker, self.books, self.taken).flaws():
            self.flaw(what)
