"""Plays what was consumed before against a configuration: what it would have done, and nothing sent.

Records come at their own times, on a clock that goes along; systems answer as their contracts say. What was counted is
forgotten, so memory is bounded by what is under way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from pipeline.config.compile import compile  # noqa: A004 - the word of the command line
from pipeline.config.secrets import Secrets
from pipeline.config.staged import bare
from pipeline.core.outcome import OutcomeRow, decode
from pipeline.model import FailureClass, Outcome, value
from pipeline.testing.stage import declared
from pipeline.testing.stage.broker import StageBroker
from pipeline.testing.stage.explain import Ended
from pipeline.testing.stage.perform import live
from pipeline.testing.stage.worker import StageWorker
from pipeline.testing.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from pipeline.config.models import Config
    from pipeline.model import Record, SchemaRef
    from pipeline.ports import Tables

TURN_S: Final = 0.005
"""How long records that come together are left alone before the next ones."""
MINUTE_MS: Final = 60_000


@value
class Report:
    """What would have come of it. Counts by (journey, step); `busiest` is requests in the worst minute, by system."""

    records: int
    first_ms: int
    last_ms: int
    runs: Mapping[str, int]
    outcomes: Mapping[tuple[str, str], Mapping[str, int]]
    missing: Mapping[tuple[str, str], Mapping[str, int]]
    without: Mapping[str, int]  # records that started nothing, by reason
    busiest: Mapping[str, int]


class History:
    """One configuration and the records it is tried on, oldest first. `close` ends it."""

    def __init__(
        self, config: Config, readers: Mapping[str, Any], journeys: Iterable[str], tables: Tables | None
    ) -> None:
        """Compile; the journeys named are as if they were live, the others are not there. Raises ConfigError."""
        self._config = bare(live(config, journeys))
        self._compiled = compile(self._config, Secrets(config.folder, {}), readers)
        self._script = declared.script(self._config)
        self._tables = tables
        self._loop: VirtualLoop | None = None
        self._worker: StageWorker | None = None
        self._records = self._first_ms = self._last_ms = 0
        self._outcomes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._missing: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._runs: Counter[str] = Counter()
        self._minutes: dict[str, tuple[int, int, int]] = {}  # minute, requests in it, most in any

    def take(self, records: Sequence[Record], schemas: Mapping[SchemaRef, object]) -> None:
        """Play records, oldest first; `schemas` are those they were written with. Blocks while they are worked off.

        Raises what stopped the worker.
        """
        if not records:
            return
        if self._loop is None:
            self._first_ms = records[0].timestamp_ms
            self._loop = VirtualLoop(max(self._first_ms, 1) * 1_000_000)
            self._loop.run_until_complete(self._begin())
        assert self._worker is not None
        self._worker.schemas.known.update(schemas)
        self._last_ms = records[-1].timestamp_ms
        self._records += len(records)
        self._loop.run_until_complete(self._play(records))

    def close(self) -> Report:
        """Wait for what is held or retried, and say what came of everything."""
        without: dict[str, int] = {}
        if self._loop is not None and self._worker is not None:
            try:
                self._loop.run_until_complete(self._end())
            finally:
                self._loop.close()
            without = {str(reason): count for reason, count in self._worker.settlement.ledger_counts.items()}
        busiest = {name: most for name, (_, _, most) in sorted(self._minutes.items())}
        return Report(
            self._records, self._first_ms, self._last_ms, self._runs, self._outcomes, self._missing, without, busiest
        )

    async def _begin(self) -> None:
        assert self._loop is not None
        self._worker = StageWorker(
            self._loop, StageBroker(self._loop.wall_ns), self._config, self._compiled, self._script, {},
            tables=self._tables,
        )  # fmt: skip
        self._worker.start()

    async def _play(self, records: Sequence[Record]) -> None:
        loop, worker = self._loop, self._worker
        assert loop is not None
        assert worker is not None
        for record in records:
            ahead_s = record.timestamp_ms / 1e3 - loop.wall_ns() / 1e9
            if ahead_s > 0:
                await asyncio.sleep(TURN_S)
                await worker.idle()
                loop.leap(loop.time() + max(ahead_s - TURN_S, 0.0))
                await asyncio.sleep(0)
            headers = tuple((name, each or b"") for name, each in record.headers)
            worker.broker.append(record.topic, 0, record.key, record.value, headers)
        await asyncio.sleep(TURN_S)
        await worker.idle()
        self._count()

    async def _end(self) -> None:
        assert self._worker is not None
        await self._worker.settled()
        self._count()
        await self._worker.close()
        await asyncio.sleep(0)

    def _count(self) -> None:
        """Count what was written since, and forget it."""
        worker = self._worker
        assert worker is not None
        details = {
            record.header("hookline-delivery-id"): (record.header("hookline-detail") or b"").decode()
            for record in worker.broker.of(worker.dead_topic)
        }
        for record in worker.broker.of(worker.outcomes_topic):
            row = decode(record.value or b"")
            if isinstance(row, OutcomeRow) and row.outcome is not Outcome.RETRYING:
                self._ended(row, details.get(row.delivery_id.encode(), ""))
        for request in worker.requests:
            minute, count, most = self._minutes.get(request.destination, (0, 0, 0))
            count = count + 1 if request.at_ms // MINUTE_MS == minute else 1
            self._minutes[request.destination] = (request.at_ms // MINUTE_MS, count, max(most, count))
        worker.forget()

    def _ended(self, row: OutcomeRow, detail: str) -> None:
        key = (row.journey, row.step)
        self._outcomes[key][Ended(row.outcome, row.reason, row.status, row.attempts, detail).text] += 1
        if row.reason == FailureClass.MISSING_FIELD:
            self._missing[key][detail] += 1
        if row.step == self._config.journeys[row.journey].steps[0].name:
            self._runs[row.journey] += 1
