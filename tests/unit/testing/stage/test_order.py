"""testing/stage/order: what breaks the order is said, what keeps it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config.load import load
from pipeline.core import outcome, runstate
from pipeline.core.runstate import RunState, StepState
from pipeline.model import Outcome
from pipeline.testing.stage.broker import StageBroker
from pipeline.testing.stage.order import Order

if TYPE_CHECKING:
    import pathlib

LOG = "shop.ordered.thanks"


@pytest.fixture
async def order(folder: pathlib.Path):
    journey = folder / "journeys/thanks.yaml"
    journey.write_text(journey.read_text().replace("purpose: marketing\n", "purpose: marketing\nordering: key\n", 1)
                       .replace("trigger:", "status: live\ntrigger:", 1))  # fmt: skip
    broker = StageBroker(lambda: 0)
    made = Order(load(folder, None), broker)
    made.broker = broker
    return made


def enter(order, customer: str, event_id: str) -> None:
    state = RunState(
        "thanks", "h", event_id, ("in", 0, 0, 0), 2, 0, 1, 0, 0, "a" * 32, False, "",
        {"mail": StepState(0, 0, 0, "turn", 0)},
    )  # fmt: skip
    order.broker.append(LOG, 0, customer.encode(), b"v", [(runstate.STATE_HEADER, runstate.encode(state) or b"")])


def over(order, event_id: str, step: str = "mail") -> None:
    content = outcome.encode(
        outcome.prefix("thanks", "h", step, "mail", "send"), event_id, "purchase.completed", event_id, "r" * 32, "in",
        0, 0, 0, 0, 2, "a" * 32, Outcome.DELIVERED, "", 200, 1, 0, 0, 1, 0, (),
    )  # fmt: skip
    order.broker.append("shop.outcomes", 0, None, content, [])


async def test_one_after_the_other_breaks_nothing(order) -> None:
    enter(order, "ann", "e-1")
    enter(order, "ann", "e-2")
    enter(order, "bob", "e-3")
    assert list(order.asked("thanks", "mail", "e-1")) == []
    assert list(order.asked("thanks", "mail", "e-3")) == []
    assert list(order.asked("thanks", "mail", "e-1")) == []  # a retry
    over(order, "e-1")
    assert list(order.asked("thanks", "mail", "e-2")) == []
    assert list(order.asked("thanks", "paid", "e-1")) == []  # nothing waits for a record
    assert list(order.asked("other", "mail", "e-1")) == []


async def test_what_starts_too_early_or_comes_again_is_said(order) -> None:
    assert list(order.asked("thanks", "mail", "e-1")) == ["sent before its entry was in the log"]
    enter(order, "ann", "e-1")
    enter(order, "ann", "e-2")
    enter(order, "ann", "e-1")  # a copy: the first one counts
    assert list(order.asked("thanks", "mail", "e-2")) == ["an event started before the one before it was over"]
    assert list(order.asked("thanks", "mail", "e-1")) == ["an event was sent again after a later one of its customer"]
