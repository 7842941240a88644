"""Answers what the tables say of a customer, from the file that some worker of the machine keeps up to date."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.adapters.tables.follower import CAUGHT_UP
from pipeline.adapters.tables.store import BusyError, DamagedError, Store, hashed
from pipeline.core import tables
from pipeline.model import Known

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipeline.adapters.tables.folder import Folder

LOOK_S: Final = 0.25
"""How often it is looked which file counts, and when that was last at the end of its topics."""
FEW: Final = 4_096
"""Entries up to which it is known in memory who has any: 0.5 MB, and a millisecond a second to look again."""
NEVER_MS: Final = 1 << 53
"""How far a table is behind that cannot be read at all."""
_NO_TABLE: Final = Known({}, stale_ms=NEVER_MS)


class FileTables:
    """Implements ports.Tables. Lives on the loop; a look-up takes 1 to 5 µs and reads the disk at worst.

    The look-ups of one turn of the loop are one transaction: they see the file as it was at the first of them, which
    was milliseconds ago. Most of what a look-up costs is to begin one. While the file is as it was when its few
    customers were read, nobody else is looked up.
    """

    def __init__(self, folder: Folder, clock: Callable[[], int], log: Callable[..., None]) -> None:
        """`clock` is Unix ns. Nothing is read before `start`."""
        self._folder = folder
        self._clock = clock
        self._log = log
        self._file: Path | None = None
        self._store: Store | None = None
        self._caught_up_ms = 0
        self.erasures = True
        """See ports.Tables; looked at every LOOK_S."""
        self._timer: asyncio.TimerHandle | None = None
        self._turn: Store | None = None
        """The file that is looked at until the loop's next turn, as `_version` says."""
        self._version = 0
        self._few: frozenset[bytes] | None = None
        self._few_version = 0
        """Who has an entry, if these are few, and the version of the file that this holds for."""
        self._nobody = Known({})
        """The answer about customers of whom the file says nothing, as of `_nobody_ms`."""
        self._nobody_ms = 0

    def start(self) -> None:
        """Look now, and every LOOK_S from now on."""
        self._look()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self.start)

    async def whole(self) -> None:
        """Wait until all that is on the topics by now is in the file. Waits as long as that takes: cancel it."""
        now_ms = self._clock() // 1_000_000
        while self._caught_up_ms < now_ms:
            await asyncio.sleep(LOOK_S / 5)

    def known(self, customer_id: str) -> Known:
        """See ports.Tables."""
        if self._store is None:
            return _NO_TABLE
        customer = hashed(customer_id.encode("utf-8", "replace"))
        try:
            store = self._turn or self._begun()
            nobody = self._few is not None and self._few_version == self._version and customer not in self._few
            entries = None if nobody else store.of(customer)
        except (DamagedError, BusyError) as error:
            self._failed(error)
            return _NO_TABLE
        now_ms = self._clock() // 1_000_000
        if entries:
            return tables.known(entries, abs(now_ms - self._caught_up_ms))
        if now_ms != self._nobody_ms:
            self._nobody, self._nobody_ms = Known({}, stale_ms=abs(now_ms - self._caught_up_ms)), now_ms
        return self._nobody

    def _begun(self) -> Store:
        """Begin to look at the file as it is now, until the loop's next turn."""
        assert self._store is not None
        self._version = self._store.begin()
        self._turn = self._store
        asyncio.get_running_loop().call_soon(self._turned)
        return self._turn

    def _turned(self) -> None:
        store, self._turn = self._turn, None
        if store is None or store is not self._store:
            return  # closed since
        try:
            store.end()
        except (DamagedError, BusyError) as error:
            self._failed(error)

    def stale_ms(self) -> int:
        """Return how far the tables may be behind; a clock that was put back counts as much."""
        return abs(self._clock() // 1_000_000 - self._caught_up_ms) if self._store is not None else NEVER_MS

    def has(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a record is in the file."""
        if self._store is None:
            return False
        try:
            return self._store.positions().get((topic, partition), 0) > offset
        except (DamagedError, BusyError) as error:
            self._failed(error)
            return False

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._timer is not None:
            self._timer.cancel()
        self._leave()

    # ---------------------------------------------------------------------------------------------- the file

    def _look(self) -> None:
        try:
            file = self._folder.current()
            if file != self._file or self._store is None:
                self._leave()
                if file is None:
                    return
                self._store, self._file = Store(file), file
            store = self._turn or self._begun()
            self._nobody_ms = 0
            self._caught_up_ms = int(store.fact(CAUGHT_UP) or 0)
            self.erasures = self._caught_up_ms == 0 or store.erasures()
            if self._few_version != self._version:
                self._few, self._few_version = store.customers(FEW), self._version
        except (DamagedError, BusyError, ValueError) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Answer nothing from this file until the next look; a damaged one is to be made anew by whoever follows."""
        file = self._file or self._folder.current()
        if not isinstance(error, BusyError) and file is not None and not self._folder.accused(file):
            self._log("warning", "tables_damaged", code=str(error))
            self._folder.accuse(file)
        self._leave()

    def _leave(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store, self._file, self._caught_up_ms, self.erasures = None, None, 0, True
        self._turn, self._few, self._few_version, self._nobody_ms = None, None, 0, 0
