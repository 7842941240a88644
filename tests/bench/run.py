"""Runs `hookline bench` on a real Kafka: the one KAFKA_BOOTSTRAP names, else one started for it (`make bench`).

With `--record` what was measured goes to docs/benchmarks.md, and a plot beside it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path

from pipeline.cli import main
from tests.bench import page
from tests.support.kafka import RealKafka
from tests.support.parts import PartMissingError


def run(arguments: list[str]) -> int:
    """Start a broker unless one is named, run the bench, stop the broker; the bench's exit code, 2 without a broker."""
    if "--record" in arguments:
        return _record([each for each in arguments if each not in {"--record", "--json"}])
    if os.environ.get("KAFKA_BOOTSTRAP") or "--help" in arguments or "--bootstrap" in " ".join(arguments):
        return main(["bench", *arguments])
    with tempfile.TemporaryDirectory(prefix="hookline-bench-kafka-") as folder:
        try:
            kafka = RealKafka(Path(folder))
        except PartMissingError as error:
            sys.stderr.write(f"no real Kafka: {error}; name one in KAFKA_BOOTSTRAP\n")
            return 2
        try:
            return main(["bench", "--bootstrap", kafka.bootstrap, *arguments])
        finally:
            kafka.stop()


def _record(arguments: list[str]) -> int:
    with contextlib.redirect_stdout(io.StringIO()) as told:
        code = run([*arguments, "--json"])
    if code == 0:
        document = json.loads(told.getvalue().splitlines()[-1])
        page.record("bench", page.bench(document))
        page.PLOT.write_text(page.draw(document))
        sys.stdout.write(f"{page.PAGE.name} and {page.PLOT.name} have the figures\n")
    return code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
