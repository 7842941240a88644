"""Runs the systems that the demo's webhooks go to: three receivers in one thread, each with its own human problem."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeline.testing.receiver import Behaviour, Receiver

if TYPE_CHECKING:
    from collections.abc import Coroutine

ANSWER_S: Final = 10.0
"""Bound on starting, switching or stopping a receiver."""
MAIL_DOWN_S: Final = 6.0
"""How long the mail service is down, from the first event on."""

CRM, MAIL, WAREHOUSE = "crm", "mail", "warehouse"

PROBLEMS: Final = {
    CRM: "answers after 20 ms; fails 5% of requests (503), resets 1%, and rejects 0.5% of deliveries (422)",
    MAIL: f"is down for the first {MAIL_DOWN_S:.0f} seconds",
    WAREHOUSE: "is perfect",
}
"""The destinations, and what is wrong with each."""

_BEHAVIOURS: Final = {
    CRM: (20, 0.05, 0.01, 0.005),
    MAIL: (5, 0.0, 0.0, 0.0),
    WAREHOUSE: (2, 0.0, 0.0, 0.0),
}
"""Latency in ms; shares of 503, reset and 422."""

_T = TypeVar("_T")


class Systems:
    """The receivers by destination, from `start` to `stop`; `crm_secret` signs what the CRM gets (`whsec_…`)."""

    def __init__(self, crm_secret: str, seed: int) -> None:
        self.receivers = {
            name: Receiver(Behaviour(*how), seed=seed, secrets=(crm_secret,) if name == CRM else ())
            for name, how in _BEHAVIOURS.items()
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="receivers", daemon=True)

    def start(self) -> None:
        """Listen on free ports; then the mail service goes down, and keeps its port in mind. Blocks up to ANSWER_S."""
        self._thread.start()
        for receiver in self.receivers.values():
            self._do(receiver.start())
        self._do(self.receivers[MAIL].down())

    def mend(self) -> None:
        """Bring the mail service up. Raises OSError if someone else took its port meanwhile."""
        self._do(self.receivers[MAIL].up())

    def urls(self) -> dict[str, str]:
        """Return where each listens."""
        return {name: receiver.url for name, receiver in self.receivers.items()}

    def seen(self) -> dict[str, dict[str, Any]]:
        """Return what each has seen so far; see Receiver.snapshot."""
        return {name: receiver.snapshot() for name, receiver in self.receivers.items()}

    def stop(self) -> None:
        """End; what was seen stays."""
        for receiver in self.receivers.values():
            self._do(receiver.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(ANSWER_S)
