"""Looks whether what is remembered can be found, each customer's events on one partition: before a worker starts."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from pipeline.adapters.kafka.newest import newest
from pipeline.core import decode
from pipeline.core.keys import Sightings
from pipeline.errors import ConfigError
from pipeline.model import Event, Plan, Undecodable, value
from pipeline.ports import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.compile import Compiled
    from pipeline.config.models import Config
    from pipeline.errors import Problem
    from pipeline.model import Record, SchemaRef
    from pipeline.ports import Schemas

PARTITION_RECORDS: Final = 200
"""Newest records looked at of each partition."""
TOPIC_RECORDS: Final = 5_000
"""Most records looked at of one topic."""
LOOK_S: Final = 10.0
"""Bound on the look at one topic; what was not read by then is not looked at."""

REMEDY: Final = (
    "`rekey: true` in its entry of `events` has workers copy its events under their customers' IDs first; or have its "
    "producers key records by the customer's ID; without once, cancel_on, success, until and caps any key will do"
)


@value
class Sampled:
    """What a look at one input topic came to; nobody is named. `scattered`: customers are on several partitions."""

    topic: str
    records: int
    events: int
    customers: int
    scattered: bool

    @property
    def what(self) -> str:
        """Say what was found of scattered customers."""
        return f"among its newest {self.records:,} records are some of one customer on several partitions"


async def check(
    config: Config, compiled: Compiled, settings: Mapping[str, str], schemas: Schemas, log: Callable[..., None]
) -> None:
    """Refuse to start where a customer's events lie on several partitions. Raises ConfigError, which names no customer.

    Waits as `sample` does.
    """
    problems = [
        _problem(config, each) for each in await sample(compiled, settings, schemas, log) if each.scattered
    ]  # fmt: skip
    if problems:
        raise ConfigError(tuple(problems))


async def sample(
    compiled: Compiled, settings: Mapping[str, str], schemas: Schemas, log: Callable[..., None]
) -> tuple[Sampled, ...]:
    """Look at the newest records of each input that must be keyed by customer, and log what was looked at.

    Waits for at most LOOK_S a topic; returns nothing at once where nothing is remembered, or events are re-keyed. What
    cannot be read proves nothing.
    """
    found = []
    for topic in compiled.input_topics if compiled.remembers and not compiled.rekeyed else ():
        look = _Look(topic, compiled.plan, schemas)
        await look.take(settings)
        seen = look.seen
        log("info", "keys_sampled", topic=topic, records=look.records, events=seen.events, customers=seen.customers())
        found.append(Sampled(topic, look.records, seen.events, seen.customers(), scattered=seen.scattered()))
    return tuple(found)


def _problem(config: Config, found: Sampled) -> Problem:
    index = next(index for index, each in enumerate(config.events) if each.topic == found.topic)
    return config.problem(
        "hookline.yaml", ("events", index, "topic"),
        f"{found.topic} is not partitioned by customer: {found.what}, so that what is remembered of customers would be "
        "missed", REMEDY,
    )  # fmt: skip


class _Look:
    """One look at one topic. Records are let go of as they are read; only who was seen where is kept."""

    def __init__(
        self, topic: str, planner: Callable[[str, object], Plan | Undecodable | None], schemas: Schemas
    ) -> None:
        self._topic = topic
        self._planner = planner
        self._schemas = schemas
        self._plans: dict[SchemaRef, Plan | None] = {}
        self._until_s = time.monotonic() + LOOK_S
        self.records = 0
        self.seen = Sightings()

    async def take(self, settings: Mapping[str, str]) -> None:
        """Read and note what there is; blocks no loop but for decoding a batch."""
        batches = newest(
            settings, self._topic, partition_records=PARTITION_RECORDS, records_max=TOPIC_RECORDS, within_s=LOOK_S
        )
        try:
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                self.records += len(batch)
                for record in batch:
                    await self._note(record)
        finally:
            await asyncio.to_thread(batches.close)

    async def _note(self, record: Record) -> None:
        if record.value is None:
            return
        frame = decode.locate(record.value, record.headers)
        if isinstance(frame, Undecodable):
            return
        ref, start = frame
        if ref not in self._plans:
            self._plans[ref] = await self._plan(ref)
        plan = self._plans[ref]
        datum = plan.read(record.value, start) if plan is not None else None
        if plan is None or datum is None or isinstance(datum, Undecodable):
            return
        event = plan.envelope(datum, record)
        if isinstance(event, Event):
            self.seen.saw(event.customer_id, record.partition, record.timestamp_ms)

    async def _plan(self, ref: SchemaRef) -> Plan | None:
        """Return how records of a schema are read; None for those that nobody knows or tells in time."""
        left_s = self._until_s - time.monotonic()
        if left_s <= 0:
            return None
        try:
            async with asyncio.timeout(left_s):
                found = await self._schemas.fetch(ref)
        except TimeoutError:
            return None
        plan = self._planner(self._topic, found.schema) if isinstance(found, Found) else None
        return plan if isinstance(plan, Plan) else None
