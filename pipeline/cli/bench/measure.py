"""Measures one real worker process over a backlog: its CPU time, its memory, what it has settled, every 50 ms."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.cli.bench import scene
from pipeline.cli.bench.figures import Round, Sample, over, read
from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.adapters.kafka.admin import Admin
    from pipeline.cli.bench.figures import Scenario

LOOK_S: Final = 0.05
"""Between two looks at the worker."""
STALLED_S: Final = 60.0
"""A worker that settles nothing for so long is given up."""
STOP_S: Final = 40.0
"""Bound on a graceful stop; a worker that takes longer is killed."""
LOG_CHARS: Final = 2_000


class Bench:
    """A backlog on one topic, and workers run over it, each with a group of its own."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        events: int,
        folder: Path,
        admin: Admin,
        receiver: Callable[[int], scene.Far] = scene.Receiver,
    ) -> None:
        """`receiver(delay_ms)` starts the far side."""
        self.compared: dict[str, list[Round]] = {}
        """By scenario, each round again as peers are measured: all but the start."""
        self._receiver = receiver
        self._bootstrap = bootstrap
        self._topic = topic
        self._events = events
        self._folder = folder
        self._admin = admin
        self.groups: list[str] = []

    def round(self, scenario: Scenario, progress: Callable[[int, int], None]) -> Round:
        """Run one worker until everything is settled and committed. Raises BrokerError when it fails or stalls."""
        group = f"{self._topic}.{scenario.name.lower()}{len(self.groups)}"
        self.groups.append(group)
        folder = self._folder / group
        receiver, sink = self._receiver(scenario.latency_ms), scene.Receiver(0)
        try:
            files = scene.documents(group, self._topic, self._bootstrap, scenario, receiver.url, sink.url)
            files["hookline.yaml"]["state_dir"] = str(folder.absolute() / "state")
            scene.write(folder, files)
            os.environ.update(scene.ENVIRON)
            scene.create_topics(folder)
            samples, peak_mb = self._watched(folder, group, progress)
        finally:
            receiver.stop()
            sink.stop()
        delivered = [Sample(each.at_s, each.cpu_s, min(each.written, self._events)) for each in samples]
        self.compared.setdefault(scenario.name, []).append(over(delivered, receiver.requests, peak_mb))
        return read(samples, self._events, receiver.requests, peak_mb)

    def _watched(self, folder: Path, group: str, progress: Callable[[int, int], None]) -> tuple[list[Sample], float]:
        log = folder.parent / f"{group}.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "pipeline", "run", "--config", str(folder), "--env", "bench"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            samples = self._samples(worker, group, log, progress)
            return samples, peak_mb(worker.pid)
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                worker.wait(STOP_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _samples(
        self, worker: subprocess.Popen[bytes], group: str, log: Path, progress: Callable[[int, int], None]
    ) -> list[Sample]:
        outcomes = f"{group}.outcomes"
        samples: list[Sample] = []
        moved_s = time.monotonic()
        while True:
            if worker.poll() is not None:
                raise BrokerError(f"the worker ended by itself:\n{log.read_text()[-LOG_CHARS:]}")
            written = self._written(outcomes)
            now_s = time.monotonic()
            if not samples or written > samples[-1].written:
                moved_s = now_s
            samples.append(Sample(now_s, cpu_s(worker.pid), written))
            progress(min(written, self._events), self._events)
            if written >= self._events and self._committed(group) >= self._events:
                return samples
            if now_s - moved_s > STALLED_S:
                raise BrokerError(f"the worker stands still at {written:,}:\n{log.read_text()[-LOG_CHARS:]}")
            time.sleep(LOOK_S)

    def _written(self, outcomes: str) -> int:
        try:
            return sum(end for _, end in self._admin.watermarks([outcomes]).values())
        except TopicMissing:  # made a moment ago, and not known to every broker yet
            return 0

    def _committed(self, group: str) -> int:
        return sum(offset for offset in self._admin.committed(group, [self._topic]).values() if offset > 0)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds, user and system, a running process has used; proc(5), fields 14 and 15 of stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb(pid: int) -> float:
    """Return the peak resident memory of a running process in MB (1,000,000 bytes); proc(5), VmHWM of status."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1_024 / 1e6 if found else 0.0
