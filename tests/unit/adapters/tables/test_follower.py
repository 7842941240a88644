"""When a file is gone on with and when it is read anew; what only a real Kafka shows is in integration/test_tables."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.kafka.compacted import GoneError
from pipeline.adapters.tables import follower as module
from pipeline.adapters.tables import pulse
from pipeline.adapters.tables.folder import Folder
from pipeline.adapters.tables.follower import OLD_MS, Follower
from pipeline.adapters.tables.store import BusyError, DamagedError, Store
from pipeline.core import tables
from pipeline.errors import BrokerError
from pipeline.model import Record
from pipeline.testing.fakes import FakeClock
from tests.support.conditions import wait_until
from tests.support.tables import Lines, records

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOPICS = ("g.consent", "g.suppressions")
NOW_MS = 1_700_000_000_000
GRANTED = tables.encode(tables.CONSENT, {"said": {"email": {"state": "granted", "at": 5}}})


class Topics:
    """A log of both topics, as `Compacted` reads it. `trouble` is raised once by the next question."""

    def __init__(self) -> None:
        self.log: list[Record] = []
        self.place = "cluster one two"
        self.begun: list[int] = []
        self.trouble: Exception | None = None
        self.closed = 0
        self._next = 0

    def add(self, customer: str, value: bytes | None = GRANTED) -> None:
        self.log.append(Record(TOPICS[0], 0, len(self.log), customer.encode(), value, (), NOW_MS))

    def begin(self, positions: Mapping[tuple[str, int], int]) -> int:
        self._next = positions.get((TOPICS[0], 0), 0)
        self.begun.append(self._next)
        if self._next > len(self.log):
            raise GoneError
        return len(self.log) - self._next

    def take(self) -> tuple[list[Record], dict[tuple[str, int], int]]:
        time.sleep(0.005)
        found = self.log[self._next : self._next + 2]
        self._next += len(found)
        return found, {(TOPICS[0], 0): self._next} if found else {}

    def behind(self) -> int:
        trouble, self.trouble = self.trouble, None
        if trouble is not None:
            raise trouble
        return len(self.log) - self._next

    def close(self) -> None:
        self.closed += 1


class Scene:
    def __init__(self, path: Path) -> None:
        self.folder = Folder(path)
        self.topics = Topics()
        self.clock = FakeClock(NOW_MS)
        self.log = Lines()
        self.errors: list[BaseException] = []
        self.running: list[Follower] = []
        self.opened: list[object] = []

    def open_topics(self) -> Topics:
        self.opened.append(1)
        return self.topics

    def follow(self) -> Follower:
        follower = Follower(
            Folder(self.folder.path), self.open_topics, records(TOPICS, self.log), self.clock, self.log,  # type: ignore[arg-type]
            self.errors.append,
        )  # fmt: skip
        follower.start()
        self.running.append(follower)
        return follower

    def wait(self, customer: str, granted: bool = True) -> Store:  # noqa: FBT001, FBT002
        """Wait until the current file knows of a customer and is at the end."""

        def there() -> Store | None:
            file = self.folder.current()
            if file is None or not file.exists():
                return None
            try:
                store = Store(file)
            except (DamagedError, BusyError):  # as it is replaced
                return None
            entries = store.entries(customer)
            if tables.known(entries, 0).consent and store.fact("caught_up_ms"):
                return store
            store.close()
            return None

        return wait_until(there, 20, f"{customer} in the file")

    def said(self, event: str) -> list[str]:
        return [str(line.get("why", line.get("detail", ""))) for line in self.log.of(event)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for wait in ("LOOK_S", "ASK_S", "AGAIN_S"):
        monkeypatch.setattr(module, wait, 0.02)


@pytest.fixture
def scene(tmp_path: Path):
    made = Scene(tmp_path)
    yield made
    for each in made.running:
        each.stop()
    assert made.errors == []


def test_a_file_is_gone_on_with_from_where_it_is(scene: Scene):
    for number in range(5):
        scene.topics.add(f"c-{number}")
    first = scene.follow()
    store = scene.wait("c-4")
    first.stop()
    scene.topics.add("c-5")
    scene.follow()
    scene.wait("c-5").close()
    assert scene.topics.begun == [0, 5]
    assert store.path == scene.folder.current()
    store.close()
    assert (scene.said("tables_read_anew"), len(scene.log.of("tables_caught_up"))) == ([], 2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda scene: setattr(scene.topics, "place", "another cluster"), "others"),
        (lambda scene: scene.topics.log.clear(), "others"),  # made anew under the same IDs, as far as can be seen
        (lambda scene: scene.clock.advance(OLD_MS), "old"),
        (lambda scene: scene.clock.advance(-3_600_000), "old"),
        (lambda scene: scene.folder.accuse(scene.folder.current()), ""),
        (lambda scene: scene.folder.current().write_bytes(b"x" * 4_096), "NOTADB"),
        (lambda scene: (scene.folder.path / "current").unlink(), ""),
        (lambda scene: scene.folder.current().unlink(), ""),
        (lambda scene: setattr(scene.topics, "place", ""), ""),  # an embedded broker, whose topics are never the same
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_gone_on_with_is_read_anew(scene: Scene, change, why: str):
    for number in range(3):
        scene.topics.add(f"c-{number}")
    first = scene.follow()
    store = scene.wait("c-2")
    store.close()
    first.stop()
    change(scene)
    scene.topics.add("new")
    scene.follow()
    scene.wait("new").close()
    assert scene.topics.begun[-1] == 0
    assert scene.folder.current() != store.path
    assert not store.path.exists()
    assert all(why in said for said in scene.said("tables_read_anew"))
    assert bool(scene.said("tables_read_anew")) or not why


def test_a_file_found_damaged_while_it_is_followed_is_read_anew(scene: Scene):
    scene.topics.add("c-0")
    scene.follow()
    store = scene.wait("c-0")
    scene.folder.accuse(store.path)
    wait_until(lambda: scene.folder.current() != store.path)
    scene.wait("c-0").close()
    store.close()
    assert scene.topics.begun == [0, 0]


def test_trouble_with_the_broker_leaves_the_file_and_is_told_once(scene: Scene):
    scene.topics.add("c-0")
    scene.follow()
    scene.wait("c-0").close()
    scene.topics.trouble = BrokerError("Kafka is away")
    wait_until(lambda: scene.said("tables_not_followed"))
    scene.topics.add("c-1")
    scene.wait("c-1").close()
    assert scene.said("tables_not_followed") == ["Kafka is away"]
    assert scene.topics.begun == [0, 1]
    assert scene.topics.closed == 1


def test_a_file_that_was_never_read_to_the_end_is_read_anew(scene: Scene):
    scene.topics.add("c-0")
    scene.topics.trouble = BrokerError("Kafka is away")
    scene.follow()
    scene.wait("c-0").close()
    assert scene.topics.begun == [0, 0]
    assert scene.said("tables_read_anew") == ["it was never read to the end"]


def test_one_follows_and_the_other_goes_on_when_it_stops(scene: Scene):
    scene.topics.add("c-0")
    first = scene.follow()
    scene.wait("c-0").close()
    scene.follow()
    first.stop()
    scene.topics.add("c-1")
    scene.wait("c-1").close()
    assert scene.topics.begun == [0, 1]


def test_a_withdrawal_by_tombstone_denies_from_its_time_on(scene: Scene):
    scene.topics.add("c-0")
    scene.topics.add("c-0", None)
    scene.follow()
    store = wait_until(lambda: scene.wait("c-0"))
    (word,) = tables.known(store.entries("c-0"), 0).consent.values()
    assert (word.granted, word.at_ms) == (False, NOW_MS)
    store.close()


def test_a_bug_is_told_to_the_worker(tmp_path: Path):
    scene = Scene(tmp_path)

    def broken() -> Topics:
        raise ZeroDivisionError

    scene.open_topics = broken  # type: ignore[method-assign]
    follower = scene.follow()
    wait_until(lambda: scene.errors)
    follower.stop()
    assert isinstance(scene.errors[0], ZeroDivisionError)
    free = Folder(tmp_path)
    assert free.lock()
    free.unlock()


STANDS_STILL = """
import os, signal, sqlite3, sys
from pathlib import Path
from pipeline.adapters.tables.folder import Folder
folder = Folder(Path(sys.argv[1]))
assert folder.lock()
file = sqlite3.connect(folder.current(), isolation_level=None)
for statement in sys.argv[2:]:
    file.execute(statement)
