"""What a fleet says of itself: in its log, and by `hookline status`."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.support.conditions import eventually

if TYPE_CHECKING:
    from tests.support.children import Child
    from tests.support.system import System


def lines(worker: Child, name: str) -> list[dict[str, Any]]:
    """What a worker logged under a name."""
    found = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    return [each for each in found if each["event"] == name]


def joined(text: str) -> str:
    """What was printed, whatever the width of the screen."""
    return " ".join(text.split())


async def standing(system: System, what: str) -> str:
    """Wait until `status` says that something stands still; return all it says."""

    async def told() -> tuple[int, str] | None:
        # A worker logs first, then tells its state: what `status` says meanwhile is of before.
        status = await asyncio.to_thread(system.run, "status")
        text = joined(status.stdout)
        return (status.returncode, text) if f"{what} stands still in 1 of 1 workers" in text else None

    code, text = await eventually(told, timeout_s=60)
    assert code == 1, text
    return text
