"""Decides with what a batch is sent: the head, the limits and the contract that its deliveries share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeline.core import batch, contract
from pipeline.model import Answer, BatchPolicy, Broken, FailureClass, Kind, Refused, RetryPolicy, Step, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.batch import Batch
    from pipeline.model import Datum

NO_BOUND: Final = 1_000_000
"""Attempts of a batch as such: its deliveries have theirs, and none of them is in the same batch twice."""


@value
class Request:
    """What is constant about one step's requests, and how their answers are read. `url_template` holds no secret."""

    method: str
    url_template: str
    head: Callable[[str, bytes, str, int, bytes, bytes], bytes]
    response: Callable[[Answer], Mapping[str, object] | Broken] | None
    keep_bytes: int
    excerpt_bytes: int


def policy(
    given: Batch, call: str, request: Request, retry: RetryPolicy, *, lines: bool, response_bytes_max: int
) -> BatchPolicy:
    """Return how deliveries of one operation (`destination.operation`) share requests; `request` is nobody's own."""
    destination, _, operation = call.partition(".")
    read = None
    if (found := given.results) is not None:
        id_ = None if found.id is None else _tokens(found.id)
        read = batch.reader(batch.Results(_tokens(found.at), _tokens(found.status), id_))
    step = Step(
        journey="", name="", kind=Kind.UPDATE, destination=destination, operation=operation, method=request.method,
        url_template=request.url_template, basis="", purpose="", channels=(), max_age_ms=0, id_suffix=b"", when=None,
        render=_nothing, head=request.head, retry=replace(retry, max_attempts=NO_BOUND, in_process_ms=()),
        outcome_prefix=b"", response=_answer(request.response, read),
        keep_bytes=request.keep_bytes if read is None else response_bytes_max, excerpt_bytes=request.excerpt_bytes,
    )  # fmt: skip
    return BatchPolicy(given.max_events, given.max_bytes, given.max_wait_ms, lines, step, read)


def _answer(
    contract_of: Callable[[Answer], Mapping[str, object] | Broken] | None, read: batch.Read | None
) -> Callable[[Answer], Mapping[str, object] | Broken] | None:
    """Check a batch's answer as a whole, and keep it for its items' results."""
    if contract_of is None and read is None:
        return None

    def checked(answer: Answer) -> Mapping[str, object] | Broken:
        kept = contract_of(answer) if contract_of is not None else {}
        if isinstance(kept, Broken):
            return kept
        if read is not None and read(answer.body, ()) is None:
            return Broken("results")
        return {"answer": answer}

    return checked


def _tokens(pointer: str) -> tuple[str, ...]:
    return contract.tokens(pointer) or ()


def _nothing(_datum: Datum, _now_ms: int) -> Refused:
    """Stand in for a payload: a batch's body is made of its deliveries'."""
    return Refused(FailureClass.CONFIG, "")
