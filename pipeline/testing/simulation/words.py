"""What customers said, and what each worker knows of it: tables of consent, suppressions and erasures.

Unlike a broker's topic it remembers when everything was said, so that it can be asked what was true within a time.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeline.model import NOTHING, Known
from pipeline.testing.stage.known import marked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.model import Mark
    from pipeline.ports import Acked, Clock

APPEND_S: Final = 0.002
"""How long a mark takes to be on the topic."""
READ_S: Final = 0.05
"""How long a word takes from there to a worker that follows."""


class Words:
    """All that was said, in the order it was. Times are those of `now_s`."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.erasures = False
        self.told: Callable[[str, Known], None] | None = None
        self._now_s = now_s
        self._of: dict[str, tuple[list[float], list[Known]]] = {}

    def say(self, customer_id: str, known: Known) -> None:
        """Let everything that is known of a customer be this from now on."""
        times, all_ = self._of.setdefault(customer_id, ([], []))
        times.append(self._now_s())
        all_.append(known)
        self.erasures = self.erasures or bool(known.erased_ms)
        if self.told is not None:
            self.told(customer_id, known)

    def at(self, customer_id: str, at_s: float) -> Known:
        """Return what was true at a time."""
        times, all_ = self._of.get(customer_id, ((), ()))
        index = bisect_right(times, at_s)
        return all_[index - 1] if index else NOTHING

    def within(self, customer_id: str, since_s: float) -> Iterator[Known]:
        """Return all that was true at any time since then."""
        yield self.at(customer_id, since_s)
        times, all_ = self._of.get(customer_id, ((), ()))
        yield from all_[bisect_right(times, since_s) :]


class Hearing:
    """One worker's tables: as far as it has followed. Implements ports.Tables and ports.Marks."""

    def __init__(self, words: Words, now_s: Callable[[], float], clock: Clock) -> None:
        self._words = words
        self._now_s = now_s
        self._clock = clock
        self._stopped_s: float | None = None
        self._unheard: list[Acked] = []
        self._dead = False
        self._loop = asyncio.get_running_loop()

    @property
    def erasures(self) -> bool:
        """See ports.Tables."""
        return self._words.erasures

    def known(self, customer_id: str) -> Known:
        """See ports.Tables."""
        if self._stopped_s is None:
            return self._words.at(customer_id, self._now_s() - READ_S)
        stale_ms = int((self._now_s() - self._stopped_s) * 1_000)
        return replace(self._words.at(customer_id, self._stopped_s), stale_ms=stale_ms)

    def write(self, customer_id: str, mark: Mark, now_ms: int, acked: Acked) -> bool:
        """See ports.Marks."""
        self._loop.call_later(APPEND_S, self._write, customer_id, mark, now_ms, acked)
        return True

    def stop(self) -> None:
        """Follow no further: what it knows gets older."""
        if self._stopped_s is None:
            self._stopped_s = self._now_s() - READ_S

    def go_on(self) -> None:
        """Hear of everything that was said meanwhile."""
        self._stopped_s = None
        unheard, self._unheard = self._unheard, []
        for acked in unheard:
            self._heard(acked)

    def end(self) -> None:
        """Be dead: nothing is written or heard any more."""
        self._dead = True

    def _write(self, customer_id: str, mark: Mark, now_ms: int, acked: Acked) -> None:
        if self._dead:
            return
        self._words.say(customer_id, marked(self._words.at(customer_id, self._now_s()), mark, now_ms))
        self._loop.call_later(READ_S + 1e-6, self._heard, acked)

    def _heard(self, acked: Acked) -> None:
        if self._dead:
            return
        if self._stopped_s is not None:
            self._unheard.append(acked)
        else:
            acked(None, None)
