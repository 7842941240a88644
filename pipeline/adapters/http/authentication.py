"""Performs what an attempt waits for before its request can be written: an access token, a signature made elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pipeline.core import signing
from pipeline.model import Failure, FailureClass

if TYPE_CHECKING:
    from pipeline.adapters.http.oauth import TokenSource
    from pipeline.ports import Clock, Signer


class Waited:
    """Implements ports.Authentication with a source of tokens, a signer, or both."""

    def __init__(self, tokens: TokenSource | None, signer: Signer | None, clock: Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self.signer = signer

    async def lines(self, delivery_id: str, body: bytes) -> bytes | Failure:
        """See ports.Authentication."""
        lines = b""
        if self._tokens is not None:
            got = await self._tokens.line()
            if isinstance(got, Failure):
                return got
            lines = got
        if self.signer is not None:
            stamp = b"%d" % (self._clock() // 1_000_000_000)
            signed = await _signature(self.signer, signing.content(delivery_id.encode("ascii"), stamp, body))
            if isinstance(signed, Failure):
                return signed
            lines += signing.lines(stamp, signed)
        return lines

    async def refused(self, lines: bytes) -> bool:
        """See ports.Authentication."""
        if self._tokens is None:
            return False
        return await self._tokens.renew(lines[: lines.index(b"\r\n") + 2])

    async def close(self) -> None:
        """See ports.Authentication."""
        if self._tokens is not None:
            await self._tokens.close()


async def _signature(signer: Signer, content: bytes) -> bytes | Failure:
    """Ask a signer in a task of its own: one that does not let itself be cancelled must not keep the seat."""
    signing_task = asyncio.get_running_loop().create_task(_asked(signer, content))
    try:
        await asyncio.wait([signing_task])
    except asyncio.CancelledError:
        signing_task.cancel()
        signing_task.add_done_callback(_looked_at)
        raise
    try:
        return signing.signature_text(signing_task.result())
    except ValueError:
        return Failure(FailureClass.AUTH, sent=False, detail="signature_unusable")
    except (Exception, asyncio.CancelledError):  # noqa: BLE001 - somebody else's code; its message may hold anything
        return Failure(FailureClass.AUTH, sent=False, detail="signer_failed")


async def _asked(signer: Signer, content: bytes) -> str:
    return await signer.sign(content)  # in here, so that even calling it may go wrong


def _looked_at(task: asyncio.Task[str]) -> None:
    """Take note of how an abandoned task ended, which asyncio would complain about otherwise."""
    if not task.cancelled():
        task.exception()
