"""`python -m tests.contract.appetite PORT TIMES`: what the memory of a sender's process grows by, in KiB.

The first exchange warms up; then TIMES more, each on a connection of its own if it has to be.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from pipeline.adapters.http import HttpSender
from pipeline.model import Failure
from pipeline.ports import LaneStats
from tests.contract.endpoint import destination, request


def peak_kib() -> int:
    """Largest resident set of this program, in KiB. Linux's own figure: that of getrusage begins with the parent's."""
    [line] = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1])


async def measure(port: int, times: int) -> int:
    """Growth of the largest resident set, in KiB, over the exchanges."""
    sender = HttpSender(destination(port), LaneStats())
    before_kib = 0
    for number in range(times + 1):
        connection = await sender.connect()
        assert not isinstance(connection, Failure), connection
        await asyncio.wait_for(connection.exchange(*request()), 20)
        connection.close()
        if number == 0:
            before_kib = peak_kib()
    await sender.close()
    return peak_kib() - before_kib


if __name__ == "__main__":
    print(uvloop.run(measure(int(sys.argv[1]), int(sys.argv[2]))))  # noqa: T201 - its result
