"""Decides what a customer's words on consent come to: of the table and of the event, newest wins, denial wins ties."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.model import ConsentSaid, Event, GatePolicy, Step


def merged(event: Event, table: Mapping[str, ConsentSaid], policy: GatePolicy, now_ms: int) -> Mapping[str, bool]:
    """Return what was said last by key (channel, purpose, `purpose.channel`); True is granted.

    Flags are said at the event's time, if that is no time yet to come: now. They grant for `flag_max_age_ms`. A flag
    that denies does so however old: only a newer word of the customer lifts it.
    """
    said = {key: word.granted for key, word in table.items()}
    at_ms = min(event.time_ms, now_ms)
    counts = now_ms - at_ms <= policy.flag_max_age_ms
    for key, granted in event.consent.items():
        if granted and not counts:
            continue
        word = table.get(key)
        if word is None:
            said[key] = granted
        elif word.granted != granted:
            if abs(at_ms - word.at_ms) <= policy.skew_ms:
                said[key] = False
            elif at_ms > word.at_ms:
                said[key] = granted
    return said


def granted(step: Step, said: Mapping[str, bool]) -> bool:
    """Whether a channel (without channels: the purpose) has no denial and at least one grant."""
    if not said:
        return False
    purpose = step.purpose
    of_purpose = said.get(purpose)
    if of_purpose is False:
        return False
    if not step.channels:
        return of_purpose is True
    for channel in step.channels:
        both = said.get(f"{purpose}.{channel}")
        of_channel = said.get(channel)
        if both is not False and of_channel is not False and (both or of_purpose or of_channel):
            return True
    return False


def objected(step: Step, said: Mapping[str, bool]) -> bool:
    """Whether the purpose, or one of the channels it is to reach, is denied."""
    if not said:
        return False
    purpose = step.purpose
    if said.get(purpose) is False:
        return True
    return any(said.get(f"{purpose}.{channel}") is False or said.get(channel) is False for channel in step.channels)
