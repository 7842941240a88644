"""Measures what routing and gates cost a delivery, with many journeys loaded of which two match. Figures, no judgement.

    python -m tests.bench.gates [--journeys 200] [--rounds 7]

Everything is compiled from a configuration; each event is asked of in the way run/process and run/follow do. The
journeys are either spread over event types, ten a type, or all of one. Beside them the two that match alone, in the
same rounds, taking turns. CPU is this process's.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from pipeline.adapters.schemas import KnownSchemas
from pipeline.cli.bench import scene
from pipeline.cli.bench.figures import Scenario
from pipeline.config.compile import compile as compile_config
from pipeline.config.load import load
from pipeline.config.secrets import Secrets
from pipeline.core import decode, gates, routes
from pipeline.model import (
    NOTHING,
    ConsentSaid,
    Delivery,
    Event,
    Flight,
    Known,
    Plan,
    Record,
    Run,
    Trace,
)

EVENTS: Final = 2_000
A_TYPE: Final = 10
MATCH: Final = 2
TABLE: Final = Known({"email": ConsentSaid("email", granted=True, at_ms=1)})


def folder_of(folder: Path, journeys: int, *, spread: bool) -> None:
    """Write a configuration with that many journeys; two of those of `signup.completed` match."""
    files: dict[str, Any] = scene.documents("g", "in", "nowhere:9", Scenario("", 0, 64), "http://127.0.0.1:9", "")
    del files["hookline.yaml"]["telemetry"]
    first = files.pop("journeys/welcome.yaml")
    for number in range(journeys):
        made = copy.deepcopy(first)
        made["journey"] = f"journey_{number}"
        if number >= MATCH:
            made["trigger"]["when"] = f'event.properties.plan == "plan {number}"'
        if spread and number >= A_TYPE:
            made["trigger"]["events"] = [f"type.{number // A_TYPE}"]
        files[f"journeys/journey_{number}.yaml"] = made
    scene.write(folder, files)


class Asked:
    """Routing and gates of EVENTS events, by the plan of one configuration."""

    def __init__(self, folder: Path, known: Known) -> None:
        config = load(folder, "bench")
        secrets = Secrets(folder, scene.ENVIRON)
        schemas = KnownSchemas.of(config, secrets).reader_schemas()
        schema = schemas["hookline.LifecycleEvent"]
        compiled = compile_config(config, secrets, schemas)
        plan = compiled.plan("in", schema)
        assert isinstance(plan, Plan)
        self._plan, self._policy, self._known = plan, compiled.gates, known
        self._now_ms = time.time_ns() // 1_000_000
        encode = decode.encode(schema)
        self._events: list[tuple[Event, Any, Flight]] = []
        for offset, each in enumerate(scene.events(EVENTS, self._now_ms)):
            content = encode(each)
            record = Record("in", 0, offset, None, content, (), self._now_ms)
            datum = plan.read(content, 0)
            event = plan.envelope(datum, record)
            assert isinstance(event, Event)
            place = ("in", 0, offset, self._now_ms)
            self._events.append((event, datum, Flight(record, None, place, event, Trace("", "", False), 0)))

    def __call__(self) -> float:
        """Ask once about each; return the CPU a delivery took, in µs, what holds its answers included."""
        window = gates.Window()
        plan, known, policy, now_ms = self._plan, self._known, self._policy, self._now_ms
        passed = 0
        started = time.process_time()
        for event, datum, flight in self._events:
            window.repeats(event.id, flight.source)
            for route, refusal in routes.match(plan.routes[event.type], datum, now_ms):
                run = Run(flight, route, now_ms)
                for step in route.steps:
                    delivery = Delivery("d", step, run, b"", b"", now_ms + 1_000)
                    passed += not (refusal or gates.ask(delivery, event, datum, known, policy, now_ms))
        took_s = time.process_time() - started
        assert passed, "nothing was let through"
        return took_s / passed * 1e6


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--journeys", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    scenes = {
        "the two that match alone": (MATCH, False, NOTHING),
        f"{args.journeys} journeys, {A_TYPE} a type": (args.journeys, True, NOTHING),
        f"{args.journeys} journeys, {A_TYPE} a type, a word in the table": (args.journeys, True, TABLE),
        f"{args.journeys} journeys, all of one type": (args.journeys, False, NOTHING),
    }
    with tempfile.TemporaryDirectory() as root:
        asked: dict[str, Asked] = {}
        for number, (name, (journeys, spread, known)) in enumerate(scenes.items()):
            folder = Path(root) / str(number)
            folder_of(folder, journeys, spread=spread)
            asked[name] = Asked(folder, known)
        took: dict[str, list[float]] = {name: [] for name in asked}
        for _ in range(args.rounds):
            for name, ask in asked.items():
                took[name].append(ask())
    for name, rounds in took.items():
        print(f"{statistics.median(rounds):8.2f} µs a delivery  {min(rounds):8.2f} at best  {name}")  # noqa: T201


if __name__ == "__main__":
    main()
