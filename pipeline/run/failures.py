"""Says what went wrong with a delivery: one log line each, and whoever is to be told of failures is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Delivery


class Failures:
    """Called by run/settle for what ended otherwise than delivered, and for answers that broke their contract."""

    def __init__(self, log: Callable[..., None]) -> None:
        self.told: Callable[[Delivery, Outcome, str], None] | None = None
        """Told of deliveries that ended dead, rejected or defaulted, with their class."""
        self._log = log

    def say(self, outcome: Outcome, delivery: Delivery, cls: str, detail: str) -> None:
        """Log what went wrong; of what did not reach its destination, tell whoever wants to be told."""
        reached = outcome is Outcome.DELIVERED
        flight = delivery.run.flight
        event = flight.event
        assert event is not None
        self._log(
            "warning", "contract_broken" if reached else f"delivery_{outcome.value}", event_id=event.id,
            delivery_id=delivery.id, trace_id=flight.trace.trace_id, journey=delivery.step.journey,
            step=delivery.step.name, destination=delivery.step.destination, status=delivery.status,
            attempts=delivery.attempts, detail=detail, **{"class": cls},
        )  # fmt: skip
        if self.told is not None and not reached:
            self.told(delivery, outcome, cls)
