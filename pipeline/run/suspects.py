"""Notes which record is being taken up, where a crash does not erase it; takes up alone what workers died over.

A record over which a worker died once is taken up when nothing else of the worker is under way and what was finished is
committed: if it crashes again, nothing else is done again. At CRASHES_MAX it is not taken up any more.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from pipeline.core.crashes import CRASHES_MAX, GIVEN_UP_MAX, Crashes
from pipeline.errors import Bug
from pipeline.model import FailureClass
from pipeline.ports import Halt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipeline.core.crashes import Position
    from pipeline.core.offsets import Tracker
    from pipeline.model import Record, SchemaRef
    from pipeline.ports import Clock
    from pipeline.run.reading import Foretell

ALONE_S: Final = 10.0
"""Longest wait until nothing else is under way; then the record is taken up all the same."""
QUIET_S: Final = 1.5
"""So long nothing has been under way before: what was finished is committed by then."""
HALT_S: Final = 5.0
"""So long it is told that an intake waits, after it last did."""
LOOK_S: Final = 0.05
"""How often is looked whether a record that was taken alone is settled."""


Take: TypeAlias = "Callable[[Record, Tracker, int], Any]"
"""Takes a record up."""


class Taking(Protocol):
    """Keeps, beyond the end of this process whatever its end is, which record is being taken up."""

    index: Mapping[str, int]
    """Number of each topic that is consumed, from 1."""
    note: Callable[[int, int, int], object]
    """Called with topic number, partition and offset of a record that is being taken up from now on; zeros: none is."""

    def read(self) -> bytes:
        """Return what is noted."""

    def write(self, noted: bytes) -> None:
        """Note what `read` returned before."""

    def blame(self) -> None:
        """Keep what is noted as the reason why this worker ends, whatever is noted afterwards."""


class Suspects:
    """Of one worker, shared by its intakes. All calls on the loop. Without `taking` nothing is noted."""

    def __init__(
        self,
        clock: Clock,
        unsettled: Callable[[], int],
        crashes: Crashes | None = None,
        taking: Taking | None = None,
        survived: Callable[[Position], None] | None = None,
    ) -> None:
        """`unsettled` says how many positions are open; `survived` is told of a record that did not crash again."""
        self._crashes = crashes or Crashes()
        self.known = self._crashes.suspects
        """The records over which workers died. Mostly empty: whoever takes records up asks that first."""
        self.index: Mapping[str, int] = taking.index if taking is not None else {}
        """Number of each topic, for `note`."""
        self.note: Callable[[int, int, int], object] = taking.note if taking is not None else _UNNOTED
        """Called with topic number, partition and offset before a record is taken up; with zeros after a turn."""
        self.give_up: Callable[[str, Record, Tracker, int], None] = _nobody
        """Ends a record of a role (of a source) without taking it up: run/process."""
        self._taking = taking
        self._clock = clock
        self._unsettled = unsettled
        self._survived = survived or self._forget
        self._loop = asyncio.get_running_loop()
        self._alone: object | None = None  # the intake that waits to take one alone, or has
        self._until_s = 0.0
        self._quiet_s = 0.0
        self._taken: Position | None = None
        self._halt: Halt | None = None
        self._halt_s = 0.0  # when that was last so

    def turn(self, queued: Iterable[Record], number: int) -> int:
        """Return how many of the next records make a turn: a suspect is one by itself, what is before it another."""
        for done, record in enumerate(islice(queued, number)):
            if _position(record) in self.known:
                return max(done, 1)
        return number

    def how(self, role: str, record: Record, take: Take) -> Take:
        """Return how a record is taken up: by `take`, unless it is given up."""
        given_up = self.known.get(_position(record), 0) >= CRASHES_MAX
        return partial(self.give_up, role) if given_up else take

    def holds(self, intake: object, record: Record) -> bool:
        """Whether an intake must wait before it takes up this one."""
        now_s = self._loop.time()
        others = self._alone is not None and self._alone is not intake and now_s < self._until_s
        if others or self._taken is not None:
            return True
        crashes = self.known.get(_position(record), 0)
        if crashes >= CRASHES_MAX:
            return self._too_many(record, now_s)
        return crashes > 0 and self._waits(intake, record, now_s)

    def foretell(self, by: Foretell, record: Record, now_ns: int) -> FailureClass | tuple[str, SchemaRef] | None:
        """Foretell what comes of a record, by what decodes it for that: it may die over it as well as take it up."""
        if self.known.get(_position(record), 0) >= CRASHES_MAX:
            return FailureClass.BUG
        with self.noting(record):
            return by(record, now_ns)

    def halts(self) -> list[Halt]:
        """Say that too many records kill workers, while an intake waits for that. May be called in any thread."""
        return [self._halt] if self._halt is not None and self._loop.time() - self._halt_s < HALT_S else []

    def _too_many(self, record: Record, now_s: float) -> bool:
        """Whether so many were given up lately that one more is no accident of a record."""
        now_ms = self._clock() // 1_000_000
        given_up = self._crashes.given_up(now_ms)
        if given_up <= GIVEN_UP_MAX:
            self._halt = None
            return False
        if not self.halts():
            why = f"workers died over {given_up} records within an hour"
            self._halt = Halt(f"taking up {record.topic}", now_ms, why, 0)
        self._halt_s = now_s
        return True

    def _waits(self, intake: object, record: Record, now_s: float) -> bool:
        """Whether something else is under way, or has just been; if not, the record is taken up now."""
        if self._alone is not intake:
            self._alone, self._until_s, self._quiet_s = intake, now_s + ALONE_S, 0.0
        if self._unsettled():
            self._quiet_s = 0.0
        else:
            self._quiet_s = self._quiet_s or now_s
        quiet = self._quiet_s and now_s - self._quiet_s >= QUIET_S
        if not quiet and now_s < self._until_s:
            return True
        self._taken, self._until_s = _position(record), now_s + ALONE_S
        self._loop.call_later(LOOK_S, self._look)
        return False

    def not_yet(self, record: Record) -> None:
        """Note that a record was not taken up after all: it waits, or is none of ours any more.

        That it did no harm says nothing then. Forgotten for it, it would count one crash at every start, for ever.
        """
        if self._taken == _position(record):
            self._taken = self._alone = None

    def blame(self) -> None:
        """Note that the worker ends over the record that is being taken up: an exception of ours, not a crash."""
        self._taken = None  # it did not survive
        if self._taking is not None:
            self._taking.blame()

    @contextmanager
    def noting(self, record: Record) -> Iterator[None]:
        """Note a record while something of it is done outside of a turn; and what was noted before, after that.

        An exception lets it be the one to blame.
        """
        if self._taking is None:
            yield
            return
        before = self._taking.read()
        self.note(self.index.get(record.topic, 0), record.partition, record.offset)
        try:
            yield
        except Exception:  # any of ours ends the worker: it is told which record it was over, and goes its way
            self.blame()
            raise
        finally:
            self._taking.write(before)

    def _forget(self, position: Position) -> None:
        self.known.pop(position, None)

    def _look(self) -> None:
        """Let others go on once the record that was taken alone is settled, or takes too long: then it may yet kill."""
        unsettled = self._unsettled() > 0
        if unsettled and self._loop.time() < self._until_s:
            self._loop.call_later(LOOK_S, self._look)
            return
        taken, self._taken, self._alone = self._taken, None, None
        if taken is not None and not unsettled:
            self._survived(taken)


_UNNOTED: Final = struct.Struct("=qqq").pack
"""Does nothing that anybody sees, at the cost of noting."""


def _nobody(_role: str, _record: Record, _tracker: Tracker, _now_ns: int) -> None:
    raise Bug("a record is to be given up, and nobody does it")


def _position(record: Record) -> Position:
    return record.topic, record.partition, record.offset
