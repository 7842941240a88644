"""Performs alerting: hands messages to whatever an alert's URL names, by Apprise. The one door to it.

Apprise blocks, so it lives in a thread of its own, its import included; nothing of it is logged, since its lines may
quote the URL, which is a secret.
"""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WAITING_MAX: Final = 64
"""Messages that wait for the thread. One more is refused, and counts as one that could not be sent."""
CLOSE_S: Final = 5.0
"""Bound on what still waits at the end."""


class Unusable(Exception):
    """The URL behind an alert is none that Apprise knows."""


def is_installed() -> bool:
    """Whether the library is there: the extra `alerts`."""
    return find_spec("apprise") is not None


def connected(url: str) -> Callable[[str, str, bool], bool]:
    """Return `(title, body, well)` to whether the message was taken. Blocks, a second for the import.

    The returned function blocks for at most some seconds (Apprise: 4 s to connect, 4 s for each answer) and never
    raises. Raises Unusable, and ImportError where the library is not installed.
    """
    for name in ("apprise", "urllib3"):  # the second quotes paths, in lines at DEBUG and WARNING
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415 - 40 MB, for those who have alerts

    services = Apprise()
    if not services.add(url):
        raise Unusable

    def send(title: str, body: str, well: bool) -> bool:  # noqa: FBT001 - the port's own
        kind = NotifyType.SUCCESS if well else NotifyType.FAILURE
        try:
            return bool(services.notify(body, title, notify_type=kind, body_format=NotifyFormat.TEXT))
        except Exception:  # noqa: BLE001 - whatever a plugin raises, somebody was not told
            return False

    return send


class AppriseNotifier:
    """Sends messages in a thread of its own. Implements ports.Notifier."""

    def __init__(
        self,
        urls: Mapping[str, str],
        log: Callable[..., None],
        connect: Callable[[str], Callable[[str, str, bool], bool]] = connected,
    ) -> None:
        """Start the thread, which loads Apprise. `urls` by alert."""
        self._urls = dict(urls)
        self._log = log
        self._connect = connect
        self._waiting: queue.Queue[tuple[str, str, str, bool, Callable[[bool], None]] | None] = queue.Queue(WAITING_MAX)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def send(self, alert: str, title: str, body: str, done: Callable[[bool], None], *, well: bool) -> bool:
        """See ports.Notifier."""
        if self._closed:
            return False
        try:
            self._waiting.put_nowait((alert, title, body, well, done))
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """See ports.Notifier."""
        if not self._closed:
            self._closed = True
            with suppress(queue.Full):
                self._waiting.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        channels = {alert: self._connected(alert, url) for alert, url in self._urls.items()}
        while (item := self._waiting.get()) is not None:
            alert, title, body, well, done = item
            send = channels[alert]
            done(send is not None and send(title, body, well))

    def _connected(self, alert: str, url: str) -> Any:
        try:
            return self._connect(url)
        except Exception as error:  # noqa: BLE001 - a plugin's own, too: the other alerts have theirs
            self._log("error", "alert_unusable", alert=alert, error=type(error).__name__,
                      remedy=f"hookline alert test {alert}")  # fmt: skip
            return None
