"""What the handler's code and its log lines know of the request."""

from __future__ import annotations

import asyncio
import io
import logging

import pytest
import structlog

from pipeline.model import Trace
from pipeline.receiver import Accepted, LogContext, current
from pipeline.receiver.context import entered, log_fields

ONE, TWO = (
    Accepted(f"d-{name}", f"e-{name}", "order.placed", "", "", "", Trace(name * 32, name * 16, sampled=True), b"{}")
    for name in "12"
)


@pytest.fixture
def lines():
    """A logger as an application sets one up, and what it wrote."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(LogContext())
    handler.setFormatter(logging.Formatter("%(message)s [%(event.id)s|%(delivery.id)s|%(trace_id)s]"))
    logger = logging.getLogger("shop.orders")
    logger.addHandler(handler)
    yield logger, stream
    logger.removeHandler(handler)


def test_log_lines_of_a_request_carry_its_ids_and_others_none(lines):
    logger, stream = lines
    logger.error("before")
    with entered(ONE):
        assert current() is ONE
        logger.error("within")
        logger.error("own", extra={"event.id": "mine"})
    logger.error("after")
    assert current() is None
    assert stream.getvalue().splitlines() == [
        "before [||]",
        f"within [e-1|d-1|{'1' * 32}]",
        f"own [mine|d-1|{'1' * 32}]",
        "after [||]",
    ]


async def test_requests_under_way_at_once_do_not_mix(lines):
    logger, stream = lines
    both = asyncio.Barrier(2)

    async def handle(accepted):
        with entered(accepted):
            await both.wait()
            logger.error("x")
            await asyncio.create_task(nested())
            await both.wait()
            assert current() is accepted

    async def nested():
        logger.error("x")

    await asyncio.gather(handle(ONE), handle(TWO))
    assert sorted(stream.getvalue().splitlines()) == sorted(
        f"x [e-{name}|d-{name}|{name * 32}]" for name in "12" for _ in range(2)
    )


def test_structlog_carries_them_too_and_gets_back_what_it_had():
    with structlog.contextvars.bound_contextvars(tenant="t"):
        with entered(ONE):
            assert structlog.contextvars.get_contextvars() == {"tenant": "t"} | log_fields(ONE)
        assert structlog.contextvars.get_contextvars() == {"tenant": "t"}


def test_an_id_cannot_forge_a_log_line():
    forged = Accepted("d\r", "e\nERROR all is lost \ud800", "", "", "", "", Trace("", "", sampled=False), b"")
    fields = log_fields(forged)
    assert all(text.isprintable() and text.isascii() for text in fields.values())
    assert fields["event.id"].startswith("e%0AERROR")


def test_a_handler_that_raises_leaves_nothing_behind():
    with pytest.raises(LookupError), entered(ONE):
        raise LookupError
    assert current() is None
    assert structlog.contextvars.get_contextvars() == {}
