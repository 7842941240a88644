"""The systems around a trial: a CRM that knows each account's stage, and a mail service."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from systems import System, serve

STAGES = ("activated", "collaborating", "integrated")
"""An account's stage after its first, second and third milestone, whichever they are."""


class Accounts:
    """Keeps the milestones of accounts. A milestone told again changes nothing."""

    def __init__(self) -> None:
        self._reached: dict[str, set[str]] = {}

    def set_stage(self, asked: dict[str, Any], request: Any) -> tuple[str, dict[str, Any]]:
        """Note a milestone and say which stage the account has now."""
        account = request.match_info["account"]
        reached = self._reached.setdefault(account, set())
        reached.add(asked["milestone"])
        stage = STAGES[len(reached) - 1]
        return f"{account} is {stage}", {"data": {"stage": stage, "owner": "u-7"}}


def mailed(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Take a message."""
    return f"{asked['template']} to {asked['to']}", None


if __name__ == "__main__":
    serve(
        System("crm", {("PATCH", "/v3/accounts/{account}"): Accounts().set_stage}, remembers=False),
        System("mail", {("POST", "/v1/messages"): mailed}),
    )
