"""Where the tables are: closed to others, one follower at a time, and a new file beside a damaged one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.tables.folder import Folder, FolderError, LeftError, TakenError, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLDS = """
import sys, time
from pathlib import Path
from pipeline.adapters.tables.folder import Folder
folder = Folder(Path(sys.argv[1]))
print(folder.lock(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    found = Folder(tmp_path)
    yield found
    found.unlock()


def made(folder: Folder) -> Path:
    file = folder.fresh()
    file.touch()
    return file


def test_the_folder_is_this_users_alone_and_named_by_group_and_cluster(tmp_path: Path):
    found = place(str(tmp_path / "state"), "shop/eu", "Abc-1", {})
    assert found == tmp_path / "state" / "shop_eu@Abc-1"
    assert found.stat().st_mode & 0o777 == 0o700
    assert place(str(tmp_path / "state"), "shop/eu", "Abc-1", {}) == found


def test_where_nothing_is_said_it_is_where_state_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = str(tmp_path / "home")
    assert place("", "g", "c", {"HOME": home}) == tmp_path / "home/.local/state/hookline/g@c"
    xdg = {"HOME": home, "XDG_STATE_HOME": str(tmp_path / "xdg")}
    assert place("", "g", "c", xdg) == tmp_path / "xdg/hookline/g@c"
    assert place("", "g", "c", {**xdg, "STATE_DIRECTORY": f"{tmp_path}/sd:/other"}) == tmp_path / "sd/g@c"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
    (tmp_path / "file").touch()
    for nowhere in ({}, {"HOME": str(tmp_path / "file")}):
        assert place("", "g", "c", nowhere).parent.parent == tmp_path / "temp"


def test_a_folder_others_could_read_or_have_made_is_refused(tmp_path: Path):
    (tmp_path / "g@c").mkdir(mode=0o755)
    with pytest.raises(FolderError, match="0700"):
        place(str(tmp_path), "g", "c", {})
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "h@c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="0700"):
        place(str(tmp_path), "h", "c", {})
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="state_dir") as error:
        place(str(tmp_path / "file"), "g", "c", {})
    assert str(tmp_path) not in str(error.value)


def test_the_new_file_takes_the_old_ones_place_in_one_step(folder: Folder):
    assert folder.current() is None
    first = made(folder)
    folder.turn_to(first)
    first.with_name(first.name + "-wal").touch()
    assert folder.current() == first
    second = made(folder)
    folder.turn_to(second)
    assert folder.current() == second
    assert {path.name for path in folder.path.iterdir()} == {"current", second.name}


@pytest.mark.parametrize("said", ["", "../x.db", "tables-1.db", "x" * 1000, "\ud83d"])
def test_a_pointer_that_names_no_file_of_ours_names_none(folder: Folder, said: str):
    (folder.path / "current").write_text(said, errors="replace")
    assert folder.current() is None


def test_one_follows_at_a_time_and_a_dead_one_is_replaced(folder: Folder):
    other = subprocess.Popen([sys.executable, "-c", HOLDS, str(folder.path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    assert not folder.lock()
    other.send_signal(signal.SIGKILL)
    other.wait(10)
    other.stdout.close()
    assert folder.lock()
    assert folder.lock(), "whoever has it keeps it"
    another = Folder(folder.path)
    assert not another.lock()
    folder.unlock()
    folder.unlock()
    assert another.lock()
    another.unlock()


def test_a_follower_sees_that_its_file_was_found_damaged(folder: Folder):
    assert folder.lock()
    file = made(folder)
    folder.turn_to(file)
    folder.hold(file)
    folder.accuse(file)
    assert folder.accused(file)
    with pytest.raises(LeftError, match="damaged"):
        folder.hold(file)
    folder.turn_to(file := made(folder))
    folder.hold(file)


STOPS = """
import os, signal, sys
from pathlib import Path
from pipeline.adapters.tables.folder import Folder
folder = Folder(Path(sys.argv[1]))
print(folder.lock(), flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
print(folder.ours(), folder.lock(), flush=True)
"""


def test_from_one_that_is_stopped_the_right_is_taken_and_it_finds_out_when_it_wakes(folder: Folder):
    other = subprocess.Popen([sys.executable, "-c", STOPS, str(folder.path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    os.waitid(os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)
    assert not folder.lock()
    folder.take_over()
    assert folder.ours()
    folder.turn_to(file := made(folder))
    folder.hold(file)
    other.send_signal(signal.SIGCONT)
    assert other.stdout.readline() == "False False\n"
    other.wait(10)
    other.stdout.close()
    assert folder.lock()
    assert not list(folder.path.glob("follower.lock.*"))


def test_of_two_that_take_over_at_once_one_follows(folder: Folder):
    other = Folder(folder.path)
    other.take_over()
    folder.take_over()
    assert (other.ours(), folder.ours()) == (False, True)
    with pytest.raises(TakenError):
        other.hold(made(other))
    assert not other.lock()
    assert folder.lock()


def test_only_whoever_follows_shows_that_it_lives(folder: Folder):
    other = Folder(folder.path)
    assert folder.pulse() == (0, 0)
    assert folder.lock()
    before = other.pulse()
    other.beat()
    assert other.pulse() == before
    folder.beat()
    assert other.pulse() > before
    folder.unlock()
    before = other.pulse()
    folder.beat()
    assert other.pulse() == before


def test_a_lock_that_was_removed_is_given_up_and_may_be_had_again(folder: Folder):
    assert folder.lock()
    folder.turn_to(file := made(folder))
    (folder.path / "follower.lock").unlink()
    with pytest.raises(TakenError):
        folder.hold(file)
    assert folder.lock()
    folder.hold(file)


@pytest.mark.parametrize("removed", ["current", "tables-*"])
def test_a_follower_sees_that_somebody_tidied_up(folder: Folder, removed: str):
    assert folder.lock()
    file = made(folder)
    folder.turn_to(file)
    for path in folder.path.glob(removed):
        path.unlink()
    with pytest.raises(LeftError, match="removed"):
        folder.hold(file)
    assert folder.lock()
