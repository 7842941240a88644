"""Look-ups as a worker lives with them: a customer's link is what the topic said last of that one, and no other's."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pipeline.adapters.tables import Folder
from pipeline.adapters.tables.follower import CAUGHT_UP
from pipeline.adapters.tables.rows import FileRows
from pipeline.adapters.tables.store import Store
from pipeline.testing.fakes import FakeTelemetry
from tests.unit.adapters.tables.test_tables_rows import NOW_MS, Scene, value

CUSTOMERS = st.sampled_from(["c-1", "c-2", "C-1", "c-1 ", "c-1\0x", "ü", "u\u0308", "x" * 300]) | st.text(max_size=3)
SAID = st.sampled_from(["a-1", "a-2", "", "ü" * 50])
NOT_READ = st.sampled_from([b"", b"junk", value(None), value("a-1")[:7]])
LAG_MAX_MS = 30_000


class Links(RuleBasedStateMachine):
    """The model is a dict for what was written, and one for what a reader has seen of it since its last look."""

    @initialize()
    def start(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.scene = Scene()
        self.written: dict[str, str] = {}
        self.now_ms, self.caught_up_ms, self.files = NOW_MS, NOW_MS, 0
        self.store: Store | None = None
        self.rows = FileRows(Folder(self.place), lambda: self.now_ms * 1_000_000, FakeTelemetry().log)
        self.filled_anew()

    def apply(self, customer: str, content: bytes | None, said: str) -> None:
        assert self.store is not None
        change = self.scene.change(customer.encode(), content)
        if customer:
            self.store.apply([change], {("crm.ids", 0): 1})
            self.written.pop(customer, None)
            if said:
                self.written[customer] = said

    @rule(customer=CUSTOMERS, said=SAID)
    def link(self, customer, said) -> None:
        self.apply(customer, value(said), said)

    @rule(customer=CUSTOMERS, content=st.none() | NOT_READ)
    def unlink(self, customer, content) -> None:
        """By a tombstone, or by what cannot be read: then nothing is known, and not what was before."""
        self.apply(customer, content, "")

    @rule()
    def filled_anew(self) -> None:
        """As after damage: another file, with the same in it, counts from now on."""
        before, self.files = self.store, self.files + 1
        name = f"tables-{self.files:016x}.db"
        self.store = Store(self.place / name, create=True)
        for customer, said in tuple(self.written.items()):
            self.apply(customer, value(said), said)
        self.store.note(**{CAUGHT_UP: str(self.caught_up_ms)})
        (self.place / "current").write_text(name)
        if before is not None:
            before.close()
        self.look()

    @rule(ms=st.integers(0, LAG_MAX_MS))
    def time_goes_by(self, ms) -> None:
        self.now_ms += ms

    @rule()
    def caught_up(self) -> None:
        assert self.store is not None
        self.caught_up_ms = self.now_ms
        self.store.note(**{CAUGHT_UP: str(self.now_ms)})
        self.look()

    def look(self) -> None:
        async def turn() -> None:
            self.rows._look()
            await asyncio.sleep(0)

        self.runner.run(turn())

    @rule(customer=CUSTOMERS)
    def read(self, customer) -> None:
        said = self.written.get(customer)
        late = self.now_ms - self.caught_up_ms > LAG_MAX_MS
        found = self.rows.row(customer, LAG_MAX_MS)
        assert found == (None if late else {} if said is None else {"account": said})

    @rule()
    def read_all(self) -> None:
        for customer in tuple(self.written):
            self.read(customer)

    def teardown(self) -> None:
        if hasattr(self, "rows"):
            self.read_all()
            self.rows.close()
            self.runner.close()
            assert self.store is not None
            self.store.close()
            shutil.rmtree(self.place)


def test_a_link_is_what_was_last_said_of_that_customer() -> None:
    run_state_machine_as_test(Links, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
