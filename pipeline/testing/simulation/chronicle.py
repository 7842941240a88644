"""Tells what happened in one run, line by line, to people: when, who, what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core import outcome, runstate
from pipeline.core.outcome import LedgerRow, OutcomeRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Record


class Chronicle:
    """Lines as `   12.345 s  worker 2     sends …`. `event` gives event IDs their short names."""

    def __init__(self, now_s: Callable[[], float], event: Callable[[str], str]) -> None:
        self.lines: list[str] = []
        self._now_s = now_s
        self._event = event

    def say(self, who: str, what: str) -> None:
        """Add a line."""
        self.lines.append(f"{self._now_s():10.3f} s  {who:<10} {what}")

    def appended(self, record: Record) -> None:
        """Tell of a record on one of the group's own topics, in its own words."""
        self.say("broker", f"{record.topic}/{record.partition}@{record.offset}: {self._said(record)}")

    def committed(self, group: str, place: tuple[str, int], offset: int) -> None:
        """Tell of a commit."""
        self.say("broker", f"{group} committed {place[0]}/{place[1]} up to {offset}")

    def _said(self, record: Record) -> str:
        header = record.header(runstate.STATE_HEADER)
        if header is not None:
            state = runstate.decode(header)
            if isinstance(state, runstate.RunState):
                ahead = f", to come {', '.join(state.ahead)}" if state.ahead else ""
                return f"run of {state.journey} waits: {', '.join(state.steps)}{ahead} (hop {state.hop})"
        dead = record.header("hookline-class")
        if dead is not None:
            step = b"/".join(record.header(f"hookline-{name}") or b"" for name in ("journey", "step")).decode()
            event = self._event((record.header("hookline-event-id") or b"").decode())
            return f"dead letter {dead.decode()} {step} {event}"
        row = outcome.decode(record.value or b"") if record.value else None
        if isinstance(row, OutcomeRow):
            reason = f"({row.reason})" if row.reason else ""
            return f"{self._event(row.event_id)} {row.journey}.{row.step} {row.outcome.value}{reason}"
        if isinstance(row, LedgerRow):
            empty = ", ".join(f"{first}-{last} {reason}" for first, last, reason in row.empty) or "nothing empty"
            return f"ledger of {row.topic}/{row.partition} up to {row.next}: {empty}"
        key = (record.key or b"").decode(errors="replace").replace("\0", " ")
        return f"{key} {'written' if record.value is not None else 'deleted'}"
