"""The values an endpoint meets: the request it accepted, or why it was refused and what is answered then.

Statuses follow docs/reference/verdicts.md: what may pass is answered so that Hookline tries again, what cannot pass so
that it does not, and what is wrong with our keys or clocks so that it holds everything until that is repaired.

They are frozen at run time too, unlike the worker's: they are handed to other people's code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import orjson

from pipeline.model import Trace  # noqa: TC001 - frameworks ask for the types of fields at run time


class Reason(StrEnum):
    """Why a request was refused: a word for logs, for the sender and for metrics."""

    SIGNATURE = "signature"
    TIMESTAMP = "timestamp"
    DELIVERY_ID = "delivery_id"
    SCHEMA = "schema"
    BODY = "body"
    TOO_LARGE = "too_large"
    SLOW_BODY = "slow_body"
    RUNNING = "running"
    STORE = "store"
    HANDLER_TIMEOUT = "handler_timeout"


@dataclass(frozen=True, slots=True)
class Accepted:
    """One attempt of a delivery, proved to come from one who holds a key. Texts are "" where there is no such header.

    `delivery_id` is the same for every attempt. Only the body and, with Standard Webhooks, the delivery ID are covered
    by the signature: treat the other fields as hints. `trace.trace_id` is "" without a valid `traceparent`.
    """

    delivery_id: str
    event_id: str
    event_type: str
    event_time: str
    journey: str
    step: str
    trace: Trace
    body: bytes

    def json(self) -> Any:
        """Return the body parsed as JSON. Raises ValueError if it is none, which cannot be with a schema."""
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule of the schema that the body breaks: where (a JSON Pointer, RFC 6901), and which keyword."""

    path: str
    rule: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer the receiver gives by itself, for any framework to send. Header names are lower-case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """A request the handler never sees. `title` has no data; `retry_after_s` 0 sends no Retry-After."""

    status: int
    reason: Reason
    title: str
    retry_after_s: int = 0
    violations: tuple[Violation, ...] = ()

    def reply(self) -> Reply:
        """Return the answer: problem details as JSON (RFC 9457), with `reason` and, for a schema, `violations`."""
        said: dict[str, object] = {"title": self.title, "status": self.status, "reason": self.reason.value}
        if self.violations:
            said["violations"] = [{"path": each.path, "rule": each.rule} for each in self.violations]
        wait = (("retry-after", str(self.retry_after_s)),) if self.retry_after_s else ()
        return Reply(self.status, (("content-type", "application/problem+json"), *wait), orjson.dumps(said))


RETRY_AFTER_S: Final = 5
"""How long a sender is asked to wait while the first attempt of a delivery is still being handled, or the store is
away."""

# 401 holds: Hookline's breaker opens and runs wait until the keys, or the clocks, agree again. A 4xx of another kind
# would reject every delivery of a day on which a secret was rotated in the wrong order.
UNSIGNED: Final = Refused(401, Reason.SIGNATURE, "The request is not signed as this endpoint expects.")
FORGED: Final = Refused(401, Reason.SIGNATURE, "No signature fits: another key, or the request was changed.")
STALE: Final = Refused(401, Reason.TIMESTAMP, "The timestamp is too far from this endpoint's clock.")
NAMELESS: Final = Refused(400, Reason.DELIVERY_ID, "The delivery ID is missing or not usable.")
NOT_JSON: Final = Refused(422, Reason.SCHEMA, "The body is not JSON.")
BROKEN_BODY: Final = Refused(400, Reason.BODY, "The body could not be read.")
TOO_LARGE: Final = Refused(413, Reason.TOO_LARGE, "The body is larger than this endpoint takes.")
SLOW_BODY: Final = Refused(408, Reason.SLOW_BODY, "The body did not arrive in time.")
RUNNING: Final = Refused(
    409, Reason.RUNNING, "An earlier attempt of this delivery is still being handled.", RETRY_AFTER_S
)
STORE_AWAY: Final = Refused(
    503, Reason.STORE, "Whether this delivery was handled already cannot be told now.", RETRY_AFTER_S
)
HANDLER_TIMEOUT: Final = Refused(503, Reason.HANDLER_TIMEOUT, "Handling took too long and was stopped.", RETRY_AFTER_S)

REPEAT: Final = Reply(200, (("content-type", "application/json"),), b'{"repeat":true}')
"""The answer to a delivery that was handled before: a success, so that it is settled."""


def invalid(violations: tuple[Violation, ...]) -> Refused:
    """Return the refusal of a body that breaks the schema."""
    return Refused(422, Reason.SCHEMA, "The body breaks the schema.", violations=violations)
