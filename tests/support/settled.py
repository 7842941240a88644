"""Deliveries as settling hands them to telemetry, with personal data wherever a careless exporter would find it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pipeline.adapters.telemetry import Places
from pipeline.model import Attempt, Delivery, Event, Flight, Kind, Record, RetryPolicy, Route, Run, Step, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENT = "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d"
TRACE = EVENT.replace("-", "")
PARENT = "00f067aa0ba902b7"
SECOND = 1_000_000_000
T0 = 1_790_000_000 * SECOND
CUSTOMER = "customer-4711"
EMAIL = "ann.personal@example.org"

PLACES = Places(
    group="hookline", retry_group="hookline.retry", retry_prefix="hookline.retry.", outcomes="hookline.outcomes",
    dead="hookline.dead", servers={"crm": ("api.crm.example", 443)},
)  # fmt: skip


def step() -> Step:
    """The step `cart_recovery.push`: PATCH on the destination `crm`."""
    return Step(
        journey="cart_recovery", name="push", kind=Kind.UPDATE, destination="crm", operation="set_stage",
        method="PATCH", url_template="/v3/accounts/{account}", basis="consent", purpose="marketing", channels=(),
        max_age_ms=1, id_suffix=b"/cart_recovery/push", when=None, render=lambda *_: b"", head=lambda *_: b"",
        retry=RetryPolicy(8, 1, True, (10_000,), {}), outcome_prefix=b"",
    )  # fmt: skip


def flight(
    topic: str = "lifecycle.events",
    parent_id: str = PARENT,
    *,
    event: bool = True,
    event_id: str = EVENT,
    trace_id: str = TRACE,
    received_ns: int = T0,
) -> Flight:
    """One consumed position of the event, or of one that could not be decoded."""
    at_ms = received_ns // 1_000_000
    record = Record(topic, 3, 1234, CUSTOMER.encode(), EMAIL.encode(), (), at_ms - 5)
    fact = Event(event_id, "cart.abandoned", at_ms, CUSTOMER, {"email": True})
    trace = Trace(trace_id, parent_id, sampled=True, state=f"vendor={EMAIL}")
    source = ("lifecycle.events", 3, 1234, at_ms)
    return Flight(record, SimpleNamespace(), source, fact if event else None, trace, received_ns, deliveries=1)


def delivery(of: Flight | None = None, number: int = 1, attempts: Sequence[Attempt] = (), **run: Any) -> Delivery:
    """One delivery of that position; `run` sets fields of its Run."""
    made = Run(of or flight(), Route("cart_recovery", "h", 1, None, ()), T0 // 1_000_000, **run)
    body = f'{{"customer": "{CUSTOMER}", "to": "{EMAIL}"}}'.encode()
    return Delivery(
        f"delivery-{number}", step(), made, body, EMAIL.encode(), 0, attempts=len(attempts), history=list(attempts)
    )


def attempt(number: int, status: int = 200, cls: str = "", at_ns: int = T0) -> Attempt:
    """An attempt of a tenth of a second that began `number` seconds after `at_ns`."""
    start_ns = at_ns + number * SECOND
    return Attempt(number, f"{0xA0 + number:016x}", start_ns, start_ns + SECOND // 10, status, cls)
