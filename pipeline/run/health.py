"""How a destination is, as its lane sees it: the breaker, its probe, and what is told of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.admission import Breaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import BreakerPolicy, Delivery, FailureClass
    from pipeline.ports import Clock, LaneStats, Telemetry


class Health:
    """Owner of a lane's breaker. Each attempt tells it once what it says about the destination.

    While half-open only the probe's own result counts: attempts that began before the breaker opened, and end after,
    know nothing new.
    """

    __slots__ = ("_clock", "_closed_s", "_destination", "_probe", "_stats", "_telemetry", "_time", "breaker")

    def __init__(
        self,
        destination: str,
        policy: BreakerPolicy,
        stats: LaneStats,
        telemetry: Telemetry,
        clock: Clock,
        time: Callable[[], float],
    ) -> None:
        """`time` is the loop's; `clock` the wall clock, for what is told."""
        self.breaker = Breaker(policy)
        self._destination = destination
        self._stats = stats
        self._telemetry = telemetry
        self._clock = clock
        self._time = time
        self._probe: Delivery | None = None
        self._closed_s = time()

    def well_s(self, now_s: float) -> float:
        """Return for how long the breaker has been closed, 0.0 if it is not."""
        return now_s - self._closed_s if self.breaker.state == "closed" else 0.0

    def admits(self, now_s: float) -> bool:
        """Whether an attempt may start now."""
        breaker = self.breaker
        before = breaker.state
        admitted = breaker.admits(now_s)
        if breaker.state != before:
            self._stats.state = breaker.state
            self._probe = None
        return admitted

    def started(self, delivery: Delivery) -> None:
        """Note that an admitted attempt starts; half-open, it is the probe."""
        if self.breaker.state == "half-open":
            self.breaker.started()
            self._probe = delivery

    def abandoned(self, delivery: Delivery) -> None:
        """Note an attempt that ended before anything was sent: if it was the probe, another one may go."""
        if delivery is self._probe:
            self._probe = None
            self.breaker.abandoned()

    def noted(self, delivery: Delivery, cls: FailureClass) -> None:
        """Count a failed attempt by its class."""
        stats = self._stats
        stats.failures[cls] = stats.failures.get(cls, 0) + 1
        stats.last_class = cls
        event = delivery.run.flight.event
        stats.last_event_id = event.id if event is not None else ""

    def succeeded(self, delivery: Delivery) -> None:
        """Note a delivered attempt."""
        if self._counts(delivery):
            self.breaker.succeeded()
            self._changed()

    def rejected(self, delivery: Delivery) -> bool:
        """Note a rejected one; return whether it opened the breaker."""
        opened = self._counts(delivery) and self.breaker.rejected(self._time())
        self._changed()
        return opened

    def failed(self, delivery: Delivery) -> bool:
        """Note one that says the destination is not well; return whether it opened the breaker."""
        opened = self._counts(delivery) and self.breaker.failed(self._time())
        self._changed()
        return opened

    def refused(self, delivery: Delivery) -> None:
        """Note that our credentials were refused: the breaker opens at once."""
        if self._counts(delivery):
            self.breaker.trip(self._time())
        self._changed()

    def reset(self) -> None:
        """Close the breaker: somebody said so."""
        self._probe = None
        self.breaker.reset()
        self._changed()

    def _counts(self, delivery: Delivery) -> bool:
        return self.breaker.state != "half-open" or delivery is self._probe

    def _changed(self) -> None:
        """Tell of a change between open and closed; half-open is told by the lane's statistics alone."""
        state, stats = self.breaker.state, self._stats
        if state == stats.state:
            return
        if state != "half-open":
            stats.state_since_ns = self._clock()
            self._telemetry.log(
                "warning" if state == "open" else "info", f"breaker_{state}", destination=self._destination,
                event_id=stats.last_event_id, **{"class": str(stats.last_class)},
            )  # fmt: skip
        stats.state = state
        if state == "closed":
            self._closed_s = self._time()