print("stands still", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
file.execute("insert or replace into position values('g.consent', 0, 1)")
file.execute("delete from entry")
file.execute("commit")
print(folder.lock(), flush=True)
"""
"""Follows, and is stopped in the middle of a transaction; when it wakes it goes on where it was."""


@pytest.mark.parametrize(
    ("statements", "begun"),
    [(["begin immediate"], 5), (["pragma locking_mode = exclusive", "begin exclusive"], 0)],
    ids=["writing", "locked-whole"],
)
def test_from_one_that_stands_still_while_it_writes_the_tables_are_taken_over(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, statements: list[str], begun: int
):
    for number in range(5):
        scene.topics.add(f"c-{number}")
    first = scene.follow()
    scene.wait("c-4").close()
    first.stop()
    monkeypatch.setattr(pulse, "STILL_S", 0.3)
    argv = [sys.executable, "-c", STANDS_STILL, str(scene.folder.path), *statements]
    other = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "stands still\n"
    old = scene.folder.current()
    scene.topics.add("c-5")
    scene.follow()
    scene.wait("c-5").close()
    assert scene.topics.begun[-1] == begun
    assert scene.folder.current() != old
    assert len(scene.log.of("tables_taken_over")) == 1
    other.send_signal(signal.SIGCONT)
    assert other.stdout.readline() == "False\n"
    other.stdout.close()
    other.wait(10)
    scene.topics.add("c-6")
    store = scene.wait("c-6")
    assert all(store.entries(f"c-{number}") for number in range(7)), "what it wrote on is in nobody's tables"
    store.close()


def test_one_that_was_taken_over_from_leaves_the_others_file_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    """It wakes between two instructions of any kind: here, as it asks for the lock it believes it has."""
    scene.topics.add("c-0")
    first = scene.follow()
    scene.wait("c-0").close()
    other = Folder(scene.folder.path)
    other.take_over()
    wait_until(lambda: scene.log.of("tables_left"))
    store = Store(scene.folder.current() or scene.folder.path)
    noted = store.fact("caught_up_ms")
    scene.clock.advance(5_000)
    time.sleep(0.2)  # nothing happens, for several of its turns
    assert store.fact("caught_up_ms") == noted
    other.unlock()
    wait_until(lambda: store.fact("caught_up_ms") != noted)
    assert scene.topics.begun[-1] == 1, "the same file is gone on with"
    assert not scene.log.of("tables_read_anew")
    store.close()
    first.stop()
