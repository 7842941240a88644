"""Runs `hookline bench` on a real Kafka: the one KAFKA_BOOTSTRAP names, else one started for it (`make bench`)."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from pipeline.cli import main
from tests.support.kafka import RealKafka
from tests.support.parts import PartMissingError


def run(arguments: list[str]) -> int:
    """Start a broker unless one is named, run the bench, stop the broker; the bench's exit code, 2 without a broker."""
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


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
