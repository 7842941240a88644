"""A moment is a timestamp with an offset, whoever wrote it; anything else is none, and nothing raises."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import moment
from pipeline.model import ABSENT

MS = 1_795_428_000_000


@pytest.mark.parametrize(
    ("found", "ms"),
    [
        (datetime(2026, 11, 23, 10, tzinfo=UTC), MS),
        ("2026-11-23T10:00:00Z", MS),
        ("2026-11-23t12:00:00.0005+02:00", MS),
        ("2026-11-23T10:00:00", None),
        ("2026-02-30T10:00:00Z", None),
        ("tomorrow", None),
        (datetime(2026, 11, 23, 10), None),  # noqa: DTZ001 - which is what is refused
        ("9999-12-31T23:59:59-01:00", None),
        (MS, None),
        (None, None),
    ],
)
def test_moments(found, ms):
    assert moment.unix_ms(found) == ms


@given(st.one_of(st.text(), st.integers(), st.datetimes(), st.none(), st.floats()))
def test_nothing_raises(found):
    assert moment.unix_ms(found) is None or isinstance(found, (str, datetime))


@pytest.mark.parametrize(
    ("found", "expected"), [(ABSENT, ABSENT), (None, None), ("soon", None), ("2026-11-23T10:00:00Z", MS)]
)
def test_a_deadline_may_be_absent_but_not_unreadable(found, expected):
    assert moment.deadline(lambda _datum, _now_ms: found)({}, 0) == expected
