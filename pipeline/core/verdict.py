"""Decides what one attempt means: delivered, rejected, retry at a time, hold, dead.

The HTTP rules are RFC 9110's status classes read for webhooks: 2xx is success; 408, 409, 425, 429 and 5xx but 501 may
pass later; 401 and 407 are the sender's own trouble (hold: the breaker opens, no attempt is judged); other 3xx and 4xx
are final. `Retry-After` (RFC 9110, 10.2.3: seconds or an HTTP date) is a floor under the wait, with a cap.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeAlias, assert_never

from pipeline.model import Answer, Failure, FailureClass, RetryPolicy, value

JITTER: Final = 0.2
"""Waits on a retry tier, and a receiver's floor, are lengthened by up to this share, never shortened.

A floor stays a floor, and what was told "in 120 seconds" together does not come back together. Waits in the process, of
which no receiver knows, have full jitter instead: anything up to the wait, so that what failed together spreads out.
"""


@value
class Delivered:
    """The receiver took it."""


@value
class Rejected:
    """The receiver will never take it; `disables`: nor anything else of this operation, until somebody resets it."""

    cls: FailureClass
    disables: bool = False


@value
class RetryAt:
    """Try again at `due_ms` (Unix ms)."""

    due_ms: int
    cls: FailureClass


@value
class Hold:
    """The sender is refused as such: open the breaker, park, use up no attempt."""

    cls: FailureClass


@value
class Dead:
    """No attempts or no time left, or a repeat cannot be risked."""

    cls: FailureClass


Verdict: TypeAlias = Delivered | Rejected | RetryAt | Hold | Dead

DELIVERED: Final = Delivered()
_RETRIED_4XX: Final = frozenset({408, 409, 425, 429})
_TOO_MANY: Final = 429
_NOT_IMPLEMENTED: Final = 501


def judge(
    result: Answer | Failure, attempts: int, policy: RetryPolicy, now_ms: int, expires_ms: int, chance: float
) -> Verdict:
    """Judge attempt number `attempts` (from 1). `chance` in [0, 1) spreads the wait; never raises.

    `expires_ms` bounds every wait: a retry that would come later is dead now, with the class of this failure.
    """
    if type(result) is Answer and 200 <= result.status < 300 and result.status not in policy.on_status:  # noqa: PLR2004
        return DELIVERED
    kind, cls, floor_ms = _reading(result, policy, now_ms)
    if kind == "delivered":
        return DELIVERED
    if kind in ("rejected", "disable"):
        return Rejected(cls, disables=kind == "disable")
    if kind == "hold":
        return Hold(cls)
    if kind == "dead" or attempts >= policy.max_attempts:
        return Dead(cls)
    due_ms = now_ms + wait_ms(attempts, policy, floor_ms, chance)
    return Dead(cls) if due_ms >= expires_ms else RetryAt(due_ms, cls)


def _reading(result: Answer | Failure, policy: RetryPolicy, now_ms: int) -> tuple[str, FailureClass, int]:
    if isinstance(result, Answer):
        kind, cls = _status(result.status)
        kind = policy.on_status.get(result.status, kind)
        return kind, cls, retry_after_ms(result.retry_after, now_ms, policy.retry_after_cap_ms)
    if isinstance(result, Failure):
        if result.holds:
            return "hold", result.cls, 0
        repeatable = policy.retry_ambiguous or not result.sent
        return ("retry" if repeatable else "dead"), result.cls, 0
    assert_never(result)


def _status(status: int) -> tuple[str, FailureClass]:
    if 200 <= status < 300:  # noqa: PLR2004
        return "delivered", FailureClass.CLIENT_ERROR
    if status in (401, 407):
        return "hold", FailureClass.AUTH
    if status == _TOO_MANY:
        return "retry", FailureClass.RATE_LIMITED
    if status in _RETRIED_4XX:
        return "retry", FailureClass.TIMEOUT if status == 408 else FailureClass.CLIENT_ERROR  # noqa: PLR2004
    if status >= 500 and status != _NOT_IMPLEMENTED:  # noqa: PLR2004
        return "retry", FailureClass.SERVER_ERROR
    return "rejected", FailureClass.SERVER_ERROR if status == _NOT_IMPLEMENTED else FailureClass.CLIENT_ERROR


def wait_ms(attempts: int, policy: RetryPolicy, floor_ms: int, chance: float) -> int:
    """Return the wait after attempt `attempts`: first in this process, then up the retry tiers; spread by `chance`."""
    schedule = policy.in_process_ms + policy.tiers_ms
    planned_ms = schedule[min(attempts, len(schedule)) - 1]
    longer = 1 + JITTER * chance
    spread = 1 - chance if attempts <= len(policy.in_process_ms) else longer
    return int(max(planned_ms * spread, floor_ms * longer))


def retry_after_ms(header: str, now_ms: int, cap_ms: int) -> int:
    """Read a Retry-After header as a wait in ms, between 0 and `cap_ms`; 0 for none, the past or nonsense.

    The header is a stranger's: whatever it says, nothing is raised.
    """
    text = header.strip()
    if not text:
        return 0
    if text.isascii() and text.isdigit():
        return min(int(text[:12]) * 1000, cap_ms)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year of 99999999999 overflows
        return 0
    utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return min(max(int(utc.timestamp() * 1000) - now_ms, 0), cap_ms)
