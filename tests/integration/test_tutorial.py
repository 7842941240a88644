"""The tutorial, done as it is written: its files, its commands, in its order, on a real Kafka."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.children import Child
from tests.support.conditions import wait_until
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "first-journey.md"
COMMAND = r"^    ((?:hookline|python -m pipeline).*)$"
IN_A_TERMINAL_OF_ITS_OWN = ("hookline run", "python -m")


class Learner:
    """Does what the tutorial says; only topic, group and port are this test's own."""

    def __init__(self, folder: Path, bootstrap: str, name: str) -> None:
        content = TUTORIAL.read_text(encoding="utf-8")
        content = content.replace("first.events", f"{name}.events").replace("group: first", f"group: {name}")
        self.content = content.replace("8090", str(free_port()))
        self.folder = folder
        self.environ = {"KAFKA_BOOTSTRAP": bootstrap, "PYTHONPATH": str(ROOT)}
        self.terminals: list[Child] = []

    def write_files(self) -> None:
        for path, block in re.findall(r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", self.content, re.DOTALL):
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block)

    def commands(self) -> list[str]:
        return re.findall(COMMAND, self.content, re.MULTILINE)

    def do(self, command: str) -> subprocess.CompletedProcess[str]:
        words = shlex.split(command.replace("tests/data/", f"{ROOT}/tests/data/"))
        program = ["-m", "pipeline", *words[1:]] if words[0] == "hookline" else words[1:]
        argv = [sys.executable, *program]
        if command.startswith(IN_A_TERMINAL_OF_ITS_OWN):
            log = self.folder / f"terminal-{len(self.terminals)}.log"
            child = Child(["env", "-C", str(self.folder), *argv], log, **self.environ)
            self.terminals.append(child)
            started = "worker_started" if "run" in words else "http://"
            child.wait_ready(lambda: started in log.read_text(), 60)
            return subprocess.CompletedProcess(argv, 0)
        return subprocess.run(
            argv, cwd=self.folder, env={**os.environ, **self.environ}, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip


@pytest.fixture
def learner(tmp_path, kafka, unique):
    made = Learner(tmp_path, kafka.bootstrap, unique)
    yield made
    for terminal in reversed(made.terminals):
        terminal.stop()


def test_the_tutorial_works_as_written(learner) -> None:
    learner.write_files()
    shown = {}
    for command in learner.commands():
        if re.search(" (trace|account) ", command):  # people are slower than a worker: it is done by then
            wait_until(lambda said=command: learner.do(said).returncode == 0, 90, command)
        done = learner.do(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        shown[command.split()[1]] = done.stdout
    assert "valid" in shown["validate"]
    for number in ("100", "68", "32", "136"):
        assert re.search(rf"\b{number}\b", shown["account"]), f"{number}\n{shown['account']}"
    worker = next(terminal for terminal in learner.terminals if "worker_started" in terminal.log.read_text())
    worker.stop()
    assert worker.returncode == 0
