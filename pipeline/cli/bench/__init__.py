"""`hookline bench`: measures one worker process on a prepared backlog, and prints the figures beside their targets."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen
from pipeline.cli.bench import figures
from pipeline.cli.bench.beside import Beside

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.cli.bench.figures import Round, Scenario, Target

BOOTSTRAP: Final = "KAFKA_BOOTSTRAP"
EVENTS: Final = 200_000
"""Fewer, and a Python worker's start-up, imports alone a second, weighs on what is left."""
EVENTS_MIN: Final = 1_000
ROUNDS: Final = 3
STEPS: Final = 50_000
"""Of the little piece of Python that is timed: some 20 ms."""
NOTE: Final = (
    "CPU is user and system time of the whole worker process, its start left out. Broker, receivers, worker and bench "
    "share the machine's cores, so that wall-clock rates say less than CPU time; figures are medians of the rounds."
)
STARTS_KAFKA: Final = Path(__file__).resolve().parents[3] / "tests" / "bench" / "run.py"
"""There in a checkout, where it starts a real Kafka for a bench that names none."""
PARTS: Final = ("aiohttp", "confluent-kafka", "fastavro", "cel-expr-python", "orjson", "opentelemetry-sdk", "uvloop")
"""Packages whose version bears on the figures."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "bench",
        help="measure a worker: deliveries per CPU-second and second, memory",
        description="Measure one worker process, everything switched on, on a backlog of events it makes in Kafka, "
        "against a receiver of its own: A with a receiver that answers at once and 256 requests in flight, B with one "
        "that takes 100 ms and 1,000 in flight. Figures are printed beside their targets and never judged: the exit "
        "code is 0. In a checkout, peers that do the same work are built and run in turn on the same backlog: Go by "
        "hand, Parallel Consumer, FastStream, and a plain loop; one whose tools are missing is left out, and said so. "
        "Its topics are deleted again.",
    )
    parser.add_argument(
        "--bootstrap", metavar="HOST:PORT", default=os.environ.get(BOOTSTRAP, ""),
        help=f"a real Kafka, without security (default: {BOOTSTRAP} of the environment; in a checkout one is started)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one round of A, and the two peers with targets only")
    parser.add_argument("--no-peers", action="store_true", help="measure no peers")
    parser.add_argument(
        "--rounds", type=options.whole(1), metavar="N", help=f"rounds of each scenario (default: {ROUNDS})"
    )
    parser.add_argument(
        "--events", type=options.whole(EVENTS_MIN), metavar="N", help=f"events in the backlog (default: {EVENTS:,})"
    )
    parser.add_argument("--latency", type=options.whole(0), metavar="MS", help="one scenario: the receiver's delay")
    parser.add_argument("--in-flight", type=options.whole(1), metavar="N", help="one scenario: requests in flight")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=execute)


def scenarios(latency_ms: int | None, in_flight: int | None, *, quick: bool = False) -> tuple[Scenario, ...]:
    """Return what to measure: A and B (A if it is to be quick), or the one that was asked for."""
    if latency_ms is None and in_flight is None:
        return (figures.FAST,) if quick else (figures.FAST, figures.SLOW)
    like = figures.SLOW if latency_ms else figures.FAST
    return (figures.Scenario("own", latency_ms or 0, in_flight or like.in_flight),)


def execute(args: argparse.Namespace) -> int:
    """Measure and print. Exit 0 however fast it was, 1 when it could not be measured, 2 without a broker."""
    if not args.bootstrap and STARTS_KAFKA.is_file():
        return _with_kafka(args)
    if not args.bootstrap:
        raise options.refuse(
            "--bootstrap",
            f"bench needs a real Kafka: name one here or in {BOOTSTRAP} (the embedded one of the demo drops the oldest "
            "records of so large a backlog; in a checkout one is started)",
        )
    if not Path("/proc/self/status").exists():
        raise options.refuse(
            "bench", "reads a process's CPU time and memory from /proc, which this system does not have"
        )
    events = args.events or EVENTS
    rounds = args.rounds or (1 if args.quick else ROUNDS)
    with _progress() as show:
        beside = Beside(quick=args.quick, wanted=not args.no_peers, show=show)
        wanted = scenarios(args.latency, args.in_flight, quick=args.quick)
        measured, compared = _measure(args.bootstrap, events, rounds, wanted, beside, show)
    if args.json:
        print(
            json.dumps(_document(measured, events) | beside.document(compared))
        )  # one line: whoever reads it takes the last one
    else:
        _print(measured, events, rounds)
        beside.print(compared)
    return 0


def _with_kafka(args: argparse.Namespace) -> int:
    """Have the checkout start a Kafka and call us again; it is no part of the package."""
    asked = {"--rounds": args.rounds, "--events": args.events, "--latency": args.latency, "--in-flight": args.in_flight}
    argv = [text for name, number in asked.items() if number is not None for text in (name, str(number))]
    argv += [name for name, on in (("--quick", args.quick), ("--no-peers", args.no_peers), ("--json", args.json)) if on]
    return subprocess.call([sys.executable, "-m", "tests.bench.run", *argv], cwd=STARTS_KAFKA.parents[2])  # noqa: S603


def _measure(
    bootstrap: str,
    events: int,
    rounds: int,
    wanted: Sequence[Scenario],
    beside: Beside,
    show: Callable[[str, int, int], None],
) -> tuple[dict[str, tuple[Scenario, list[Round]]], dict[str, list[Round]]]:
    """Measure in turn; return our rounds, and the same as peers are measured."""
    from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415 - keep `hookline --help` fast
    from pipeline.cli.bench import scene  # noqa: PLC0415
    from pipeline.cli.bench.measure import Bench  # noqa: PLC0415

    admin = Admin({"bootstrap.servers": bootstrap})
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    measured: dict[str, tuple[Scenario, list[Round]]] = {each.name: (each, []) for each in wanted}
    with tempfile.TemporaryDirectory(prefix="hookline-bench-") as folder:
        bench = Bench(bootstrap, topic, events, Path(folder), admin, beside.receiver)
        try:
            admin.create(topic, scene.PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
            scene.fill(bootstrap, topic, events, lambda done, of: show("publishing the backlog", done, of))
            # In turn, so that what else the machine does falls on all of them.
            for number in range(rounds):
                for scenario, found in measured.values():
                    what = f"{scenario.name}, round {number + 1} of {rounds}"
                    found.append(bench.round(scenario, lambda done, of, what=what: show(what, done, of)))  # type: ignore[misc]
                    beside.round(scenario, bootstrap, topic, events, Path(folder), what)
        finally:
            admin.delete([name for name in admin.partitions() if name == topic or name.startswith(f"{topic}.")])
    return measured, bench.compared


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show what is being done: a bar on a terminal, one line a stage elsewhere."""
    if not sys.stderr.isatty():
        said: set[str] = set()

        def say(what: str, _done: int, _of: int) -> None:
            if what not in said:
                said.add(what)
                print(what, file=sys.stderr, flush=True)

        yield say
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


