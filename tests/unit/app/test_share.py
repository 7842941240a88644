"""app/share: shares of all workers add up to one, with logs and without."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.app.share import share
from pipeline.testing.fakes import FakeSource


def intake(role: str, owned: int):
    return SimpleNamespace(source=FakeSource(role, partitions=4), trackers=dict.fromkeys(range(owned)))


@pytest.mark.parametrize("ordered", [False, True])
def test_shares_add_up_to_one(ordered) -> None:
    roles = ("input", "retry", "ordered") if ordered else ("input", "retry")
    one = share([intake(role, 1) for role in roles], ordered=ordered)
    other = share([intake(role, 3) for role in roles], ordered=ordered)
    assert one == pytest.approx(0.25)
    assert one + other == pytest.approx(1.0)


def test_whoever_owns_only_partitions_of_logs_may_send_as_well() -> None:
    assert share([intake("input", 0), intake("retry", 0), intake("ordered", 2)], ordered=True) == pytest.approx(0.2)


def test_before_any_partition_is_known_there_is_no_share() -> None:
    assert share([], ordered=False) == 0.0
