"""Builds what reaches and enters each destination, and makes it anew when a file with one of its secrets changes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeline.adapters import signers
from pipeline.adapters.http import HttpSender, TokenSource, Waited, tls_context
from pipeline.adapters.http.oauth import TOKEN_BODY_BYTES_MAX
from pipeline.errors import ConfigError
from pipeline.ports import LaneStats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.credentials import Access
    from pipeline.config.secrets import Version
    from pipeline.model import Destination

POLL_S: Final = 5.0
"""How often files with secrets are looked at: a new value is in use at most so much later."""


class Endpoint:
    """The sender of one destination, and what its attempts wait for. Made on the running loop."""

    def __init__(self, destination: Destination, access: Access, stats: LaneStats, log: Callable[..., None]) -> None:
        """Prepare; may block on TLS files for some milliseconds. Raises ConfigError for files or a signer of no use."""
        self.destination = destination
        self.access = access
        self.sender = HttpSender(destination, stats)
        self.authentication: Waited | None = None
        self._token_sender: HttpSender | None = None
        tokens = None
        if access.token_endpoint is not None:
            where = access.token_endpoint
            there = replace(
                destination, host=where.host, port=where.port, tls=where.tls, response_bytes_max=TOKEN_BODY_BYTES_MAX
            )
            self._token_sender = HttpSender(there, LaneStats())
            timeout_s = destination.timeout_ms / 1000
            tokens = TokenSource(destination.name, access.credentials, self._token_sender, timeout_s, log)
        signer = signers.load(*access.plugin, destination.name) if access.plugin is not None else None
        if tokens is not None or signer is not None:
            self.authentication = Waited(tokens, signer, time.time_ns)

    def prepared(self, access: Access) -> Callable[[], None]:
        """Prepare the change to what was resolved anew; return the function that makes it, on the loop, at once.

        Blocks on TLS files. Raises ConfigError if something of it cannot be used; nothing has changed then.
        """
        tls = tls_context(self.destination) if any(access.tls_files) else None
        signer = signers.load(*access.plugin, self.destination.name) if access.plugin is not None else None

        def change() -> None:
            if tls is not None:
                for sender in (self.sender, self._token_sender):
                    if sender is not None:
                        sender.trust(tls)
            if self.authentication is not None:
                self.authentication.signer = signer
            self.access.credentials.replace(access.credentials)

        return change

    async def close(self) -> None:
        """Close everything; idempotent."""
        if self.authentication is not None:
            await self.authentication.close()
        await self.sender.close()


class Rotation:
    """Looks at the files behind references, and changes endpoints over to what is in them now."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        renewed: Callable[[str], Access],
        version: Callable[[str], Version],
        log: Callable[..., None],
        poll_s: float = POLL_S,
    ) -> None:
        self._endpoints = endpoints
        self._renewed = renewed
        self._version = version
        self._log = log
        self._poll_s = poll_s
        self._seen = {name: dict(endpoint.access.files) for name, endpoint in endpoints.items()}

    async def run(self) -> None:
        """Look every few seconds until cancelled. The looking and reading is done in a thread, off the loop."""
        while any(self._seen.values()):
            await asyncio.sleep(self._poll_s)
            for name, refs in (await asyncio.to_thread(self._changed)).items():
                await self._change(name, refs)

    def _changed(self) -> dict[str, list[str]]:
        """Return the references whose file is another one now, by destination."""
        found: dict[str, list[str]] = {}
        for name, seen in self._seen.items():
            for ref, before in seen.items():
                now = self._version(ref)
                if now != before:
                    seen[ref] = now  # looked at once, good or bad
                    found.setdefault(name, []).append(ref)
        return found

    async def _change(self, name: str, refs: list[str]) -> None:
        """Use the new values of one destination, all or none: what cannot be used is named, and the old goes on."""
        try:
            access = await asyncio.to_thread(self._renewed, name)
            change = await asyncio.to_thread(self._endpoints[name].prepared, access)
        except ConfigError as error:
            self._log("error", "secrets_refused", destination=name, references=", ".join(refs), reason=str(error))
            return
        change()
        self._seen[name] = dict(access.files)
        self._log("info", "secrets_reloaded", destination=name, references=", ".join(refs))
