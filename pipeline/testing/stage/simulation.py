"""Simulates a fleet under faults: production `run/` and `core/`, a broker and systems in memory, chance from one seed.

What must hold whatever happens (docs/guarantees.md) is checked as it happens and at the end. The same seed gives the
same run, so what a seed finds can be looked at as often as is wanted.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter, defaultdict
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import topics
from pipeline.core.account import Account
from pipeline.core.outcome import LedgerRow, OutcomeRow, decode
from pipeline.model import Answer, Failure, FailureClass, Outcome, value
from pipeline.testing.stage.broker import ACK_S, StageBroker
from pipeline.testing.stage.endpoints import Reply
from pipeline.testing.stage.group import StageGroup
from pipeline.testing.stage.order import Order
from pipeline.testing.stage.perform import Events
from pipeline.testing.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from pipeline.config.models import Config
    from pipeline.testing.stage.endpoints import Request
    from pipeline.testing.stage.perform import Performer
    from pipeline.testing.stage.worker import StageWorker

START_MS: Final = 1_795_428_000_000
WORKERS_MAX: Final = 3
PARTITIONS: Final = 4
EVENTS_MAX: Final = 60
TROUBLE_S: Final = 60.0
"""How long events come and faults happen; after that everything is well."""
QUIET_S: Final = 7_200.0
"""Within this all must be settled afterwards: the journeys' `max_age` and some."""
STEP_S: Final = 0.5
_NAMESPACE: Final = uuid.UUID("4a0b6d2e-93a7-5b0e-a4f7-7d0c6a7d5b11")
_UNREACHED: Final = Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused")


SAMPLES: Final[list[dict[str, Any]]] = [
    {"type": "cart.abandoned", "customer": {"id": "c-1", "email": "ann@example.org"},
     "properties": {"cart_id": "k-1", "cart_value": "29.00", "items": 2}},
    {"type": "cart.abandoned", "customer": {"id": "c-2", "email": "bob@example.org"},
     "properties": {"cart_id": "k-2", "cart_value": "9.00", "items": 1}},
    {"type": "purchase.completed", "customer": {"id": "c-1", "email": "ann@example.org"},
     "properties": {"order_id": "o-1", "order_value": "29.00"}},
    {"type": "signup.completed", "customer": {"id": "c-3", "email": None}, "properties": {"plan": "free"}},
    {"type": "page.viewed", "customer": {"id": "c-3"}, "properties": {}},
]  # fmt: skip
"""Events of the demo's configuration: with and without a request, with and without a journey."""


@value
class Found:
    """What one seed came to: flaws, and figures of the run."""

    seed: int
    flaws: tuple[str, ...]
    simulated_s: float
    events: int
    requests: int
    repeats: int
    faults: Mapping[str, int]


class Simulation:
    """A configuration compiled once, for any number of seeds."""

    def __init__(self, config: Config, readers: Mapping[str, Any], samples: list[dict[str, Any]]) -> None:
        """`samples` are plain events; each run makes its own of them. Raises ConfigError.

        With odd seeds all journeys keep order.
        """
        self.events = Events(config, readers, config.journeys)
        self.performer: Performer = self.events.performer()
        self._ordered = Events(_ordered(config), readers, config.journeys).performer()
        self.samples = samples

    def run(self, seed: int) -> Found:
        """Run one seed to its end."""
        loop = VirtualLoop(START_MS * 1_000_000)
        try:
            return loop.run_until_complete(self._played(loop, seed))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def _played(self, loop: VirtualLoop, seed: int) -> Found:
        return await _World(self, self._ordered if seed % 2 else self.performer, loop, seed).play()


def _ordered(config: Config) -> Config:
    """Return a configuration whose journeys all keep order."""
    journeys = {name: each.model_copy(update={"ordering": "key"}) for name, each in config.journeys.items()}
    return config.model_copy(update={"journeys": journeys})


