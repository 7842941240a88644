"""A signer outside signs each attempt; its failures are the attempt's, and nothing it says is shown."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.adapters.http import Waited
from pipeline.model import Failure, FailureClass

NOW_NS = 1_614_265_330_000_000_000


class Signer:
    """Answers, or raises, what it is told to."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    async def sign(self, content: bytes) -> str:
        self.asked.append(content)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # whatever somebody else's code returns


def waited(signer: object) -> Waited:
    return Waited(None, signer, lambda: NOW_NS)  # type: ignore[arg-type]


async def test_a_signer_is_given_what_standard_webhooks_signs():
    signer = Signer("v1a,abc= v1a,def=")
    lines = await waited(signer).lines("id-1", b'{"a":1}')
    assert signer.asked == [b'id-1.1614265330.{"a":1}']
    assert lines == b"webhook-timestamp: 1614265330\r\nwebhook-signature: v1a,abc= v1a,def=\r\n"


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (RuntimeError("canary"), "signer_failed"),
        (OSError("canary"), "signer_failed"),
        (ValueError("canary"), "signature_unusable"),
        (asyncio.CancelledError(), "signer_failed"),
        ("", "signature_unusable"),
        ("v1a,canary\r\nEvil: 1", "signature_unusable"),
        (b"canary", "signature_unusable"),
        (None, "signature_unusable"),
    ],
)
async def test_whatever_goes_wrong_is_a_failure_that_is_retried(answer, detail):
    assert await waited(Signer(answer)).lines("id-1", b"") == Failure(FailureClass.AUTH, sent=False, detail=detail)


class Synchronous:
    """Forgot that it is to be awaited."""

    def sign(self, content: bytes) -> str:
        return f"v1a,{len(content)}"


async def test_a_signer_that_cannot_be_awaited_is_a_failure_too():
    failure = Failure(FailureClass.AUTH, sent=False, detail="signer_failed")
    assert await waited(Synchronous()).lines("id-1", b"") == failure
    assert await waited(object()).lines("id-1", b"") == failure


async def test_a_signer_that_does_not_let_itself_be_cancelled_keeps_nobody():
    going, released, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Stubborn:
        async def sign(self, _content: bytes) -> str:
            going.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await released.wait()
                ended.set()
                raise RuntimeError("canary") from None
            return ""

    waiting = asyncio.ensure_future(waited(Stubborn()).lines("id-1", b""))
    await going.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not ended.is_set()
    released.set()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_without_a_source_of_tokens_a_401_changes_nothing():
    assert not await waited(Signer("v1a,a")).refused(b"webhook-timestamp: 1\r\n")
