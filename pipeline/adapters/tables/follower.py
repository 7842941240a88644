"""Keeps the file at the end of the two topics: in one worker of a machine at a time, in a thread of its own.

Whoever has the folder's lock follows; the others look for the lock, and go on with the same file when a follower is
gone. From one that stands still, and may wake up at any instruction, the lock is taken over, and a copy of the file is
gone on with: what the other one still writes goes into a file that nobody reads any more. While the end cannot be
reached or seen, `caught_up_ms` stands still, and gates hold once that is too long ago.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.adapters.kafka.compacted import GoneError
from pipeline.adapters.tables.folder import LeftError, TakenError
from pipeline.adapters.tables.pulse import BEAT_S, Pulse
from pipeline.adapters.tables.store import BusyError, DamagedError, Store
from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.adapters.kafka.compacted import Compacted
    from pipeline.adapters.tables.folder import Folder
    from pipeline.adapters.tables.store import Change
    from pipeline.model import Record

LOOK_S: Final = 1.0
"""How often a worker that does not follow tries to."""
ASK_S: Final = 1.0
"""How often the broker is asked where the topics end."""
AGAIN_S: Final = 1.0
"""Wait after trouble with the broker or the disk."""
PROGRESS_S: Final = 5.0
"""Between two lines on how far the first reading is."""
STOP_S: Final = 5.0
"""Bound on the thread's end."""
OLD_MS: Final = 43_200_000
"""A file that was at the end longer ago than this is not gone on with. Kafka keeps a tombstone for delete.retention.ms
(a day, and `topics check` asks for no less): an older file may have missed a withdrawal that nobody can read any more.
"""

CAUGHT_UP: Final = "caught_up_ms"
"""When the file was last known to be at the end of both topics, Unix ms."""


class Changes(Protocol):
    """What turns records into changes of the file: see records.Records and rows.RowRecords."""

    def change(self, record: Record) -> Change | None:
        """Return what a record changes, None for nothing. May block; raises BrokerError for what is asked again."""


