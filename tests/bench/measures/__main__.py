"""Measures real workers in one situation after another, beside a real Kafka and a cheap receiver.

    python -m tests.bench.measures [NAME ...] [--record]

Without names: all of them, some twenty minutes. `--record` writes the tables to docs/benchmarks.md, in place of what
was there of the same measures. The receiver is in Go; without Go nothing is measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from pipeline.adapters.kafka.admin import Admin
from pipeline.cli.bench import machine, peers
from tests.bench import page
from tests.bench.measures.measures import ALL, Row
from tests.bench.measures.stage import Stage
from tests.support.kafka import RealKafka

ROUNDS = 3


def main() -> int:
    """Measure what is named; exit 2 without Go."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(each.name for each in ALL)}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each measure, in turn (default {ROUNDS})")
    parser.add_argument("--record", action="store_true", help="write the tables to docs/benchmarks.md")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {each.name for each in ALL}
    if unknown:
        parser.error(
            f"no measure is called {', '.join(sorted(unknown))}: there are {', '.join(each.name for each in ALL)}"
        )
    if why := peers.ready(peers.GO):
        sys.stderr.write(f"the receiver {why}\n")
        return 2
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hookline-measures-")))
        kafka = RealKafka(folder)
        stack.callback(kafka.stop)
        stage = stack.enter_context(
            Stage(kafka.bootstrap, folder, Admin({"bootstrap.servers": kafka.bootstrap}), arguments.rounds)
        )
        for each in ALL:
            if arguments.names and each.name not in arguments.names:
                continue
            sys.stderr.write(f"{each.title} ...\n")
            rows = list(each.run(stage))
            text = f"### {each.title}\n\n{page.where(machine())} Rounds: {arguments.rounds}.\n\n{_table(rows)}"
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
            if arguments.record:
                page.record(each.name, text)
    return 0


def _table(rows: list[Row]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row.figures))
    aims = ["aim"] if any(row.aim for row in rows) else []
    lines = [[row.case, *(row.figures.get(name, "") for name in columns), *([row.aim] if aims else [])] for row in rows]
    return page.table(["", *columns, *aims], lines)


if __name__ == "__main__":
    sys.exit(main())
