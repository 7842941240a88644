"""The systems around churn risk: a scoring service, a help desk, a mail service."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from systems import System, serve

HIGH = 0.7


def score(asked: dict[str, Any], _request: object) -> tuple[str, dict[str, Any]]:
    """Say how likely the customer is to leave: a model that believes in the drop alone."""
    risk = round(min(asked["drop_ratio"] * 1.2, 1.0), 2)
    band = "high" if risk >= HIGH else "low"
    return f"{asked['customer_id']}: {band}", {"risk": risk, "band": band}


def ticket(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Open a ticket; its external ID is what closes it again."""
    return f"ticket: {asked['subject']}", None


def mailed(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Take a message."""
    return f"{asked['template']} to {asked['to']}", None


if __name__ == "__main__":
    serve(
        System("churn_model", {("POST", "/v1/churn"): score}, remembers=False),
        System("helpdesk", {("POST", "/v2/tickets"): ticket}),
        System("mail", {("POST", "/v1/messages"): mailed}),
    )
