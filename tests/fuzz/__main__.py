"""Fuzzes what reads bytes of others, guided by coverage (libFuzzer, by way of atheris), for a bounded time.

    python -m tests.fuzz [--seconds 600] [TARGET ...]

The time is shared by the targets, a process each. What was found lies in `.cache/fuzz/TARGET/`: interesting inputs to
begin with the next time, and `crash-...`, `timeout-...`, `oom-...`; such an input belongs into
`tests/fuzz/corpus/TARGET/` with its fix, where every test run tries it again.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.support.parts import CACHE

SECONDS = 600
INPUT_S = 10
"""A single input that takes longer is a finding."""
RSS_MB = 600
"""The interpreter and all of Hookline take 150; an input must not take much more."""
INPUT_BYTES_MAX = 4_096
FOLDER_BYTES_MAX = 32_768
"""Of an input that stands for many files."""
GRACE_S = 60
CORPUS = Path(__file__).parent / "corpus"
NAMES = (
    "avro", "avro_nested", "framing", "headers", "commit_metadata", "run_state", "own_topics", "control", "answers",
    "yaml", "folder", "cel", "webhook", "identifiers",
)  # fmt: skip


def fuzz(name: str, seconds: int) -> str:
    """Fuzz one target in a process of its own; return what it said if it found something, else "". Blocks."""
    kept = CACHE / "fuzz" / name
    kept.mkdir(parents=True, exist_ok=True)
    limits = [
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_S}",
        f"-rss_limit_mb={RSS_MB}",
        f"-max_len={FOLDER_BYTES_MAX if name == 'folder' else INPUT_BYTES_MAX}",
    ]
    argv = [sys.executable, "-m", "tests.fuzz.one", name, str(kept), str(CORPUS / name), *limits]
    argv += [f"-artifact_prefix={kept}/", "-verbosity=0", "-print_final_stats=1"]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", timeout=seconds + GRACE_S, check=False,
    )  # fmt: skip
    runs = next((line.split()[-1] for line in done.stdout.splitlines() if "number_of_executed_units" in line), "no")
    sys.stdout.write(f"{name:16} {runs:>9} inputs in {seconds} s: {'content' if done.returncode == 0 else 'FOUND'}\n")
    sys.stdout.flush()
    return "" if done.returncode == 0 else done.stdout


def main() -> int:
    """Fuzz what is named; exit 1 when something was found, 2 without atheris."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"for all targets together (default {SECONDS})")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(NAMES):
        parser.error(f"no target is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed: `pip install 'hookline[fuzz]'` (CPython 3.11 to 3.13, Linux)\n")
        return 2
    names = arguments.targets or list(NAMES)
    found = [said for name in names if (said := fuzz(name, max(1, arguments.seconds // len(names))))]
    for said in found:
        sys.stdout.write(f"\n{said[-4_000:]}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