class _World:
    """One run. Owner of the workers; `flaws` is what did not hold."""

    def __init__(self, simulation: Simulation, performer: Performer, loop: VirtualLoop, seed: int) -> None:
        self.flaws: list[str] = []
        self._simulation = simulation
        self._performer = performer
        self._loop = loop
        self._seed = seed
        self._chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        config = performer.config
        self._group = config.group
        self._outcomes = topics.outcomes(config.group)
        roles = {"input": performer.input_topics, "retry": topics.retry_topics(config)}
        if logs := topics.logs(config):
            roles["ordered"] = tuple(logs.values())
        own = (*(topic for each in roles.values() for topic in each), self._outcomes)
        self._broker = StageBroker(loop.wall_ns, dict.fromkeys(own, PARTITIONS))
        self._groups = {role: StageGroup(self._broker, dict.fromkeys(each, PARTITIONS)) for role, each in roles.items()}
        self._order = Order(config, self._broker)
        self._workers: list[StageWorker] = []
        self._gone: list[StageWorker] = []
        self._faults: Counter[str] = Counter()
        self._ending: set[asyncio.Task[None]] = set()
        self._trouble = True
        self._sent = 0
        self._ids: dict[tuple[str, str, str], set[str]] = defaultdict(set)  # delivery IDs by event, journey, step
        self._taken: Counter[str] = Counter()  # answers 2xx by delivery ID
        self._consented: dict[str, bool] = {}

    async def play(self) -> Found:
        """Let events and faults come, then peace; check what is left."""
        self._loop.set_exception_handler(self._broken)
        for _ in range(self._chance.randint(1, WORKERS_MAX)):
            self._start()
        await self._stir()
        self._trouble = False
        if not self._workers:
            self._start()
        await self._settle()
        await self._end()
        requests = sum(len(worker.requests) for worker in (*self._workers, *self._gone))
        repeats = sum(count - 1 for count in self._taken.values() if count > 1)
        self._judge(repeats)
        return Found(
            self._seed, tuple(dict.fromkeys(self.flaws)), self._loop.time(), self._sent, requests, repeats,
            dict(self._faults),
        )  # fmt: skip

    def _broken(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take an exception in a callback for what it is to a worker: fatal."""
        self.flaws.append(f"a callback failed: {type(context.get('exception')).__name__}")

    # ----------------------------------------------------------------------------------------------- trouble

    async def _stir(self) -> None:
        chance, left = self._chance, self._chance.randint(EVENTS_MAX // 4, EVENTS_MAX)
        kinds = (self._crash, self._stop, self._start, self._rebalance, self._zombie, self._again, self._jump)
        faults = chance.sample(kinds, chance.randint(1, len(kinds)))  # with all of them each hides what others break
        while self._loop.time() < TROUBLE_S or left:
            await asyncio.sleep(chance.expovariate(1.0))
            for _ in range(min(left, chance.choice((0, 1, 1, 2, 5)))):
                self._publish()
                left -= 1
            if chance.random() < 0.15:  # noqa: PLR2004 - a fault every seven seconds or so
                fault = chance.choice(faults)
                self._faults[fault.__name__.strip("_")] += 1
                fault()
            self._watch()

    def _publish(self) -> None:
        sample = self._chance.choice(self._simulation.samples)
        consent = self._chance.random() < 0.7  # noqa: PLR2004
        id_ = str(uuid.uuid5(_NAMESPACE, f"{self._seed}/{self._sent}"))
        time_ms = self._loop.wall_ns() // 1_000_000
        sent = self._simulation.events.record(
            {**sample, "id": id_, "time": time_ms, "consent": {"marketing": "granted"} if consent else {}}
        )
        self._consented[id_] = consent
        self._broker.append(sent.topic, self._chance.randrange(PARTITIONS), sent.key, sent.content, sent.headers)
        self._sent += 1

    def _start(self) -> None:
        if len(self._workers) >= WORKERS_MAX:
            return
        worker = self._performer.worker(
            self._loop, self._broker, self._reply, seed=self._chance.getrandbits(32), members=self._groups
        )
        worker.producer.ack_s = self._ack_s
        self._workers.append(worker)
        worker.start()

    def _ack_s(self) -> float:
        """How long an append takes; now and then long, while the broker elects or stalls."""
        if self._trouble and self._chance.random() < 0.02:  # noqa: PLR2004
            return self._chance.uniform(0.5, 4.0)
        return ACK_S

    def _crash(self) -> None:
        """Kill a worker: what it had queued for the broker may have got there or not; it hears of nothing more."""
        if not self._workers:
            return
        worker = self._workers.pop(self._chance.randrange(len(self._workers)))
        self._gone.append(worker)
        worker.producer.dead = lambda: self._chance.random() < 0.5  # noqa: PLR2004
        self._later(worker.kill())
        for intake in worker.intakes:
            source: Any = intake.source
            source.kill()

    def _later(self, ending: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _stop(self) -> None:
        """Stop a worker gracefully."""
        if not self._workers:
            return
        worker = self._workers.pop(self._chance.randrange(len(self._workers)))
        self._gone.append(worker)
        self._later(worker.stop())

    def _rebalance(self) -> None:
        self._groups[self._chance.choice(tuple(self._groups))].balance(self._chance.randrange(WORKERS_MAX))

    def _zombie(self) -> None:
        """Take a worker's partitions away behind its back."""
        group = self._groups[self._chance.choice(tuple(self._groups))]
        if group.members:
            group.expel(self._chance.choice(group.members))

    def _again(self) -> None:
        """Post records that were posted already."""
        for group in self._groups.values():
            for source in group.members:
                for place in tuple(source.positions):
                    source.again(place, self._chance.randint(1, 5))

    def _jump(self) -> None:
        self._loop.leap(self._loop.time() + self._chance.uniform(1.0, 30.0))

    def _reply(self, request: Request) -> Reply:
        """Answer as systems in trouble do, later all well; look at every request on the way."""
        event_id = request.headers["hookline-event-id"]
        self._ids[event_id, request.journey, request.step].add(request.headers["webhook-id"])
        self.flaws += self._order.asked(request.journey, request.step, event_id)
        config = self._performer.config
        journey = config.journeys[request.journey]
        step = next(each for each in journey.steps if each.name == request.step)
        if journey.basis_of(step) == "consent" and not self._consented[event_id]:
            self.flaws.append("sent without consent")
        answer = self._answer()
        if isinstance(answer.answer, Answer) and answer.answer.status < 300:  # noqa: PLR2004 - it was taken
            self._taken[request.headers["webhook-id"]] += 1
        return answer

    def _answer(self) -> Reply:
        after_s = self._chance.uniform(0.001, 0.1)
        if not self._trouble or self._chance.random() < 0.75:  # noqa: PLR2004
            return Reply(Answer(204), after_s)
        kinds: tuple[Answer | Failure | None, ...] = (
            Answer(503), Answer(500), Answer(429, "2"), Answer(400), Answer(404), Answer(401), _UNREACHED, None
        )  # fmt: skip
        return Reply(self._chance.choice(kinds), self._chance.choice((after_s, self._chance.uniform(0.1, 3.0))))

    # ------------------------------------------------------------------------------------------------- peace

    async def _settle(self) -> None:
        """Wait until all is settled, over whatever has to be waited for."""
        until_s = self._loop.time() + QUIET_S
        while self._loop.time() < until_s:
            await asyncio.sleep(STEP_S)
            self._watch()
            if any(worker.settlement.unsettled() for worker in self._workers):
                continue
            if not all(group.settled() for group in self._groups.values()):
                continue
            waiting = [worker.next_s() for worker in self._workers if worker.open()]
            if not waiting and not self._behind():
                await asyncio.sleep(2.0)
                return
            due_s = min((due_s for due_s, _ in waiting), default=0.0)
            if isfinite(due_s) and due_s - self._loop.time() > 1.0 and not any(parked for _, parked in waiting):
                self._loop.leap(due_s)
        self.flaws.append("never settled")

    def _behind(self) -> bool:
        """Whether a record was posted to nobody yet, or is committed by nobody yet."""
        for role in self._groups:
            group = self._group if role == "input" else f"{self._group}.{role}"
            for topic, partition in self._groups[role].places:
                committed, _ = self._broker.committed.get((group, topic, partition), (0, ""))
                if committed < self._broker.logs[topic, partition].end:
                    return True
        return False

    async def _end(self) -> None:
        for worker in self._workers:
            await worker.kill()
        await asyncio.sleep(0)

    # ---------------------------------------------------------------------------------------------- checking

    def _watch(self) -> None:
        for worker in (*self._workers, *self._gone):
            self.flaws += (f"a worker stopped: {type(error).__name__}" for error in worker.errors)
        for group in self._groups.values():
            if group.late:
                self.flaws.append("a worker did not let go in time")
            if any(source.refused for source in group.members):
                self.flaws.append("committed what it had given up or lost")

    def _judge(self, repeats: int) -> None:
        """Balance the account as `hookline account` does, and ask what else must hold."""
        account: Any = Account()  # its rows are protocols that frozen values keep but for the type checker
        kinds: dict[tuple[str, int, int, str], set[Outcome]] = defaultdict(set)
        for record in self._broker.of(self._outcomes):
            row = decode(record.value or b"")
            if isinstance(row, OutcomeRow):
                account.outcome(row)
                if row.outcome is not Outcome.RETRYING:
                    kinds[row.topic, row.partition, row.offset, row.delivery_id].add(row.outcome)
            elif isinstance(row, LedgerRow):
                account.ledger(row)
        places = self._groups["input"].places
        committed = {place: self._broker.committed.get((self._group, *place), (0, ""))[0] for place in places}
        now_ms = self._loop.wall_ns() // 1_000_000
        report = account.report(committed, dict.fromkeys(places, 0), now_ms, 0, now_ms)
        if report.missing_count:
            self.flaws.append(f"{report.missing_count} committed positions are not accounted for")
        if report.waiting:
            self.flaws.append(f"{report.waiting} deliveries have no final outcome")
        if report.positions != self._sent:
            self.flaws.append(f"{self._sent - report.positions} events were never committed")
        if any(len(ids) > 1 for ids in self._ids.values()):
            self.flaws.append("a delivery had two IDs")
        if repeats and not self._faults.keys() & {"crash", "zombie", "jump"}:
            self.flaws.append("a delivery was taken twice, and nothing had crashed")
