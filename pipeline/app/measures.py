"""Exports what a worker counts beside its lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.adapters.telemetry import names

if TYPE_CHECKING:
    from pipeline.app.worker import Worker
    from pipeline.run.misses import Misses
    from pipeline.run.settle import Settlement


def export(worker: Worker, settlement: Settlement, misses: Misses) -> None:
    """Export what is read in the telemetry's own thread: each dict is copied in C before it is looked through."""
    counts = settlement.ledger_counts
    telemetry = worker.telemetry
    telemetry.gauge(names.UNSETTLED, settlement.unsettled)
    telemetry.gauge(names.OLDEST, settlement.oldest_ms)
    telemetry.gauge(names.HELD, lambda: sum(intake.held() for intake in worker.intakes))
    telemetry.gauge(names.HALTED, lambda: len(worker.halts()))
    if (turns := worker.turns) is not None:
        telemetry.gauge(names.LOG_HELD, turns.held)
        telemetry.gauge(names.LOG_STUCK, lambda: len(turns.stuck()))
    telemetry.counts(names.LEDGER, lambda: {(reason,): count for reason, count in counts.copy().items()})
    telemetry.counts(names.DELIVERED, lambda: settlement.outcome_counts)
    telemetry.counts(names.CONDITIONS, lambda: misses.conditions)
    telemetry.counts(names.MISSPELT, misses.misspelt)
