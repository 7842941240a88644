"""The systems around cart recovery: a promotion service that decides, a mail service, a warehouse."""

import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from systems import System, serve

MARGIN = {"LAMP": 0.45, "DESK": 0.30, "PHONE": 0.06}
"""What is left of a price, by article. An unknown one has none to give away."""
MARGIN_MIN = 0.20
LARGE = Decimal(100)
VALID = timedelta(hours=24)


class Promotions:
    """Grants a code if the cart's margin allows it and the customer had none lately. One answer a cart, for ever."""

    def __init__(self) -> None:
        self._carts: dict[str, dict[str, Any]] = {}
        self._had: set[str] = set()

    def issue(self, asked: dict[str, Any], _request: object) -> tuple[str, dict[str, Any]]:
        """Decide; the same cart gets the same answer."""
        cart, customer = asked["cart_id"], asked["customer_id"]
        if cart not in self._carts:
            self._carts[cart] = self._decide(asked)
            if self._carts[cart]["code"]:
                self._had.add(customer)
        answer = self._carts[cart]
        return f"{cart}: {answer['code'] or 'no incentive'}", answer

    def _decide(self, asked: dict[str, Any]) -> dict[str, Any]:
        if any(line.keys() != {"sku", "qty"} for line in asked["lines"]):
            raise ValueError("a line says more than it should")
        margins = [MARGIN.get(line["sku"], 0.0) for line in asked["lines"]]
        if asked["customer_id"] in self._had or min(margins, default=0.0) < MARGIN_MIN:
            return {"code": "", "expires_at": None}
        percent = 10 if Decimal(asked["cart_value"]) >= LARGE else 5
        expires = datetime.now(UTC) + VALID
        return {"code": f"SAVE{percent}-{asked['cart_id'].upper()}", "expires_at": expires.isoformat()}


def mailed(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Take a message."""
    code = f" with {asked['code']}" if "code" in asked else ""
    return f"{asked['template']} to {asked['to']}{code}", None


def noted(asked: dict[str, Any], _request: object) -> tuple[str, None]:
    """Take a touchpoint."""
    return f"{asked['customer_id']} was reached, incentive {asked['incentive']}", None


if __name__ == "__main__":
    serve(
        System("promotions", {("POST", "/v1/incentives"): Promotions().issue}, remembers=False),
        System("mail", {("POST", "/v1/messages"): mailed}),
        System("warehouse", {("POST", "/touchpoints"): noted}),
    )
