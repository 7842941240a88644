"""4: decides whether a run may start, and a step may run: allow, hold until, or skip with a reason.

Which basis asks what: docs/reference/gates.md. A gate that cannot tell says no, or waits. `enter` is asked once, when a
fresh run starts; `ask` when a step starts and at every hop; `again`, what time and tables can change, right before
a request is written; `room` of what these let pass, if it has caps. All are pure and none raises; times are Unix ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.core.gates import consent, contacts, quiet, shares, suppression
from pipeline.core.gates.window import Window
from pipeline.known import CAP, PAUSED, TABLE_STALE
from pipeline.model import (
    Datum,
    Delivery,
    Event,
    Gate,
    GatePolicy,
    Hold,
    Known,
    Memory,
    Route,
    Run,
    SkipReason,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import tzinfo

__all__ = ["ERASED_EVENT", "Window", "again", "ask", "cancels", "enter", "of_run", "room", "zones"]

ERASED_EVENT: Final = "customer.erased"
"""The event that tells other systems of an erasure: the one event of an erased customer that passes."""

STALE_RECHECK_MS: Final = 10_000
"""Tables that were behind are looked at again after so long."""
CAP_RECHECK_MS: Final = 10_000
"""What is under way may take a cap's last place: after so long most of it has ended, and it is looked at again."""
PAUSED_RECHECK_MS: Final = 600_000
"""A journey that is paused by its configuration is looked at again after so long."""

_RUNS: Final = ("live", "shadow", "dry")
_UNASKED: Final = ("contract", "legal_obligation")


def enter(route: Route, event: Event) -> SkipReason | None:
    """Return why a fresh run is skipped as a whole, or None: not among those who may enter, or held out."""
    if route.rollout < 1.0 and not shares.within(shares.ROLLOUT, route.shares, event.customer_id, route.rollout):
        return SkipReason.ROLLOUT
    if route.holdout > 0.0 and shares.within(shares.HOLDOUT, route.shares, event.customer_id, route.holdout):
        return SkipReason.HOLDOUT
    return None


def cancels(route: Route, datum: Datum, started_ms: int) -> tuple[str | None, ...]:
    """Return a trigger's correlation hashes, to be kept in its run while the datum is gone: Run.cancels."""
    return tuple([each.match(datum, started_ms) for each in route.cancel_on])


def zones(step: Step, datum: Datum, started_ms: int) -> tuple[tzinfo, ...]:
    """Return the customer's time zones, likewise: Delivery.zones."""
    return tuple([each.zone(datum, started_ms) for each in step.quiet])


def of_run(run: Run, event: Event, known: Known, max_age_ms: int, now_ms: int) -> Gate:
    """Return why a run as a whole may not go on, or until when: erased, not live any more, too old, cancelled."""
    route = run.route
    if known.erased_ms and event.type != ERASED_EVENT:
        return SkipReason.ERASED
    if route.status not in _RUNS and route.status != PAUSED:
        return SkipReason.STATUS
    if now_ms - event.time_ms > max_age_ms:
        return SkipReason.STALE
    if route.cancel_on:
        if known.memory is None:
            return Hold(now_ms + STALE_RECHECK_MS, TABLE_STALE)
        if _cancelled(run, event, known.memory):
            return SkipReason.CANCELLED
    return Hold(now_ms + PAUSED_RECHECK_MS, PAUSED) if route.status == PAUSED else None


def ask(  # noqa: C901, PLR0911 - one for each gate, and one call for all: the hot path
    delivery: Delivery, event: Event, datum: Datum | None, known: Known, policy: GatePolicy, now_ms: int
) -> Gate:
    """Return why the step is skipped or held, or None to go on.

    Its condition sees the time its run started as `now`, and is asked after consent: without that nothing about a
    customer is computed. Whatever skips comes before what holds for a time. Without a datum the condition is not asked.
    """
    step, run = delivery.step, delivery.run
    route = run.route
    if known.erased_ms or route.status != "live" or route.cancel_on:
        gate = of_run(run, event, known, step.max_age_ms, now_ms)
        if gate is not None:
            return gate
    age_ms = now_ms - event.time_ms
    if age_ms > step.max_age_ms:
        return SkipReason.STALE
    basis = step.basis
    if basis not in _UNASKED:
        if known.stale_ms > policy.lag_max_ms:
            return Hold(now_ms + STALE_RECHECK_MS, TABLE_STALE)
        flags = event.consent
        if known.consent or age_ms > policy.flag_max_age_ms:
            flags = consent.merged(event, known.consent, policy, now_ms)
        if basis == "consent":
            allowed = consent.granted(step, flags)
        else:
            allowed = basis == "legitimate_interest" and not consent.objected(step, flags)
        if not allowed or known.unreadable:
            return SkipReason.CONSENT
        if known.suppressions and suppression.active(step, route, known, now_ms):
            return SkipReason.SUPPRESSION
    if step.when is not None and datum is not None:
        holds = step.when(datum, run.started_ms)
        if holds is not True:
            return SkipReason.CONDITION_ERROR if holds is None else SkipReason.CONDITION_FALSE
    return _contacting(delivery, known, now_ms) if step.caps or step.quiet else None


def again(delivery: Delivery, event: Event, known: Known, policy: GatePolicy, now_ms: int) -> Gate:
    """Return why a step that was let through may not go any more or not now, or None: its condition stays as it was."""
    return ask(delivery, event, None, known, policy, now_ms)


def room(delivery: Delivery, known: Known, underway: Collection[str], now_ms: int, *, full: bool) -> Gate:
    """Return why a delivery with caps that was let pass may not go beside those `underway` (IDs), or None to go on.

    They are its customer's that its caps count, and may be delivered or not: so it waits, and is skipped only if it
    would be too old by then. `full`: no more places can be told apart.
    """
    assert known.memory is not None  # else it was not let pass
    if not full and not contacts.capped(delivery.step.caps, known.memory.contacts, delivery.id, now_ms, underway):
        return None
    until_ms = now_ms + CAP_RECHECK_MS
    return SkipReason.CAP if until_ms >= delivery.expires_ms else Hold(until_ms, CAP)


def _contacting(delivery: Delivery, known: Known, now_ms: int) -> Gate:
    """Decide by what counts only for steps that reach the customer: caps, then quiet hours."""
    step = delivery.step
    if step.caps:
        if known.memory is None:
            return Hold(now_ms + STALE_RECHECK_MS, TABLE_STALE)
        if contacts.capped(step.caps, known.memory.contacts, delivery.id, now_ms):
            return SkipReason.CAP
    return quiet.ask(step.quiet, delivery.zones, now_ms, delivery.expires_ms) if step.quiet else None


def _cancelled(run: Run, event: Event, memory: Memory) -> bool:
    """Whether an event that cancels came since the trigger. One at the trigger's own time counts; itself does not.

    A trigger that has no correlation is cancelled by any such event of its customer.
    """
    for rule, match in zip(run.route.cancel_on, run.cancels, strict=True):
        for each in memory.happened:
            if (
                each.event == rule.event
                and each.at_ms >= event.time_ms
                and each.id != event.id
                and (not match or each.match == match)
            ):
                return True
    return False
