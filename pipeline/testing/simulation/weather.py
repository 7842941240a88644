"""How systems answer: as they should, or with any failure HTTP and networks have, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from pipeline.errors import BrokerError
from pipeline.model import Answer, Failure, FailureClass
from pipeline.testing.stage.endpoints import Reply

if TYPE_CHECKING:
    import random

    from pipeline.testing.stage.endpoints import Request

GOOD: Final = 0.7
"""Share of requests that are answered well in bad weather."""
OK: Final = 200
MULTIPLE: Final = 300
PATIENCE_S: Final = 0.9
"""Less than any timeout that is drawn."""

_FAILURES: Final[tuple[Answer | Failure | None, ...]] = (
    *(Answer(status) for status in (302, 400, 401, 403, 404, 407, 408, 409, 410, 413, 422, 425, 500, 501, 502, 503)),
    Answer(429, "2"), Answer(429, "Mon, 23 Nov 2026 10:00:30 GMT"), Answer(503, "5"), Answer(500, "nonsense"),
    Answer(200, "", b"{"), Answer(200, "", b'{"code": 7}'), Answer(200, "", b'{"a": "' + b"x" * 1_000, cut=True),
    Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused"),
    Failure(FailureClass.CONNECTION, sent=True, detail="closed_before_answer"),
    Failure(FailureClass.TLS, sent=False, detail="handshake"),
    None,
)  # fmt: skip


class Weather:
    """Of one run. `bad` until peace comes; `down` are systems that cannot be reached at all."""

    def __init__(self, chance: random.Random, advises: frozenset[str]) -> None:
        """`advises`: destinations whose answers are read."""
        self.bad = True
        self.down: set[str] = set()
        self._chance = chance
        self._advises = advises

    def reply(self, request: Request) -> Reply:
        """Answer one request."""
        chance = self._chance
        after_s = chance.uniform(0.001, 0.1)
        if request.destination in self.down:
            return Reply(_FAILURES[-4], after_s)
        if not self.bad or chance.random() < GOOD:
            if request.destination in self._advises:
                return Reply(Answer(OK, "", orjson.dumps({"code": code(request.headers["webhook-id"])})), after_s)
            return Reply(Answer(chance.choice((200, 201, 204))), after_s)
        answer = chance.choice(_FAILURES)
        if isinstance(answer, Failure):  # soon: what breaks off on an old connection is asked once more at once
            return Reply(answer, after_s)
        return Reply(answer, chance.choice((after_s, chance.uniform(0.1, 3.0))))


def code(delivery_id: str) -> str:
    """Return what a system answers to a delivery: the same each time, and no other delivery's."""
    return f"code-{delivery_id[:13]}"


def taken(reply: Reply) -> bool:
    """Whether a system did what it was asked for, and says so before anybody gives up waiting."""
    return isinstance(reply.answer, Answer) and OK <= reply.answer.status < MULTIPLE and reply.after_s < PATIENCE_S


def not_before_s(reply: Reply) -> float:
    """Return how long a system wants to be left alone, in seconds; 0 if it does not say."""
    answer = reply.answer
    heard = isinstance(answer, Answer) and answer.retry_after.isdigit() and reply.after_s < PATIENCE_S
    return float(answer.retry_after) if isinstance(answer, Answer) and heard else 0.0


def deliveries(request: Request) -> list[str]:
    """Return the IDs of the deliveries a request is for."""
    body = orjson.loads(request.body)
    if isinstance(body, list):
        return [each["hookline"]["delivery_id"] for each in body]
    return [request.headers["webhook-id"]]


def members(request: Request) -> list[tuple[str, str, str]]:
    """Return event ID, journey and step of each delivery a request is for: of a batch, several."""
    if request.step:
        return [(request.headers["hookline-event-id"], request.journey, request.step)]
    metas = (each["hookline"] for each in orjson.loads(request.body))
    return [(each["event_id"], each["journey"], each["step"]) for each in metas]


def shown(reply: Reply) -> str:
    """Say in a few words what is answered."""
    answer = reply.answer
    if answer is None:
        return "no answer"
    if isinstance(answer, Failure):
        return answer.detail
    body = f" {answer.body[:40]!r}" if answer.body else ""
    return f"{answer.status}{body} after {reply.after_s:.3f} s"


class Refusal(BrokerError):
    """A worker's producer is of no more use: it stops, and another one takes over."""
