"""Says whether the real parts a test needs are to be had, and fetches each once into `.cache/`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"

REQUIRE = "HOOKLINE_REQUIRE_KAFKA"
JAVA_MIN = 17
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1"
BUILD_TIMEOUT_S = 600.0
TAIL_CHARS = 2_000
MISSING = "no real"
"""Every skip for want of a part starts so; the test session's closing lines count them."""


class PartMissingError(Exception):
    """A real part cannot be had on this machine; the text says why and what would help."""


def required() -> bool:
    """Whether the absence of a real part is a failure instead of a skip."""
    return os.environ.get(REQUIRE, "") not in {"", "0"}


def unavailable(what: str, why: str) -> NoReturn:
    """Skip the test with a reason the closing line can fold, or fail it where real parts are required."""
    reason = f"{MISSING} {what}: {why}"
    if required():
        raise pytest.fail.Exception(f"{reason} ({REQUIRE} is set)", pytrace=False) from None
    pytest.skip(reason)


@cache
def java() -> str:
    """Path of a Java that is new enough; PartMissingError without one. Blocks for one `java -version`."""
    home = os.environ.get("JAVA_HOME", "")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    found = [path for path in (*candidates, shutil.which("java") or "") if path and Path(path).exists()]
    if not found:
        raise PartMissingError(f"Java {JAVA_MIN} or newer is not installed")
    for path in found:
        told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60, check=False)
        version = re.search(r'version "(\d+)', told.stderr + told.stdout)
        if version and int(version[1]) >= JAVA_MIN:
            return path
    raise PartMissingError(f"the Java found is older than {JAVA_MIN}")


def tool(name: str) -> str:
    """Path of a command; PartMissingError without it."""
    path = shutil.which(name)
    if path is None:
        raise PartMissingError(f"`{name}` is not installed")
    return path


def build(argv: Sequence[str], cwd: Path, **environment: str) -> None:
    """Run one build command to its end; PartMissingError with the end of its output if it fails or takes too long."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PartMissingError(f"`{Path(argv[0]).name}` took longer than {BUILD_TIMEOUT_S:g} s") from error
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).strip()
        raise PartMissingError(f"`{Path(argv[0]).name}` failed: {said[-TAIL_CHARS:]}")


def cached(name: str, fetch: Callable[[Path], None]) -> Path:
    """`.cache/<name>`, filled by `fetch(folder)` the first time; complete or absent, also with several runs at once.

    Blocks while another process fetches the same part. What `fetch` raises is passed on and nothing is kept.
    """
    final = CACHE / name
    if final.exists():
        return final
    if name in _failed:
        raise _failed[name]
    with _locked(name):
        if not final.exists():
            partial = CACHE / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            try:
                fetch(partial)
            except PartMissingError as error:
                _failed[name] = error
                raise
            partial.rename(final)
    return final


_failed: dict[str, PartMissingError] = {}
"""Parts that could not be had: asking again would make every test wait for the same refusal."""


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Part:
    """Something to be fetched or built once: its folder in `.cache/`, what to call it, and how to fill the folder."""

    name: str
    what: str
    fetch: Callable[[Path], None]

    @property
    def here(self) -> bool:
        """Whether it is in `.cache/` already."""
        return (CACHE / self.name).exists()

    def get(self) -> Path:
        """Its folder; PartMissingError if it cannot be had."""
        return cached(self.name, self.fetch)

    def file(self) -> Path:
        """The one file it consists of; PartMissingError if it cannot be had."""
        return next(path for path in self.get().iterdir() if path.is_file())


def maven_part(artifact: str, what: str) -> Part:
    """One file from Maven Central (`group:name:version[:packaging[:classifier]]`) as a part."""
    _, name, version, *_ = artifact.split(":")

    def fetch(folder: Path) -> None:
        argv = [tool("mvn"), "-q", "-B", f"{COPY}:copy", f"-DoutputDirectory={folder}", f"-Dartifact={artifact}"]
        build(argv, folder)

    return Part(f"{name}-{version}", what, fetch)


def jar(artifact: str) -> Path:
    """The file of one Maven artifact (`group:name:version[:packaging[:classifier]]`); else PartMissingError."""
    return maven_part(artifact, artifact).file()