class Follower:
    """Built and started on any thread; all work is done on its own. `open_topics` blocks, and raises BrokerError."""

    def __init__(
        self,
        folder: Folder,
        open_topics: Callable[[], Compacted],
        records: Changes,
        clock: Callable[[], int],
        log: Callable[..., None],
        fatal: Callable[[BaseException], None],
    ) -> None:
        """`clock` is Unix ns; `fatal` is told, on the thread, of a bug of ours: then nothing is followed any more."""
        self._folder = folder
        self._open_topics = open_topics
        self._records = records
        self._clock = clock
        self._log = log
        self._fatal = fatal
        self._stopping = threading.Event()
        self._renew = False
        self._taken_over = False
        self._said = ""
        self._pulse = Pulse(folder.pulse)
        self._thread = threading.Thread(target=self._run, name="follow-tables", daemon=True)
        self._beats = threading.Thread(target=self._beat, name="beat-tables", daemon=True)

    def start(self) -> None:
        """Begin. Does not block."""
        self._thread.start()
        self._beats.start()

    def stop(self) -> None:
        """End; blocks for STOP_S at most. Whoever waits for the lock follows within LOOK_S."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_S)

    # --------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        wait_s = 0.0
        try:
            while not self._stopping.wait(wait_s):
                wait_s = LOOK_S
                if self._folder.lock() or self._takes_over():
                    wait_s = self._turn()
        except Exception as error:  # noqa: BLE001 - our bug: a worker whose tables nobody follows must not look well
            self._fatal(error)
        finally:
            self._folder.unlock()

    def _beat(self) -> None:
        while not self._stopping.wait(BEAT_S):
            self._folder.beat()

    def _takes_over(self) -> bool:
        """Take the lock from a worker that stands still, if there is one."""
        if not self._pulse.still():
            return False
        try:
            self._folder.take_over()
        except OSError:
            return False  # a full disk: the next look tries again
        self._taken_over = True
        self._log("warning", "tables_taken_over", detail="the worker that followed them stands still")
        return True

    def _turn(self) -> float:
        """Follow until something is wrong; return how long to wait before it is tried again."""
        try:
            self._follow()
        except (DamagedError, GoneError, LeftError) as error:
            self._renew = True
            self._log("warning", "tables_read_anew", why=str(error) or "the topics are others than those read")
            return AGAIN_S
        except TakenError:
            self._taken_over = False
            self._log("warning", "tables_left", detail="this worker stood still, or somebody removed its lock")
            return AGAIN_S
        except (BrokerError, BusyError, OSError) as error:
            # The text of an OSError has a path in it, which is nobody's business in a log that is sent elsewhere.
            said = error.strerror or "" if isinstance(error, OSError) else str(error).splitlines()[0]
            if said != self._said:
                self._log("warning", "tables_not_followed", detail=said)
            self._said = said
        return AGAIN_S

    def _follow(self) -> None:
        topics = self._open_topics()
        try:
            store = self._store(topics.place)
            try:
                self._keep_up(topics, store)
            finally:
                store.close()
        finally:
            topics.close()

    def _store(self, place: str) -> Store:
        """Open the file there is if it can be gone on with, else make a new one."""
        file = self._folder.current()
        if file is not None and place and not self._renew and file.exists():
            try:
                if (store := self._opened(file, place)) is not None:
                    return store
            except BusyError:
                if not self._taken_over:  # else it is held by whoever stands still
                    raise
        return self._new(place)

    def _opened(self, file: Path, place: str) -> Store | None:
        try:
            store = Store(file)
        except DamagedError as error:
            self._log("warning", "tables_read_anew", why=str(error))
            return None
        if not self._folder.accused(file) and self._usable(store, place):
            return self._own(store)
        store.close()
        return None

    def _own(self, store: Store) -> Store:
        """Return a file that nobody else writes: `store`, or a copy if its follower may wake up and write on.

        The right to follow is looked at once the file is open: what is opened under it is never the copy of whoever
        took it over, for that is made after.
        """
        if not self._folder.ours():
            store.close()
            raise TakenError
        if not self._taken_over:
            return store
        file = self._folder.fresh()
        try:
            store.copy(file)
            self._folder.turn_to(file)
        except BaseException:  # whatever it was goes on its way; half a file must not stay
            file.unlink(missing_ok=True)
            raise
        finally:
            store.close()
        self._taken_over = False
        return Store(file)

    def _new(self, place: str) -> Store:
        file: Path = self._folder.fresh()
        store = Store(file, create=True)
        try:
            store.note(place=place)
            if not self._folder.ours():
                raise TakenError  # noqa: TRY301 - tidied up like whatever else goes wrong here
            self._folder.turn_to(file)
        except BaseException:  # whatever it was goes on its way; half a file must not stay
            store.close()
            file.unlink(missing_ok=True)
            raise
        self._renew = self._taken_over = False
        return store

    def _usable(self, store: Store, place: str) -> bool:
        """Whether a file can be gone on with; says why not."""
        why = ""
        try:
            last_ms = int(store.fact(CAUGHT_UP) or 0)
            if store.fact("place") != place:
                why = "the topics are others than those read"
            elif not last_ms:
                why = "it was never read to the end"  # and so it is not safe from a power cut: see Store.keep
            elif not 0 <= self._now_ms() - last_ms < OLD_MS:
                why = "it is too old to go on with"
            else:
                store.check()
        except (DamagedError, ValueError) as error:
            why = f"damaged: {type(error).__name__}"
        if why:
            self._log("warning", "tables_read_anew", why=why)
        return not why

    def _keep_up(self, topics: Compacted, store: Store) -> None:
        progress = _Progress(topics.begin(store.positions()), self._log)
        kept = bool(store.fact(CAUGHT_UP))
        ask_s = 0.0
        while not self._stopping.is_set():
            records, moved = topics.take()
            if moved:
                changes = [change for record in records if (change := self._records.change(record)) is not None]
                store.apply(changes, moved)
            now_s = time.monotonic()
            if now_s >= ask_s:
                ask_s = now_s + ASK_S
                self._folder.hold(store.path)
                asked_ms = self._now_ms()  # before the question: what it is answered with may be older, never younger
                left = topics.behind()
                progress.note(left)
                if left == 0:
                    if not kept:
                        store.keep()
                        kept = True
                    store.note(**{CAUGHT_UP: str(asked_ms)})
                    self._said = ""

    def _now_ms(self) -> int:
        return self._clock() // 1_000_000


class _Progress:
    """Says how far the first reading is, and when it is done."""

    def __init__(self, total: int, log: Callable[..., None]) -> None:
        self._total = total
        self._log = log
        self._began_s = time.monotonic()
        self._next_s = self._began_s + PROGRESS_S
        self._done = False

    def note(self, left: int) -> None:
        """Take how many offsets are still to be read."""
        now_s = time.monotonic()
        took_s = now_s - self._began_s
        if left == 0 and not self._done:
            self._done = True
            self._log("info", "tables_caught_up", records=self._total, seconds=round(took_s, 1))
        elif left and not self._done and now_s >= self._next_s:
            self._next_s = now_s + PROGRESS_S
            per_s = max(self._total - left, 0) / took_s
            eta_s = round(left / per_s) if per_s else None
            self._log(
                "info", "tables_catching_up", records=self._total - left, of=self._total, per_s=round(per_s),
                eta_s=eta_s,
            )  # fmt: skip
