"""The measures, one function each: what is varied, and what comes of it. Order of `ALL` is the order of the page."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from pipeline.cli.bench.figures import FAST, Scenario, over
from tests.bench.measures.stage import Far, Files, streaming
from tests.bench.measures.stages import CLIENT, LOOP, POLL, Cpu, sampled
from tests.support.tls import self_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.cli.bench.figures import Round
    from tests.bench.measures.stage import Stage, Topic

BACKLOG = 60_000
"""Events of a measure that compares: large enough that seconds of CPU stand against a start of less than one."""
STREAM_S = 15.0
SETTLE_S = 3.0
"""How long a stream runs before it is measured: connections are open by then."""
KILL_RATE = 5_000
GROUP_AGREES_S = 60.0
PARTITIONS_MANY = 12
LARGE_BYTES = 10_000
SAMPLED = 400_000
"""Events of the measure that looks at stages: enough to be sampled for ten seconds after TIMED of them."""
WARM = 30_000
TIMED = 100_000
"""Deliveries whose CPU time is taken before samples are: taking them stops the process, and costs."""
MANY = (1, 10, 100, 1_000)
DEAD_URL = "http://127.0.0.1:9"
"""Nothing listens on the discard port: connections are refused."""


@dataclass(frozen=True)
class Row:
    """One line of a measure: the case, its figures by column, and the aim if there is one."""

    case: str
    figures: dict[str, str]
    aim: str = ""


@dataclass(frozen=True)
class Measure:
    """One table of the page. `run` yields its rows as they come."""

    name: str
    title: str
    run: Callable[[Stage], Iterator[Row]]


def speed(found: Sequence[Round]) -> dict[str, str]:
    """The columns of a measure of speed, medians of its rounds."""
    return {
        "deliveries/CPU-s": f"{median(each.per_cpu_s for each in found):,.0f}",
        "CPU µs each": f"{median(each.cpu_us for each in found):.1f}",
        "deliveries/s": f"{median(each.per_s for each in found):,.0f}",
        "peak MB": f"{max(each.peak_mb for each in found):.0f}",
    }


def work_off(
    stage: Stage, topic: Topic, scenario: Scenario, *, fail: int = 0, tls: bool = False, workers: int = 1,
    change: Callable[[Files], None] | None = None,
) -> Round:  # fmt: skip
    """Let a new fleet work the topic off; its start is left out of the figures."""
    pair = self_signed(stage.folder) if tls else None
    with Far(scenario.latency_ms, fail, pair and (pair.certificate, pair.key)) as far:

        def changed(files: Files) -> None:
            if pair:
                files["destinations/receiver.yaml"]["tls"] = {"ca": f"file:{pair.certificate}"}
            if change:
                change(files)

        with stage.fleet(topic, far.url, scenario, changed) as fleet:
            for _ in range(workers):
                fleet.start()
            samples = fleet.work_off()
            return over(samples, far.counts()["requests"], fleet.peak_mb())


def in_turn(stage: Stage, cases: dict[str, Callable[[], Round]]) -> Iterator[tuple[str, list[Round]]]:
    """Run the cases in turn, several rounds, so that what else the machine does falls on all of them."""
    found: dict[str, list[Round]] = {name: [] for name in cases}
    for _ in range(stage.rounds):
        for name, case in cases.items():
            found[name].append(case())
    yield from found.items()


# --------------------------------------------------------------------------------------------------------- situations


def stages(stage: Stage) -> Iterator[Row]:
    """Where the CPU of a delivery goes, in scenario A."""
    topic = stage.topic()
    topic.fill(SAMPLED)
    with Far() as far, stage.fleet(topic, far.url, FAST) as fleet:
        worker = fleet.start()
        fleet.until(lambda: far.counts()["requests"] >= WARM)
        before, first = Cpu.of(worker.pid), far.counts()["requests"]
        fleet.until(lambda: far.counts()["requests"] >= first + TIMED)
        used, deliveries = Cpu.of(worker.pid).since(before), far.counts()["requests"] - first
        samples = sampled(worker.pid, stage.folder)
        fleet.work_off()
    whole_s = sum(used.threads.values())

    def row(name: str, seconds: float) -> Row:
        return Row(
            name, {"CPU µs a delivery": f"{seconds / deliveries * 1e6:.1f}", "share": f"{seconds / whole_s:.0%}"}
        )

    for name, number in samples.most_common():
        yield row(name, used.threads[LOOP] * number / samples.total())
    for name in (POLL, CLIENT):
        yield row(name, used.threads[name])
    yield row("all", whole_s)
    yield row("of it in the kernel", used.kernel_s)


def latencies(stage: Stage) -> Iterator[Row]:
    """Receivers that take 0, 10 and 100 ms."""
    topic = stage.topic()
    topic.fill(BACKLOG)
    scenarios = [Scenario("r0", 0, 256), Scenario("r10", 10, 256), Scenario("r100", 100, 1_000)]
    cases = {
        f"{each.latency_ms} ms, {each.in_flight:,} in flight": lambda each=each: work_off(stage, topic, each)  # type: ignore[misc]
        for each in scenarios
    }
    for name, found in in_turn(stage, cases):
        yield Row(name, speed(found))


def failures(stage: Stage) -> Iterator[Row]:
    """Deliveries whose first attempt is answered with 503."""
    topic = stage.topic()
    topic.fill(BACKLOG)
    cases = {f"{share}%": lambda share=share: work_off(stage, topic, FAST, fail=share) for share in (0, 5)}  # type: ignore[misc]
    # Half of all attempts failing would open the breaker, which is another measure: here the bare retries.
    cases["50%"] = lambda: work_off(stage, topic, FAST, fail=50, change=_no_breaker)
    for name, found in in_turn(stage, cases):
        yield Row(name, speed(found))


def _no_breaker(files: Files) -> None:
    files["destinations/receiver.yaml"]["breaker"] = {"failures": "100%"}


def processes(stage: Stage) -> Iterator[Row]:
    """One and two worker processes on one backlog."""
    cores = sorted(os.sched_getaffinity(0))
    topic = stage.topic()
    topic.fill(2 * BACKLOG)
    cases = {str(each): lambda each=each: work_off(stage, topic, FAST, workers=each) for each in (1, 2)}  # type: ignore[misc]
    one: list[Round] = []
    for name, found in in_turn(stage, cases):
        one = one or found
        cost = median(mine.cpu_us / theirs.cpu_us for mine, theirs in zip(found, one, strict=True))
        gain = median(mine.per_s / theirs.per_s for mine, theirs in zip(found, one, strict=True))
        more = {"throughput": f"{gain:.2f} times", "CPU a delivery": f"{cost:.2f} times"}
        aim = "" if name == "1" else f"1.8 times with cores of their own; here {len(cores)} for everything"
        yield Row(name, speed(found) | more, aim)


def triggers(stage: Stage) -> Iterator[Row]:
    """From publishing an event to its request at a receiver that answers at once."""
    for per_s in (100, 1_000, 5_000):
        waits = _triggered(stage, per_s)
        yield Row(f"{per_s:,} events/s", waits, "p50 5 ms, p99 20 ms" if per_s == 1_000 else "")


def _triggered(stage: Stage, per_s: int, change: Callable[[Files], None] | None = None) -> dict[str, str]:
    topic = stage.topic()
    with Far() as far, stage.fleet(topic, far.url, FAST, change) as fleet:
        fleet.start()
        with streaming(topic, per_s, STREAM_S):
            fleet.until(lambda: far.counts()["requests"] >= per_s * SETTLE_S)
            far.counts(reset=True)
            began = time.monotonic(), fleet.cpu_s()
        used = (fleet.cpu_s() - began[1]) / (time.monotonic() - began[0])
        fleet.until(lambda: far.counts()["requests"] >= topic.events)  # those that wait longest count, too
        counts = far.counts()
    return {
        "p50 ms": f"{counts['p50_us'] / 1e3:.1f}", "p99 ms": f"{counts['p99_us'] / 1e3:.1f}",
        "max ms": f"{counts['max_us'] / 1e3:.0f}", "events": f"{counts['waits']:,}", "CPU": f"{used:.0%}",
    }  # fmt: skip


def neighbours(stage: Stage) -> Iterator[Row]:
    """A destination that is well, alone and with a dead one that gets the same events."""

    def dead(files: Files) -> None:
        well = files["destinations/receiver.yaml"]
        files["destinations/dead.yaml"] = well | {"destination": "dead", "base_url": DEAD_URL}
        step = files["journeys/welcome.yaml"]["steps"][0]
        files["journeys/welcome.yaml"]["steps"].append(step | {"step": "gone", "call": "dead.upsert"})

    pairs = [(_triggered(stage, 1_000), _triggered(stage, 1_000, dead)) for _ in range(stage.rounds)]
    ratio = median(float(beside["p99 ms"]) / float(alone["p99 ms"]) for alone, beside in pairs)
    middle = sorted(pairs, key=lambda pair: float(pair[1]["p99 ms"]))[stage.rounds // 2]
    yield Row("alone", middle[0])
    yield Row("a dead one beside it", middle[1] | {"p99 beside / alone": f"{ratio:.2f}"}, "1.2 times")


def backlogs(stage: Stage) -> Iterator[Row]:
    """Memory, whatever lies in front."""
    for number in (100_000, 1_000_000):
        topic = stage.topic()
        topic.fill(number)
        yield Row(f"{number:,} events", speed([work_off(stage, topic, FAST)]), "120 MB")


def kills(stage: Stage) -> Iterator[Row]:
    """`kill -9` of the one worker of a stream, and another one started."""
    for _ in range(stage.rounds):
        topic = stage.topic()
        with Far() as far, stage.fleet(topic, far.url, FAST) as fleet:
            worker = fleet.start()
            with streaming(topic, KILL_RATE, STREAM_S):
                fleet.until(lambda: far.counts()["requests"] >= KILL_RATE * STREAM_S / 2)
                fleet.kill(worker)
                fleet.start()
            fleet.work_off()
            counts = far.counts()
        lost = topic.events - counts["requests"] + counts["repeats"]
        yield Row(
            f"{KILL_RATE:,} events/s",
            {"events": f"{topic.events:,}", "sent twice": f"{counts['repeats']:,}", "lost": f"{lost:,}"},
            "lost 0; repeats at most what was sent since the last commit, half a second before",
        )


def starts(stage: Stage) -> Iterator[Row]:
    """From starting a process to its first request, events waiting."""
    topic = stage.topic()
    topic.fill(1_000)
    seconds = []
    for _ in range(stage.rounds):
        with Far() as far, stage.fleet(topic, far.url, FAST) as fleet:
            began_us = time.time_ns() // 1_000
            fleet.start()
            fleet.work_off()
            seconds.append((far.counts()["first_us"] - began_us) / 1e6)
    yield Row("a worker", {"seconds": f"{median(seconds):.2f}", "all": ", ".join(f"{each:.2f}" for each in seconds)})


def growth(stage: Stage) -> Iterator[Row]:
    """What one delivery costs as there is more of everything."""

    def many(number: int) -> Callable[[Files], None]:
        def change(files: Files) -> None:
            journey = files.pop("journeys/welcome.yaml")
            well = files.pop("destinations/receiver.yaml")
            limits = {"concurrency": max(4, FAST.in_flight // number)}
            for at in range(number):
                name = f"n{at}"
                files[f"destinations/{name}.yaml"] = well | {"destination": name, "limits": limits}
                trigger = journey["trigger"] | {"when": f'event.properties.plan == "pro{at or ""}"'}
                step = journey["steps"][0] | {"call": f"{name}.upsert"}
                files[f"journeys/{name}.yaml"] = journey | {"journey": name, "trigger": trigger, "steps": [step]}

        return change

    plain = stage.topic()
    plain.fill(BACKLOG)
    cases: dict[str, Callable[[], Round]] = {
        "1 journey and destination, 8 partitions": lambda: work_off(stage, plain, FAST)
    }
    for number in MANY[1:]:
        topic = stage.topic(plans=number)
        topic.fill(BACKLOG)
        cases[f"{number:,} journeys and destinations"] = (
            lambda topic=topic, number=number: work_off(stage, topic, FAST, change=many(number))  # type: ignore[misc]
        )
    for partitions in (1, PARTITIONS_MANY):
        topic = stage.topic(partitions=partitions)
        topic.fill(BACKLOG)
        cases[f"{partitions} partition{'s' if partitions > 1 else ''}"] = lambda topic=topic: work_off(
            stage, topic, FAST
        )  # type: ignore[misc]
    large = stage.topic(padding=LARGE_BYTES)
    large.fill(BACKLOG)
    cases["events of 10 KB"] = lambda: work_off(stage, large, FAST)
    cases["over TLS"] = lambda: work_off(stage, plain, FAST, tls=True)
    cases["every event traced"] = lambda: work_off(stage, plain, FAST, change=_all_traced)
    one: list[Round] = []
    for name, found in in_turn(stage, cases):
        one = one or found
        cost = median(mine.cpu_us / theirs.cpu_us for mine, theirs in zip(found, one, strict=True))
        yield Row(name, speed(found) | {"of the first": f"{cost:.2f} times"})


def _all_traced(files: Files) -> None:
    files["hookline.yaml"]["telemetry"]["sample"] = "100%"


ALL = (
    Measure("stages", "Stage by stage", stages),
    Measure("latencies", "Receivers that take time", latencies),
    Measure("failures", "Attempts that fail", failures),
    Measure("processes", "Worker processes", processes),
    Measure("triggers", "Time to trigger", triggers),
    Measure("neighbours", "A dead neighbour", neighbours),
    Measure("backlogs", "Memory and backlog", backlogs),
    Measure("kills", "Repeats after `kill -9`", kills),
    Measure("starts", "Start to first request", starts),
    Measure("growth", "More of everything", growth),
)
