"""Says what went wrong with a delivery: one log line each; tells whoever is to be told of failures, and the brakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Delivery, Flight


class Failures:
    """Called by run/settle for what ended otherwise than delivered, and for answers that broke their contract."""

    def __init__(self, log: Callable[..., None]) -> None:
        self.told: Callable[[Delivery, Outcome, str], None] | None = None
        """Told of deliveries that ended dead, rejected or defaulted, with their class."""
        self.brakes: dict[str, Callable[[Flight, str], None]] = {}
        """Told of every dead delivery or position, by the topic its record was consumed from: run/brake."""
        self._log = log

    def brake(self, flight: Flight, cls: str) -> None:
        """Tell the brake of the intake that a record came by."""
        failed = self.brakes.get(flight.record.topic)
        if failed is not None:
            failed(flight, cls)

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
        if outcome is Outcome.DEAD:
            self.brake(flight, cls)
        if self.told is not None and not reached:
            self.told(delivery, outcome, cls)
