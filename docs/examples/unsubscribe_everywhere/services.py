"""The systems that must know of an unsubscribe: mail service, CRM, an advertising audience; and a warehouse."""

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from systems import System, serve

AUDIENCE = {hashlib.sha256(f"{name}@example.org".encode()).hexdigest(): name for name in ("ann", "bob", "eve")}
"""Whom the advertising network knows, and as what."""


def suppressed(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Mail nobody of that address any more."""
    return f"no more mail to {asked['email']}", None


def mailed(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Take a message."""
    return f"{asked['template']} to {asked['to']}", None


def opted_out(asked: dict[str, Any], request: Any) -> tuple[str, dict[str, Any]]:
    """Note it in the contact, and say how the contact is now."""
    contact = request.match_info["contact"]
    return f"{contact} opted out", {"contact": contact, "opted_out": asked["opted_out"]}


def removed(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Take somebody out of the audience, whom only the hash names."""
    return f"{AUDIENCE.pop(asked['hashed_email'], 'nobody we know')} is in no audience", None


def noted(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Take the proof that all were told."""
    return f"{asked['customer_id']}: all were told", None


if __name__ == "__main__":
    serve(
        System("mail", {("POST", "/v1/messages"): mailed, ("POST", "/v1/suppressions"): suppressed}),
        System("crm", {("PATCH", "/v3/contacts/{contact}"): opted_out}, remembers=False),
        System("ads_audience", {("POST", "/v1/audience/remove"): removed}),
        System("warehouse", {("POST", "/touchpoints"): noted}),
    )
