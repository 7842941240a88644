"""Where a delivery's CPU goes, stage by stage: samples of the event loop's stack, and the CPU time of every thread.

py-spy samples whoever holds the interpreter's lock; a sample belongs to the innermost file that a stage names, so that
what libraries and the kernel do counts where we asked for it. CPU time is the kernel's, of each thread (proc(5)).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SAMPLE_S = 10
RATE = 250
_TICKS = os.sysconf("SC_CLK_TCK")

STAGES = {
    "HTTP: one write, one answer (kernel included)": r"pipeline/adapters/http/|aiohttp/",
    "Kafka: produce outcomes, collect acks": r"pipeline/adapters/kafka/|confluent_kafka/",
    "lanes, seats, verdicts": r"pipeline/run/(dispatch|seat|aftermath|backlog|pace|health|watch|lease)\.py|"
    r"pipeline/core/(verdict|breaker|bucket|concurrency)",
    "payload, delivery ID, request head, signature": r"pipeline/core/(payload|signing|urltext|tracecontext)",
    "decode, envelope, identity": r"<avro|pipeline/core/(decode|envelope|types|identity)|pipeline/run/reading",
    "routes, conditions, gates, tables": r"pipeline/core/(routes|gates|expressions|journeys|tables)|cel_expr|"
    r"pipeline/(adapters/tables|run/asking|run/recheck|app/tables)",
    "outcomes, settling, positions": r"pipeline/core/(outcome|offsets|progress)|pipeline/varint|pipeline/app/reference|"
    r"pipeline/run/(settle|commits|carry)",
    "order of the stages, intake": r"pipeline/run/",
    "spans, metrics, log": r"pipeline/adapters/telemetry|opentelemetry/",
    "event loop": r"asyncio/|uvloop|runpy",
}
"""A stage's name, and the files it is made of; the first that matches counts."""


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of a process so far, by what its threads are for, and how much of all that was in the kernel."""

    threads: Counter[str]
    kernel_s: float

    @classmethod
    def of(cls, pid: int) -> Cpu:
        """Read them; a thread that ends meanwhile is left out."""
        found: Counter[str] = Counter()
        kernel_s = 0.0
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                name = (task / "comm").read_text().strip()
                fields = (task / "stat").read_text().rpartition(")")[2].split()
            except FileNotFoundError:
                continue
            user_s, system_s = int(fields[11]) / _TICKS, int(fields[12]) / _TICKS
            found[_purpose(name, is_main=task.name == str(pid))] += user_s + system_s
            kernel_s += system_s
        return cls(found, kernel_s)

    def since(self, before: Cpu) -> Cpu:
        """What was used after `before`."""
        return Cpu(self.threads - before.threads, self.kernel_s - before.kernel_s)


LOOP, POLL, CLIENT = "loop", "poll threads and others of Python's", "librdkafka's threads"


def _purpose(name: str, *, is_main: bool) -> str:
    if is_main:
        return LOOP
    return CLIENT if name.startswith("rdk:") else POLL


def sampled(pid: int, folder: Path) -> Counter[str]:
    """Sample the loop's stack for SAMPLE_S; return samples by stage. Raises OSError where that may not be done."""
    sampler = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    raw = folder / "samples.txt"
    done = subprocess.run(
        [sampler, "record", "--pid", str(pid), "--gil", "--rate", str(RATE), "--duration", str(SAMPLE_S), "--format",
         "raw", "--output", str(raw)], capture_output=True, text=True, check=False, timeout=SAMPLE_S * 6,
    )  # fmt: skip
    if done.returncode:
        raise OSError(f"py-spy: {done.stderr.strip()[-200:]}")
    return by_stage(raw.read_text().splitlines())


def by_stage(lines: Iterable[str]) -> Counter[str]:
    """Count samples of the main thread, `frame (file:line);frame ... count`, by stage."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if "threading.py" not in frames[0]:
            found[_stage(frames)] += int(count)
    return found


def _stage(frames: list[str]) -> str:
    for frame in reversed(frames):
        file = re.sub(r":\d+\)$", "", frame.rpartition("(")[2])
        for name, files in STAGES.items():
            if re.search(files, file):
                return name
    return "other"
