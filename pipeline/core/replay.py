"""Decides which failed deliveries are sent again, by their dead letters and what the outcomes say of them since.

A replay writes a retry record of the next hop and then a `retrying` outcome of the hop that failed. Broken off between
the two, it writes the same hop again, which the worker that took up the first drops; whatever comes of the hop
counts after that outcome.
"""

from __future__ import annotations

from typing import Final, Protocol

from pipeline.model import Edge, Outcome, value

HOP_MAX: Final = 65_000
"""The account counts hops to a little more than this."""

WAITS: Final = "waiting"
UNKNOWN: Final = "no_outcome"
NO_DELIVERY: Final = "no_delivery"
OVERSIZE: Final = "oversize"
REMOVED: Final = "step_removed"
NO_RESULTS: Final = "no_results"
UPSTREAM: Final = "upstream"
RUNS: Final = "run_waits"
TOO_LARGE: Final = "state_too_large"
NO_LETTER: Final = "letter_deleted"
DECIDE: Final = "decide"
AMBIGUOUS: Final = "ambiguous"
ORDERED: Final = "keeps_order"
HOPS: Final = "too_many_hops"


class OutcomeLike(Protocol):
    """What is read of an outcome row."""

    @property
    def outcome(self) -> Outcome:
        """What became of it."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def hop(self) -> int:
        """How often its run had been handed over."""


@value
class Target:
    """The step of today that a delivery belongs to. `keeps`: steps after it may read what it is answered.

    `ordered`: its journey keeps order, and waits for it.
    """

    name: str
    kind: str
    drops_repeats: bool
    suffix: bytes
    after: tuple[Edge, ...] = ()
    any_parent: bool = False
    keeps: bool = False
    ordered: bool = False


def left_alone(  # noqa: PLR0911 - one for each reason
    last: OutcomeLike | None,
    target: Target | None,
    *,
    ambiguous: bool,
    with_ambiguous: bool,
    out_of_order: bool = False,
) -> str:
    """Say why a failed delivery is not sent again, "" if it is: what can be said of it without its run.

    `ambiguous`: a request of it may have arrived, nobody knows; `with_ambiguous`: such ones are asked for.
    `out_of_order`: those are whose journey keeps order, though later events of their customers were let go since.
    """
    if last is None:
        return UNKNOWN
    if last.outcome not in (Outcome.REJECTED, Outcome.DEAD):
        return WAITS if last.outcome is Outcome.RETRYING else last.outcome.value
    if target is None:
        return REMOVED
    if target.kind == "decide":
        return DECIDE
    if target.ordered and not out_of_order:
        return ORDERED
    if ambiguous and not target.drops_repeats and not with_ambiguous:
        return AMBIGUOUS
    return HOPS if last.hop >= HOP_MAX else ""
