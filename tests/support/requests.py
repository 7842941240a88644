"""Requests as Hookline writes them, for those who receive: headers from its own signer, sent over a real socket."""

from __future__ import annotations

import time
import uuid
from base64 import b64encode

from pipeline.core import signing

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
EVENT_ID = "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d"
BODY = b'{"customer":"c-1","total":5}'
HOOKLINE = {
    "content-type": "application/json",
    "hookline-event-id": EVENT_ID,
    "hookline-event-type": "order.placed",
    "hookline-event-time": "2026-11-23T10:00:00.007Z",
    "hookline-journey": "order_thanks",
    "hookline-step": "mail",
    "traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01",
}


def secret(number: int) -> str:
    """A signing secret, always the same for a number."""
    return "whsec_" + b64encode(bytes([number]) * 32).decode()


def delivery() -> str:
    """A new delivery ID."""
    return str(uuid.uuid4())


def signed(body: bytes = BODY, *secrets: str, delivery_id: str = "", now_s: float | None = None) -> dict[str, str]:
    """The headers of one attempt. By default signed with `secret(1)`, of a new delivery, now."""
    name = (delivery_id or delivery()).encode()
    stamp = b"%d" % (time.time() if now_s is None else now_s)
    sign = signing.signer([signing.signing_key(each) for each in secrets or (secret(1),)])
    lines = sign(name, stamp, body).decode("ascii").splitlines()
    return HOOKLINE | {"webhook-id": name.decode()} | dict(line.split(": ", 1) for line in lines)
