"""Decides what samples of a worker mean: rates between two counts, medians of rounds, how far from a target."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_SHARE: Final = 0.1
"""Share of the backlog that is settled before measuring starts: connections are open, the interpreter is warm."""
LAST_SHARE: Final = 0.97
"""Measuring ends here: the last few deliveries leave most connections idle."""


@value
class Scenario:
    """One situation to measure: how long the receiver takes, how many requests are in flight."""

    name: str
    latency_ms: int
    in_flight: int


@value
class Target:
    """One figure to aim at; `most` says whether it is an upper bound."""

    what: str
    unit: str
    wanted: float
    most: bool = False


PER_CPU_S: Final = Target("deliveries per CPU-second", "/CPU-s", 15_000)
PER_S: Final = Target("deliveries per second", "/s", 5_000)
PEAK_MB: Final = Target("peak resident memory", "MB", 120, most=True)

FAST: Final = Scenario("A", 0, 256)
SLOW: Final = Scenario("B", 100, 1_000)


@value
class Sample:
    """One look at a running worker: monotonic seconds, CPU seconds used so far, records on its outcomes topic."""

    at_s: float
    cpu_s: float
    written: int


@value
class Round:
    """What one run of a worker over the backlog came to."""

    deliveries: int
    requests: int
    seconds: float
    cpu_s: float
    peak_mb: float

    @property
    def per_s(self) -> float:
        """Deliveries per second of wall-clock time."""
        return self.deliveries / self.seconds if self.seconds else 0.0

    @property
    def per_cpu_s(self) -> float:
        """Deliveries per second of CPU time, user and system, of the whole worker process."""
        return self.deliveries / self.cpu_s if self.cpu_s else 0.0

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a delivery."""
        return self.cpu_s / self.deliveries * 1e6 if self.deliveries else 0.0


def read(samples: Sequence[Sample], events: int, requests: int, peak_mb: float) -> Round:
    """Return the figures between the first sample past WARM_SHARE and the last one before LAST_SHARE.

    The outcomes topic holds a few ledger records besides one outcome a delivery: what it holds in the end, against
    the events there were, says how many. Raises ValueError when the run was too short to measure.
    """
    total = samples[-1].written
    first = next(each for each in samples if each.written >= total * WARM_SHARE)
    last = next((each for each in reversed(samples) if each.written <= total * LAST_SHARE), samples[0])
    if last.written <= first.written or last.cpu_s <= first.cpu_s:
        # Over between two looks: then from the last look before anything was settled to the end.
        first = next((each for each in reversed(samples) if each.written == 0), samples[0])
        last = samples[-1]
    deliveries = round((last.written - first.written) * events / total)
    return Round(deliveries, requests, last.at_s - first.at_s, last.cpu_s - first.cpu_s, peak_mb)


def over(samples: Sequence[Sample], requests: int, peak_mb: float) -> Round:
    """Return the figures of all that was delivered: from the last look before the first delivery to the last one.

    `written` are deliveries here, and a start is left out for whoever is compared; what a runtime does to get faster
    while it works is not.
    """
    first = next((each for each in reversed(samples) if each.written == 0), samples[0])
    last = next(each for each in samples if each.written == samples[-1].written)
    return Round(last.written - first.written, requests, last.at_s - first.at_s, last.cpu_s - first.cpu_s, peak_mb)


def ratio(ours: Sequence[Round], theirs: Sequence[Round]) -> float:
    """Return our deliveries per CPU-second divided by theirs: the median of the rounds, each of which ran in turn."""
    return float(median(mine.per_cpu_s / other.per_cpu_s for mine, other in zip(ours, theirs, strict=True)))


def middle(rounds: Sequence[Round], name: str) -> float:
    """Return the median of one figure over the rounds."""
    return float(median(getattr(each, name) for each in rounds))


def spread(rounds: Sequence[Round], name: str) -> str:
    """Return smallest and largest of one figure, as text."""
    found = sorted(getattr(each, name) for each in rounds)
    return f"{found[0]:,.0f} to {found[-1]:,.0f}"


def against(target: Target, measured: float) -> str:
    """Say by how much a figure meets or misses its target."""
    share = measured / target.wanted - 1
    met = share <= 0 if target.most else share >= 0
    return f"{'met' if met else 'missed'}: {abs(share):.0%} {'above' if share > 0 else 'below'}"
