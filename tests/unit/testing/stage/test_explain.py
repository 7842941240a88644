"""Outcomes are written as cases write them."""

from __future__ import annotations

import pytest

from pipeline.model import Outcome
from pipeline.testing.stage.explain import Ended


@pytest.mark.parametrize(
    ("outcome", "reason", "text"),
    [
        (Outcome.DELIVERED, "", "delivered"),
        (Outcome.DELIVERED, "contract", "delivered"),
        (Outcome.REJECTED, "client_error", "rejected"),
        (Outcome.DEFAULTED, "timeout", "defaulted(timeout)"),
        (Outcome.SKIPPED, "upstream", "skipped(upstream)"),
        (Outcome.DEAD, "expired", "dead(expired)"),
    ],
)
def test_an_outcome_as_text(outcome, reason, text):
    assert Ended(outcome, reason, 0, 0, "").text == text
