"""4: decides whether a step may run for an event: fresh enough, allowed on its basis, its own condition true.

Asked when a run starts and at every hop of its retries, not for the short waits in a lane. A gate that cannot tell says
no. Which basis asks what: docs/reference/gates.md. What the event says of consent is the only source yet, for
`event_flag_max_age_ms`.
"""

from __future__ import annotations

from pipeline.model import Datum, Event, SkipReason, Step


def ask(
    step: Step, event: Event, datum: Datum, now_ms: int, started_ms: int, event_flag_max_age_ms: int
) -> SkipReason | None:
    """Return why the step is skipped, or None to go on. Never raises.

    Times are Unix ms; ages count from the event's time. `started_ms` is what the condition sees as `now`: fixed when
    the run starts. The condition is asked last: without consent nothing about a customer is computed.
    """
    age_ms = now_ms - event.time_ms
    if age_ms > step.max_age_ms:
        return SkipReason.STALE
    if not _allowed(step, event, age_ms, event_flag_max_age_ms):
        return SkipReason.CONSENT
    when = step.when
    if when is None:
        return None
    holds = when(datum, started_ms)
    if holds is True:
        return None
    return SkipReason.CONDITION_ERROR if holds is None else SkipReason.CONDITION_FALSE


def again(step: Step, event: Event, now_ms: int, event_flag_max_age_ms: int) -> SkipReason | None:
    """Return why a step that was let through may not go any more, or None: what time alone can change."""
    age_ms = now_ms - event.time_ms
    if age_ms > step.max_age_ms:
        return SkipReason.STALE
    return None if _allowed(step, event, age_ms, event_flag_max_age_ms) else SkipReason.CONSENT


def _allowed(step: Step, event: Event, age_ms: int, event_flag_max_age_ms: int) -> bool:
    basis = step.basis
    if basis == "consent":
        return age_ms <= event_flag_max_age_ms and _consented(step, event)
    if basis == "legitimate_interest":
        # However old, an objection stands: only a newer word of the customer could lift it.
        return not _objected(step, event)
    return basis in ("contract", "legal_obligation")


def _consented(step: Step, event: Event) -> bool:
    """Whether a channel (without channels: the purpose) has no denial and at least one grant."""
    flags = event.consent
    if not flags:
        return False
    purpose = step.purpose
    of_purpose = flags.get(purpose)
    if of_purpose is False:
        return False
    if not step.channels:
        return of_purpose is True
    for channel in step.channels:
        both = flags.get(f"{purpose}.{channel}")
        of_channel = flags.get(channel)
        if both is not False and of_channel is not False and (both or of_purpose or of_channel):
            return True
    return False


def _objected(step: Step, event: Event) -> bool:
    """Whether the purpose, or one of the channels it is to reach, is denied."""
    flags = event.consent
    if not flags:
        return False
    purpose = step.purpose
    if flags.get(purpose) is False:
        return True
    return any(flags.get(f"{purpose}.{channel}") is False or flags.get(channel) is False for channel in step.channels)
