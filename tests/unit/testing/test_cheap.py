"""The cheap receiver of the bench: where requests end, and that it never outlives who started it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from pipeline.testing.cheap import delay_ms, request_end
from tests.support.conditions import wait_until

ONE = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nx: y\r\n\r\nabc"
TWO = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize("cut", range(len(ONE)))
def test_an_incomplete_request_has_no_end(cut):
    assert request_end(ONE[:cut], 0) == 0


def test_requests_end_after_their_body():
    assert request_end(ONE, 0) == len(ONE)
    assert request_end(ONE.replace(b"content-length:", b"Content-Length:"), 0) == len(ONE)
    assert request_end(ONE + TWO, len(ONE)) == len(ONE + TWO)
    assert request_end(TWO + ONE, len(TWO)) == len(TWO + ONE)
    assert request_end(TWO + ONE, 0) == len(TWO)


@pytest.mark.parametrize(("text", "ms"), [("0ms", 0), ("0", 0), ("100ms", 100), ("2s", 2_000)])
def test_delays(text, ms):
    assert delay_ms(text) == ms


def start(*options: str) -> tuple[subprocess.Popen, str]:
    argv = [sys.executable, "-m", "pipeline.testing.cheap", *options]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_it_answers_pipelined_and_split_requests_and_counts_them():
    process, url = start("--delay", "1ms")
    host, port = url.removeprefix("http://").split(":")

    async def talk():
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(ONE + TWO + ONE[:30])
        for _ in range(2):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 204 No Content\r\n\r\n"
        writer.write(ONE[30:])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 204 No Content\r\n\r\n"
        writer.close()
        await writer.wait_closed()

    asyncio.run(asyncio.wait_for(talk(), 10))
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert json.loads(rest) == {"requests": 3, "connections": 1, "bytes": 2 * len(ONE) + len(TWO)}


@pytest.mark.parametrize("module", ["pipeline.testing.cheap", "pipeline.testing.receiver"])
def test_it_ends_with_its_parent(module):
    starter = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-m', '{module}'], stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
    )
    pid = int(subprocess.run([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, check=True).stdout)
    wait_until(lambda: not alive(pid), what="the receiver's end")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123 - one that ended but was not waited for counts as ended
        return stat.read().rpartition(")")[2].split()[0] != "Z"
