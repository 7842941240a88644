"""What every measure needs: a Kafka with a topic of events, a far side, and worker processes that are watched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from pipeline.adapters.schemas import Folders, packaged
from pipeline.cli.bench import peers, scene
from pipeline.cli.bench.figures import Sample, Scenario
from pipeline.cli.bench.measure import cpu_s, peak_mb
from pipeline.config.models import LIFECYCLE_EVENT
from pipeline.core import decode
from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from pipeline.adapters.kafka.admin import Admin

LOOK_S = 0.1
STALLED_S = 60.0
"""A fleet that settles nothing for so long is given up."""
STOP_S = 40.0
ANSWER_S = 30.0
LOG_CHARS = 1_000
PACE_S = 0.002
"""Between two handfuls of a feed that keeps a rate."""

Files = dict[str, dict[str, Any]]


class Far:
    """The Go receiver: 204 after a delay; see its source for the rest. `fail` is a percentage."""

    def __init__(self, delay_ms: int = 0, fail: int = 0, certificate: tuple[Path, Path] | None = None) -> None:
        argv = [str(peers.BUILT / "go" / "receiver"), "-delay", f"{delay_ms}ms", "-fail", str(fail)]
        if certificate is not None:
            argv += ["-certificate", str(certificate[0]), "-key", str(certificate[1])]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.url: str = told["url"]
        self._counts: str = told["counts"]

    def counts(self, *, reset: bool = False) -> dict[str, int]:
        """`requests`, `failures`, `repeats`, and of bodies that say when they were sent `p50_us`, `p99_us`, `waits`."""
        with urllib.request.urlopen(self._counts + ("?reset" if reset else ""), timeout=ANSWER_S) as answer:
            found: dict[str, int] = json.loads(answer.read())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait(STOP_S)


@dataclass
class Topic:
    """A topic of events and how to fill it: events are `padding` bytes longer than usual, of `plans` plans."""

    bootstrap: str
    name: str
    padding: int = 0
    plans: int = 1
    events: int = 0
    _encode: Callable[[dict[str, Any]], bytes] = field(init=False)

    def __post_init__(self) -> None:
        schema = Folders((packaged(),)).readers[LIFECYCLE_EVENT]
        encode, head = decode.encode(schema), decode.single_object(decode.fingerprint(schema))
        self._encode = lambda event: head + encode(event)

    def fill(self, number: int) -> None:
        """Publish a backlog."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 20, "compression.type": "lz4"})
        for event in self._made(number):
            while True:
                try:
                    producer.produce(self.name, self._encode(event), event["customer"]["id"])
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        if producer.flush(60.0):
            raise BrokerError("Kafka did not take the backlog")
        self.events += number

    def stream(self, per_s: int, seconds: float) -> None:
        """Publish at a steady rate, each event as soon as it is made; blocks `seconds`."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 0})
        total = int(per_s * seconds)
        began_s = time.monotonic()
        for number, event in enumerate(self._made(total)):
            while (behind_s := began_s + number / per_s - time.monotonic()) > 0:
                producer.poll(0)
                time.sleep(min(PACE_S, behind_s))
            now_us = time.time_ns() // 1_000
            event["time"] = now_us // 1_000
            event["properties"]["sent_us"] = now_us
            producer.produce(self.name, self._encode(event), event["customer"]["id"])
        if producer.flush(60.0):
            raise BrokerError("Kafka did not take the stream")
        self.events += total

    def _made(self, number: int) -> Iterator[dict[str, Any]]:
        for at, event in enumerate(scene.events(number, int(time.time() * 1_000))):
            event["id"] = f"{event['id'][:24]}{self.events + at:012x}"  # a topic filled twice has no event twice
            event["properties"] |= {"sent_us": 0, "plan": f"pro{at % self.plans or ''}"}
            if self.padding:
                event["properties"]["note"] = "x" * self.padding
            yield event


class Fleet:
    """Worker processes of one configuration and group. Leaving the context stops them."""

    def __init__(self, folder: Path, files: Mapping[str, Mapping[str, Any]], admin: Admin, topic: Topic) -> None:
        self.folder = folder
        self._admin = admin
        self._topic = topic
        self._group = files["hookline.yaml"]["group"]
        self.workers: list[subprocess.Popen[bytes]] = []
        self._logs: list[Path] = []
        self._ended_s = 0.0
        scene.write(folder, files)
        os.environ.update(scene.ENVIRON)
        scene.create_topics(folder)

    def start(self, cpus: set[int] | None = None) -> subprocess.Popen[bytes]:
        """Start one more worker, on these cores if they are named."""
        log = self.folder.with_name(f"{self.folder.name}-{len(self._logs)}.log")
        with log.open("wb") as output:
            made = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "run", "--config", str(self.folder), "--env", "bench"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        if cpus:
            os.sched_setaffinity(made.pid, cpus)
        self.workers.append(made)
        self._logs.append(log)
        return made

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """SIGKILL."""
        worker.kill()
        worker.wait()
        self.workers.remove(worker)

    def work_off(self, *, until: Callable[[int], bool] | None = None) -> list[Sample]:
        """Watch until all events are settled and committed, or `until(settled)`. Raises BrokerError when it stalls."""
        samples: list[Sample] = []
        moved_s = time.monotonic()
        while True:
            self.check()
            settled = self.settled()
            now_s = time.monotonic()
            if not samples or settled > samples[-1].written:
                moved_s = now_s
            samples.append(Sample(now_s, sum(cpu_s(each.pid) for each in self.workers), settled))
            if until is not None and until(settled):
                return samples
            if settled >= self._topic.events and self._committed() >= self._topic.events:
                return samples
            if now_s - moved_s > STALLED_S:
                raise BrokerError(f"the fleet stands still at {settled:,}: {self._said()}")
            time.sleep(LOOK_S)

    def until(self, what: Callable[[], bool]) -> None:
        """Wait until it is so. Raises BrokerError if a worker ends meanwhile, or it takes STALLED_S."""
        until_s = time.monotonic() + STALLED_S
        while not what():
            self.check()
            if time.monotonic() > until_s:
                raise BrokerError(f"the fleet stands still at {self.settled():,}: {self._said()}")
            time.sleep(LOOK_S)

    def settled(self) -> int:
        """Records on the outcomes topic: one a delivery, and a few ledgers."""
        try:
            return sum(end for _, end in self._admin.watermarks([f"{self._group}.outcomes"]).values())
        except TopicMissing:  # made a moment ago, and not known to every broker yet
            return 0

    def peak_mb(self) -> float:
        """The most memory any of them took."""
        return max(peak_mb(each.pid) for each in self.workers)

    def cpu_s(self) -> float:
        """CPU seconds of all that run."""
        return sum(cpu_s(each.pid) for each in self.workers)

    def _committed(self) -> int:
        return sum(offset for offset in self._admin.committed(self._group, [self._topic.name]).values() if offset > 0)

    def check(self) -> None:
        """Raise BrokerError if a worker ended by itself."""
        if any(each.poll() is not None for each in self.workers):
            raise BrokerError(f"a worker ended by itself: {self._said()}")

    def _said(self) -> str:
        return "\n".join(log.read_text()[-LOG_CHARS:] for log in self._logs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.workers:
            each.send_signal(signal.SIGTERM)
        for each in self.workers:
            try:
                each.wait(STOP_S)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()


class Stage:
    """One Kafka and a folder; makes topics, and takes them away with everything of their groups at the end."""

    def __init__(self, bootstrap: str, folder: Path, admin: Admin, rounds: int) -> None:
        self.bootstrap = bootstrap
        self.rounds = rounds
        self.folder = folder
        self.admin = admin
        self._made = 0
        self._names: list[str] = []
        self._sink = scene.Receiver(0)  # takes the spans

    def topic(self, *, partitions: int = scene.PARTITIONS, padding: int = 0, plans: int = 1) -> Topic:
        """A new, empty topic."""
        self._made += 1
        name = f"measures{self._made}-{os.getpid()}"
        self._names.append(name)
        self.admin.create(name, partitions, {"message.timestamp.type": "LogAppendTime"})
        return Topic(self.bootstrap, name, padding, plans)

    def fleet(self, topic: Topic, far: str, scenario: Scenario, change: Callable[[Files], None] | None = None) -> Fleet:
        """A fleet without a worker yet, on this topic; `change` alters its configuration."""
        self._made += 1
        group = f"{topic.name}.g{self._made}"
        files: Files = scene.documents(group, topic.name, self.bootstrap, scenario, far, self._sink.url)
        folder = self.folder / group
        files["hookline.yaml"]["state_dir"] = str(folder.absolute().with_name(f"{group}-state"))
        files["hookline.yaml"]["classes"]["properties.sent_us"] = "public"
        files["journeys/welcome.yaml"]["steps"][0]["payload"]["sent_us"] = "${event.properties.sent_us}"
        if change is not None:
            change(files)
        return Fleet(folder, files, self.admin, topic)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._sink.stop()
        mine = tuple(self._names)
        self.admin.delete([name for name in self.admin.partitions() if name.startswith(mine)])


@contextlib.contextmanager
def streaming(topic: Topic, per_s: int, seconds: float) -> Iterator[threading.Thread]:
    """Publish beside what is done meanwhile; waits for its end."""
    thread = threading.Thread(target=topic.stream, args=(per_s, seconds))
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
