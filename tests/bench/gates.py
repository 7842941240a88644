"""Measures what routing and gates cost a delivery, with many journeys loaded of which two match. Figures, no judgement.

    python -m tests.bench.gates [--journeys 200] [--rounds 7]

Everything is compiled from a configuration; each event is asked of as run/process and run/follow do, the tables of a
real file through adapters/tables, what is remembered through run/memory, whose producer alone goes nowhere. All cases
are measured in the same rounds, taking turns. CPU is this process's.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.adapters.schemas import KnownSchemas
from pipeline.adapters.tables import FileTables, Folder
from pipeline.adapters.tables.store import Store
from pipeline.cli.bench import scene
from pipeline.cli.bench.figures import Scenario
from pipeline.config.compile import compile as compile_config
from pipeline.config.load import load
from pipeline.config.secrets import Secrets
from pipeline.core import decode, gates, memory, routes
from pipeline.core.tables import CONSENT
from pipeline.model import NOTHING, Contact, Delivery, Event, Flight, Plan, Record, Run, SkipReason, Trace
from pipeline.run.asking import Asking
from pipeline.run.memory import Recall
from pipeline.testing.follower import FakeFollower

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENTS: Final = 2_000
A_TURN: Final = 128
"""Records taken up before the loop has its turn, as in run/consume."""
A_TYPE: Final = 10
MATCH: Final = 2
NOW_MS: Final = int(datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp() * 1_000)
"""Noon, so that no quiet hour holds."""
WITHIN_MS: Final = 86_400_000

TEXT: Final = 'event.properties.plan == "plan {}"'
TEXT_LAST: Final = f'event.properties.campaign != "" && {TEXT}'
THRESHOLD: Final = "event.properties.value >= {}.5"
SHARED: Final = f'event.properties.campaign == "spring" && {THRESHOLD}'
FOR_CEL: Final = "event.properties.value * 2.0 >= {}.5"
ONCE: Final = {"trigger": {"once": {"key": "${event.id}", "per": "30d"}}}
CANCEL_ON: Final = {"cancel_on": [{"event": "signup.withdrawn"}]}
CAPS: Final = {"caps": [{"category": "promotional", "channel": "email", "max": 50, "per": "7d"}]}
QUIET: Final = {
    "quiet_hours": [
        {
            "channels": ["email"], "from": "21:00", "to": "08:00", "zone": "${event.customer.timezone}",
            "zone_absent": "Europe/Berlin", "then": "hold",
        }
    ]
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A configuration and what is known of its customers.

    `when` is the condition of each journey but the two that match, {} its number; `few`: those two alone are loaded.
    `journey` and `whole` are what each journey's file and hookline.yaml say besides. `told` says of whom the tables
    have a word on consent: of all who have events, or of others. `writes`: each contact is remembered.
    """

    name: str
    when: str = TEXT
    few: bool = False
    spread: bool = False
    journey: Mapping[str, Any] = field(default_factory=dict)
    whole: Mapping[str, Any] = field(default_factory=dict)
    told: str = ""
    writes: bool = True


CASES: Final = (
    Case("the two that match alone", few=True),
    Case("ten an event type, told apart by a text", spread=True),
    Case("all of one type, told apart by a text"),
    Case("the same, that text asked for last", TEXT_LAST),
    Case("thresholds of a number", THRESHOLD),
    Case("a text they share, then thresholds", SHARED),
    Case("conditions for CEL alone, ten an event type", FOR_CEL, spread=True),
    Case("conditions for CEL alone, all of one type", FOR_CEL),
    Case("tables: a word on each of 10,000 customers", told="all"),
    Case("tables: words on 1,000 others", told="others"),
    Case("memory: `once`, each run written", journey=ONCE),
    Case("memory: a cap", whole=CAPS, writes=False),
    Case("memory: a cap, each contact written", whole=CAPS),
    Case("quiet hours", whole=QUIET),
    Case(
        "all of these: the text asked for last, tables, `once`, `cancel_on`, a cap, quiet hours",
        TEXT_LAST,
        journey={**ONCE, **CANCEL_ON}, whole={**CAPS, **QUIET}, told="all",
    ),
)  # fmt: skip


def folder_of(folder: Path, case: Case, journeys: int) -> None:
    """Write a configuration with that many journeys; two of those of `signup.completed` match."""
    files: dict[str, Any] = scene.documents("g", "in", "nowhere:9", Scenario("", 0, 64), "http://127.0.0.1:9", "")
    del files["hookline.yaml"]["telemetry"]
    files["hookline.yaml"] |= case.whole
    first = files.pop("journeys/welcome.yaml")
    for number in range(MATCH if case.few else journeys):
        made = copy.deepcopy(first)
        made["journey"] = f"journey_{number}"
        for name, part in case.journey.items():
            made[name] = {**made[name], **part} if isinstance(part, dict) else part
        if number >= MATCH:
            made["trigger"]["when"] = case.when.format(number)
        if case.spread and number >= A_TYPE:
            made["trigger"]["events"] = [f"type.{number // A_TYPE}"]
        files[f"journeys/journey_{number}.yaml"] = made
    scene.write(folder, files)


class Nowhere:
    """A producer whose broker is never reached: what writing costs before it."""

    def produce(self, *_record: object) -> bool:
        """Take a record."""
        return True


