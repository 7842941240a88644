"""Asks the gates: looks up what tables and memory say of a customer, once per event and again before late attempts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeline.core import gates
from pipeline.model import NOTHING, Delivery, Event, Flight, Gate, GatePolicy, Known, SkipReason
from pipeline.run.underway import Underway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.model import Route, Rows, Step
    from pipeline.ports import Lookups, Memories, Tables

GATE_FRESH_NS: Final = 1_000_000_000
"""An answer of the gates older than this is asked for again when a request is about to be written."""


class _NoTables:
    """Implements ports.Tables where there are none."""

    erasures = False

    def known(self, customer_id: str) -> Known:  # noqa: ARG002 - of the port
        return NOTHING


_NO_TABLES: Final = _NoTables()


class Asking:
    """What gates are asked with, in one worker. Nothing here waits or raises.

    Without tables, consent is what events say, and there are no suppressions; without memories nothing is remembered.
    """

    def __init__(
        self,
        policy: GatePolicy,
        tables: Tables | None = None,
        memories: Memories | None = None,
        statuses: Mapping[str, str] | None = None,
    ) -> None:
        """`statuses` are those of the journeys by name, drafts among them."""
        self.policy = policy
        self._statuses = statuses or {}
        self.lookups: Lookups | None = None
        self.underway = Underway()
        self.attach(tables, memories)

    def attach(self, tables: Tables | None, memories: Memories | None, *, basis_asks: bool = True) -> None:
        """Ask these from now on: before the first event. `basis_asks`: the basis of some step asks the tables."""
        self.looks = memories is not None or (tables is not None and basis_asks)
        """Whether new events ask. If not they do so only while `tables.erasures`; what waited always does."""
        self.tables = tables if tables is not None else _NO_TABLES
        self._memories = memories

    def rows(self, event: Event, step: Step) -> Rows | None:
        """Return the rows that a step reads of its customer; None while they cannot be told."""
        if self.lookups is None:
            return {}
        return self.lookups.rows(event.customer_id, step.looks_up, self.policy.lag_max_ms)

    def known(self, event: Event, flight: Flight) -> Known:
        """Return what is known of the customer now."""
        known = self.tables.known(event.customer_id)
        if self._memories is None:
            return known
        return replace(known, memory=self._memories.remembered(event.customer_id, flight.source))

    def today(self, route: Route) -> Route:
        """Return a run's route with the status its journey has now: what a run began under does not bind it."""
        status = self._statuses.get(route.journey, route.status)
        return route if status == route.status else replace(route, status=status)

    def drafted(self, journey: str) -> bool:
        """Whether a journey is a draft: its runs that wait are over."""
        return self._statuses.get(journey) == "draft"

    def again(self, delivery: Delivery, now_ns: int) -> Gate:
        """Ask what may have changed since the gates let the delivery pass; note the time if they do so again."""
        flight = delivery.run.flight
        event = flight.event
        assert event is not None
        known = self.known(event, flight)
        gate = gates.again(delivery, event, known, self.policy, now_ns // 1_000_000)
        if gate is None and delivery.step.caps:
            gate = self.underway.enter(delivery, known, now_ns // 1_000_000)
        if delivery.deadline_ms and gate is None:
            if now_ns // 1_000_000 >= delivery.deadline_ms:
                return SkipReason.EXPIRED
            delivery.asked_ns = min(now_ns, delivery.deadline_ms * 1_000_000 - GATE_FRESH_NS)  # fresh until then
        elif gate is None:
            delivery.asked_ns = now_ns
        return gate
