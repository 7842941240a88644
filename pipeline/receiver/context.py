"""What is known about the request that is being handled, for the handler's code and for every line it logs."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from pipeline.receiver.tracing import joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.receiver.values import Accepted

_current: ContextVar[Accepted | None] = ContextVar("hookline_receiver_current", default=None)
_NOTHING: Final[Mapping[str, str]] = {"event.id": "", "delivery.id": "", "trace_id": ""}


def current() -> Accepted | None:
    """Return the request this code runs for; None outside of one. Threads see it if their context was copied."""
    return _current.get()


class LogContext(logging.Filter):
    """Puts `event.id`, `delivery.id` and `trace_id` on log records, "" outside of a request; lets every record pass.

    Add it to handlers, not to loggers: a logger's filters do not see what its children log.

        handler.addFilter(LogContext())
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s event=%(event.id)s trace=%(trace_id)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the three fields, where the record does not have them."""
        accepted = _current.get()
        for name, content in (_NOTHING if accepted is None else log_fields(accepted)).items():
            record.__dict__.setdefault(name, content)
        return True


def log_fields(accepted: Accepted) -> dict[str, str]:
    """Return the three fields. What is not printable is percent-encoded: no event ID can forge a log line."""
    trace_id = accepted.trace.trace_id
    return {
        "event.id": _printable(accepted.event_id),
        "delivery.id": _printable(accepted.delivery_id),
        "trace_id": trace_id,
    }


def _printable(text: str) -> str:
    return text if text.isprintable() else quote(text, errors="surrogatepass")


@contextmanager
def entered(accepted: Accepted) -> Iterator[None]:
    """Within it `current()` is this request, log records and structlog carry its IDs, and spans join its trace."""
    token = _current.set(accepted)
    try:
        with ExitStack() as stack:
            structlog = sys.modules.get("structlog")  # who uses it has imported it; the rest shall not wait for it
            if structlog is not None:
                stack.enter_context(structlog.contextvars.bound_contextvars(**log_fields(accepted)))
            stack.enter_context(joined(accepted.trace))
            yield
    finally:
        _current.reset(token)