class Asked:
    """Routing and gates of EVENTS events, by the plan of one configuration."""

    def __init__(self, folder: Path, case: Case) -> None:
        config = load(folder, "bench")
        secrets = Secrets(folder, scene.ENVIRON)
        schemas = KnownSchemas.of(config, secrets).reader_schemas()
        schema = schemas["hookline.LifecycleEvent"]
        compiled = compile_config(config, secrets, schemas)
        plan = compiled.plan("in", schema)
        assert isinstance(plan, Plan)
        self.plan, self._policy, self._remembers = plan, compiled.gates, bool(compiled.remembers)
        self._case = case
        self._tables: FileTables | None = None
        encode = decode.encode(schema)
        self.events: list[tuple[Event, Any, Flight]] = []
        for offset, each in enumerate(scene.events(EVENTS, NOW_MS)):
            each["properties"]["value"] = 1.0
            content = encode(each)
            record = Record("in", 0, offset, None, content, (), NOW_MS)
            datum = plan.read(content, 0)
            event = plan.envelope(datum, record)
            assert isinstance(event, Event)
            place = ("in", 0, offset, NOW_MS)
            self.events.append((event, datum, Flight(record, None, place, event, Trace("", "", False), 0)))

    async def start(self, stack: AsyncExitStack) -> None:
        """Write the file of the tables, if there are any, and open it."""
        if not self._case.told:
            return
        folder = Folder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        assert folder.lock()
        stack.callback(folder.unlock)
        store = Store(folder.fresh(), create=True)
        who = b"customer-%d" if self._case.told == "all" else b"other-%d"
        said = b'[["email",true,%d]]' % (NOW_MS - 1)
        number = scene.CUSTOMERS if self._case.told == "all" else 1_000
        store.apply([(who % each, CONSENT, b"", said) for each in range(number)], {("t", 0): 1})
        store.note(caught_up_ms=str(NOW_MS))
        folder.turn_to(store.path)
        store.close()
        self._tables = FileTables(folder, _noon, _silent)
        stack.callback(self._tables.close)
        self._tables.start()

    async def __call__(self) -> float:
        """Ask once about each event; return the CPU a delivery took, in µs, what holds its answers included."""
        async with AsyncExitStack() as stack:
            recall = await self._recall(stack) if self._remembers else None
            asking = Asking(self._policy, self._tables, recall)
            window = gates.Window()
            passed = 0
            started = time.process_time()
            for first in range(0, EVENTS, A_TURN):
                passed += self._turn(self.events[first : first + A_TURN], asking, recall, window)
                await asyncio.sleep(0)
            took_s = time.process_time() - started
        assert passed == MATCH * EVENTS, f"{passed} let through"
        return took_s / passed * 1e6

    def _turn(
        self, some: list[tuple[Event, Any, Flight]], asking: Asking, recall: Recall | None, window: gates.Window
    ) -> int:
        plan, policy, now_ms, passed = self.plan, self._policy, NOW_MS, 0
        for event, datum, flight in some:
            matched = routes.match(plan.routes[event.type], datum, now_ms)
            known = asking.known(event, flight) if asking.looks else NOTHING
            duplicate = SkipReason.DUPLICATE if window.repeats(event.id, flight.source) else None
            for route, refused in matched:
                refusal = refused or duplicate
                if refusal is None and (route.rollout < 1.0 or route.holdout):
                    refusal = gates.enter(route, event)
                if refusal is None and route.once is not None and recall is not None:
                    refusal = recall.enter(flight, route, datum, now_ms, _written)
                run = Run(flight, route, now_ms)
                if route.cancel_on:
                    run.cancels = gates.cancels(route, datum, now_ms)
                for step in route.steps:
                    delivery = Delivery(event.id + route.journey, step, run, b"", b"", now_ms + WITHIN_MS)
                    if step.quiet:
                        delivery.zones = gates.zones(step, datum, now_ms)
                    if not (refusal or gates.ask(delivery, event, datum, known, policy, now_ms)):
                        passed += 1
                        if step.caps and recall is not None and self._case.writes:
                            recall.contacted(_written, delivery, now_ms)
        return passed

    async def _recall(self, stack: AsyncExitStack) -> Recall:
        """Return a memory in which each customer was contacted twice before."""
        follower = FakeFollower(_noon)
        for number in range(scene.CUSTOMERS):
            for each in ("a", "b"):
                entry = Contact("promotional", "email", NOW_MS - WITHIN_MS, each)
                row = memory.row(entry, NOW_MS - WITHIN_MS, NOW_MS + WITHIN_MS)
                key = memory.record_key(f"customer-{number}", row.key())
                follower.put(Record("g.memory", 0, 0, key, memory.encode(row), (), NOW_MS))
        recall = Recall(follower, "g.memory", Nowhere(), _noon, _silent)  # type: ignore[arg-type]  # all that is asked of it
        stack.push_async_callback(recall.stop)
        recall.assigned(0)
        await recall.whole(0)
        return recall


def _noon() -> int:
    return NOW_MS * 1_000_000


def _silent(*_line: object, **_fields: object) -> None:
    """Log nothing."""


def _written(_flight: Flight) -> Any:
    return _silent


async def measured(journeys: int, rounds: int) -> dict[str, list[float]]:
    """Return what a delivery took in each round, by case."""
    took: dict[str, list[float]] = {case.name: [] for case in CASES}
    async with AsyncExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        asked: dict[str, Asked] = {}
        for number, case in enumerate(CASES):
            folder_of(root / str(number), case, journeys)
            asked[case.name] = Asked(root / str(number), case)
            await asked[case.name].start(stack)
        for _ in range(rounds):
            for name, ask in asked.items():
                took[name].append(await ask())
    return took


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journeys", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    for name, rounds in asyncio.run(measured(args.journeys, args.rounds)).items():
        print(f"{statistics.median(rounds):8.2f} µs a delivery  {min(rounds):8.2f} at best  {name}")  # noqa: T201


if __name__ == "__main__":
    main()