# ------------------------------------------------------------------------------------------------------------ printing


def machine() -> dict[str, str]:
    """Return what the figures were measured on: processor, cores, versions, date."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "load": f"{os.getloadavg()[0]:.1f} at the end",
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_step": f"{_step_ns()} ns",
        "hookline": version("hookline"),
        **{name: version(name) for name in PARTS},
    }


def _step_ns() -> int:
    """Return how long a fixed little piece of Python takes here, in ns of CPU: the best of a few.

    By it figures of two machines, two days or two builds of Python can be set side by side: one built without profiles
    of real work takes longer.
    """
    return min(_steps(STEPS) for _ in range(7)) // STEPS


def _steps(number: int) -> int:
    began_ns = time.process_time_ns()
    seen: dict[int, bytes] = {}
    for at in range(number):
        seen[at & 255] = f"{at:x}-{len(seen)}".encode()
    return time.process_time_ns() - began_ns


def goals(measured: dict[str, tuple[Scenario, list[Round]]]) -> list[tuple[Target, str, float]]:
    """Return each target with the scenario it is of and the figure measured; memory is the worst round of all."""
    found: list[tuple[Target, str, float]] = []
    if figures.FAST.name in measured:
        found.append((figures.PER_CPU_S, "A", figures.middle(measured["A"][1], "per_cpu_s")))
    if figures.SLOW.name in measured:
        found.append((figures.PER_S, "B", figures.middle(measured["B"][1], "per_s")))
    found.append((figures.PEAK_MB, "all", max(each.peak_mb for _, rounds in measured.values() for each in rounds)))
    return found


def _print(measured: dict[str, tuple[Scenario, list[Round]]], events: int, rounds: int) -> None:
    console = screen.console()
    numbers = ("deliveries/CPU-s", "CPU µs each", "deliveries/s", "CPU %", "peak MB")
    table = screen.table("scenario", *numbers, "deliveries/CPU-s, all rounds", right=numbers)
    for scenario, found in measured.values():
        table.add_row(
            f"{scenario.name}: {scenario.latency_ms} ms receiver, {scenario.in_flight:,} in flight",
            f"{figures.middle(found, 'per_cpu_s'):,.0f}", f"{figures.middle(found, 'cpu_us'):.1f}",
            f"{figures.middle(found, 'per_s'):,.0f}",
            f"{100 * figures.middle(found, 'cpu_s') / figures.middle(found, 'seconds'):.0f}",
            f"{max(each.peak_mb for each in found):.0f}", figures.spread(found, "per_cpu_s"),
        )  # fmt: skip
    console.print(f"One worker, {events:,} events in 8 partitions, {rounds} round{'s' if rounds > 1 else ''}\n")
    console.print(table)
    aims = screen.table("target", "scenario", "wanted", "measured", "", right=("wanted", "measured"))
    for target, where, found_ in goals(measured):
        aims.add_row(
            target.what, where, f"{'at most' if target.most else 'at least'} {target.wanted:,.0f} {target.unit}",
            f"{found_:,.0f} {target.unit}", figures.against(target, found_),
        )  # fmt: skip
    console.print(aims)
    for name, text in machine().items():
        console.print(f"{name:16} {text}")
    console.print(f"\n{NOTE}")


def _document(measured: dict[str, tuple[Scenario, list[Round]]], events: int) -> dict[str, Any]:
    fields = ("deliveries", "requests", "seconds", "cpu_s", "peak_mb", "per_s", "per_cpu_s", "cpu_us")
    return {
        "at": int(time.time()),
        "machine": machine(),
        "events": events,
        "scenarios": [
            {
                "scenario": scenario.name,
                "latency_ms": scenario.latency_ms,
                "in_flight": scenario.in_flight,
                "rounds": [{name: getattr(each, name) for name in fields} for each in rounds],
            }
            for scenario, rounds in measured.values()
        ],
        "targets": [
            {"what": target.what, "unit": target.unit, "scenario": where, "wanted": target.wanted, "measured": figure}
            for target, where, figure in goals(measured)
        ],
        "note": NOTE,
    }
