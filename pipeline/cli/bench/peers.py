"""Builds and runs what else does the same work, from the sources in `tests/bench/peers`, beside the same broker.

A peer whose sources or tools are missing is skipped, and says so. What is built goes to a cache folder, `.cache/peers`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.cli.bench.figures import Sample, over
from pipeline.cli.bench.measure import cpu_s, peak_mb
from pipeline.errors import BrokerError
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.cli.bench.figures import Round, Scenario

ROOT: Final = Path(__file__).resolve().parents[3]
SOURCES: Final = ROOT / "tests" / "bench" / "peers"
BUILT: Final = ROOT / ".cache" / "peers"
BUILD_S: Final = 600.0
"""Bound on building one, downloads of its libraries included."""
RUN_S: Final = 45.0
"""Bound on one run over the backlog: a slow peer is measured on as much of it as it manages."""
LOOK_S: Final = 0.05
STALLED_S: Final = 30.0
ANSWER_S: Final = 10.0
STOP_S: Final = 10.0
LOG_CHARS: Final = 1_000


@value
class Peer:
    """Something else that does the work. `tools` are commands that must be there; `command` runs what was built."""

    name: str
    title: str
    tools: tuple[str, ...]
    build: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    folder: str


GO: Final = Peer(
    "go", "Go by hand: franz-go, hamba/avro, net/http; no commits", ("go",),
    (("go", "build", "-o", str(BUILT / "go") + "/", "./..."),), (str(BUILT / "go" / "worker"),), "go",
)  # fmt: skip
PARALLEL_CONSUMER: Final = Peer(
    "parallel_consumer", "Confluent Parallel Consumer with Vert.x, unordered", ("java", "mvn"),
    (("mvn", "-q", "-B", f"-DbuildDirectory={BUILT / 'pc'}", "package", "dependency:copy-dependencies",
      f"-DoutputDirectory={BUILT / 'pc' / 'libs'}"),),
    ("java", "-cp", f"{BUILT / 'pc'}/parallel-consumer-peer-1.jar:{BUILT / 'pc' / 'libs'}/*", "hookline.bench.Peer"),
    "parallel_consumer",
)  # fmt: skip
LOOP: Final = Peer(
    "loop", "poll, post, commit: aiohttp's ClientSession, fastavro", (), (),
    (sys.executable, str(SOURCES / "python" / "loop.py")), "python",
)  # fmt: skip
FASTSTREAM: Final = Peer(
    "faststream", "FastStream (confluent), aiohttp's ClientSession, fastavro", (),
    ((sys.executable, "-m", "venv", str(BUILT / "faststream")),
     (str(BUILT / "faststream" / "bin" / "python"), "-m", "pip", "install", "--quiet", "faststream[confluent]",
      "aiohttp", "fastavro", "uvloop")),
    (str(BUILT / "faststream" / "bin" / "python"), str(SOURCES / "python" / "with_faststream.py")), "python",
)  # fmt: skip

QUICK: Final = (GO, PARALLEL_CONSUMER)
ALL: Final = (GO, PARALLEL_CONSUMER, FASTSTREAM, LOOP)


_LIBC: Final = ctypes.CDLL(None)
_PR_SET_PDEATHSIG: Final = 1


def end_with_us() -> None:
    """Have the kernel end this process when its parent ends, however that does (prctl(2)); for `preexec_fn`.

    A peer that outlives a bench that was killed goes on using all cores, unseen.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ready(peer: Peer) -> str:
    """Build a peer; return why it cannot be measured, or "". Blocks up to BUILD_S a step."""
    sources = SOURCES / peer.folder
    if not sources.is_dir():
        return "its sources are only in a checkout"
    missing = [each for each in peer.tools if shutil.which(each) is None]
    if missing:
        return "needs " + ", ".join(missing)
    BUILT.mkdir(parents=True, exist_ok=True)
    for step in peer.build:
        try:
            done = subprocess.run(  # noqa: S603 - our own sources
                step, cwd=sources, capture_output=True, text=True, timeout=BUILD_S, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"was not built within {BUILD_S:.0f} s"
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            return f"cannot be built: {said[-1] if said else step[0]}"
    return ""


def run(
    peer: Peer, scenario: Scenario, environ: Mapping[str, str], events: int, log: Path,
    progress: Callable[[int, int], None],
) -> Round:  # fmt: skip
    """Run a peer over the backlog, or as far as it gets in RUN_S. Raises BrokerError when it fails or stands still."""
    receiver = Receiver(scenario.latency_ms)
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own program
                peer.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, **environ, "URL": receiver.url, "IN_FLIGHT": str(scenario.in_flight)},
                preexec_fn=end_with_us,  # noqa: PLW1509 - one call into a library that is loaded
            )  # fmt: skip
        try:
            samples = _samples(process, receiver, events, log, progress)
            peak = peak_mb(process.pid)
        finally:
            process.kill()
            process.wait(STOP_S)
        return over(samples, receiver.counts()["requests"], peak)
    finally:
        receiver.stop()


def _samples(
    process: subprocess.Popen[bytes], receiver: Receiver, events: int, log: Path, progress: Callable[[int, int], None]
) -> list[Sample]:
    samples: list[Sample] = []
    began_s = moved_s = time.monotonic()
    while True:
        if process.poll() is not None:
            raise BrokerError(f"the peer ended by itself:\n{log.read_text()[-LOG_CHARS:]}")
        requests = receiver.counts()["requests"]
        now_s = time.monotonic()
        if not samples or requests > samples[-1].written:
            moved_s = now_s
        samples.append(Sample(now_s, cpu_s(process.pid), requests))
        progress(min(requests, events), events)
        if requests >= events or (now_s - began_s > RUN_S and requests):
            return samples
        if now_s - moved_s > STALLED_S:
            raise BrokerError(f"the peer stands still at {requests:,}:\n{log.read_text()[-LOG_CHARS:]}")
        time.sleep(LOOK_S)


class Receiver:
    """The Go receiver of the peers' folder: 204 after a delay, repeats counted. Needs GO to be ready."""

    def __init__(self, delay_ms: int) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [str(BUILT / "go" / "receiver"), "-delay", f"{delay_ms}ms"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        self.url: str = told["url"]
        self.requests = 0
        self._counts: str = told["counts"]

    def counts(self) -> dict[str, int]:
        """Return `requests` and `repeats` so far."""
        with urllib.request.urlopen(self._counts, timeout=ANSWER_S) as answer:  # noqa: S310 - loopback, our own
            found: dict[str, int] = json.loads(answer.read())
        return found

    def stop(self) -> None:
        """End it; idempotent."""
        if self._process.poll() is None:
            self.requests = self.counts()["requests"]
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait(STOP_S)
