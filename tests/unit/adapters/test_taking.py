"""adapters/taking: what a process took up last outlives it, however it ended; a living one's is its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pipeline.adapters.taking import SIZE_BYTES, Taking, found

TOPICS = ("shop.orders", "g.retry.10s")
DIES = """
import ctypes, os, signal, sys
from pathlib import Path
from pipeline.adapters.taking import Taking
taking = Taking(Path(sys.argv[1]), ("shop.orders", "g.retry.10s"))
taking.note(taking.index["g.retry.10s"], 3, 2**40)
how = sys.argv[2]
if how == "segfault":
    ctypes.string_at(0)
elif how == "exit":
    os._exit(3)
elif how == "idle":
    taking.note(0, 0, 0)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("how", "code"), [("segfault", -signal.SIGSEGV), ("exit", 3), ("kill", -signal.SIGKILL)])
def test_what_a_process_died_over_is_found_once(tmp_path, how, code):
    ended = subprocess.run([sys.executable, "-c", DIES, str(tmp_path), how], capture_output=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert found(tmp_path) == [("g.retry.10s", 3, 2**40)]
    assert found(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_one_that_died_between_two_records_blames_none(tmp_path):
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path), "idle"], capture_output=True, check=False)
    assert found(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_a_living_process_notes_is_its_own(tmp_path):
    made = Taking(tmp_path, TOPICS)
    made.note(1, 0, 7)
    assert found(tmp_path) == []
    made.note(0, 0, 0)
    made.close()
    made.close()
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_what_was_to_blame_whatever_is_noted_then(tmp_path):
    made = Taking(tmp_path, TOPICS)
    made.note(1, 0, 7)
    made.blame()
    made.note(2, 1, 8)
    made.note(0, 0, 0)
    made.close()
    assert found(tmp_path) == [("shop.orders", 0, 7)]


def test_what_was_noted_can_be_put_back(tmp_path):
    made = Taking(tmp_path, TOPICS)
    made.note(1, 0, 7)
    before = made.read()
    made.note(2, 1, 8)
    made.write(before)
    assert made.read() == before
    made.close()
    assert found(tmp_path) == [("shop.orders", 0, 7)]


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\xff" * 200, os.urandom(SIZE_BYTES + 10)])
def test_damage_says_nothing_and_goes(tmp_path, content):
    (tmp_path / "taking-1-x").write_bytes(content)
    assert found(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_topics_that_do_not_fit_are_not_watched(tmp_path):
    topics = tuple(f"{number:0200d}" for number in range(1_000))
    made = Taking(tmp_path, topics)
    made.note(made.index[topics[-1]], 0, 7)
    made.close()
    assert found(tmp_path) == []
