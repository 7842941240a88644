"""core/verdict: the HTTP rules, to the letter."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import verdict
from pipeline.model import Answer, Failure, FailureClass, RetryPolicy

NOW = 1_700_000_000_000
LATER = NOW + 10_000_000
POLICY = RetryPolicy(
    max_attempts=8, max_age_ms=86_400_000, retry_ambiguous=True, tiers_ms=(10_000, 60_000, 600_000), on_status={}
)
UNSAFE = RetryPolicy(max_attempts=8, max_age_ms=86_400_000, retry_ambiguous=False, tiers_ms=(10_000,), on_status={})


def judge(result, attempts=1, policy=POLICY, expires=LATER, chance=0.0):
    return verdict.judge(result, attempts, policy, NOW, expires, chance)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_delivered(status) -> None:
    assert judge(Answer(status)) is verdict.DELIVERED


@pytest.mark.parametrize(
    "status", [300, 301, 302, 304, 307, 308, 400, 403, 404, 405, 406, 410, 411, 413, 418, 422, 451, 501]
)
def test_what_repeating_cannot_change_is_rejected(status) -> None:
    assert isinstance(judge(Answer(status)), verdict.Rejected)


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (408, FailureClass.TIMEOUT), (409, FailureClass.CLIENT_ERROR), (425, FailureClass.CLIENT_ERROR),
        (429, FailureClass.RATE_LIMITED), (500, FailureClass.SERVER_ERROR), (502, FailureClass.SERVER_ERROR),
        (503, FailureClass.SERVER_ERROR), (504, FailureClass.SERVER_ERROR), (599, FailureClass.SERVER_ERROR),
    ],
)  # fmt: skip
def test_what_may_pass_later_is_retried(status, cls) -> None:
    assert judge(Answer(status)) == verdict.RetryAt(NOW + 250, cls)


@pytest.mark.parametrize("status", [401, 407])
def test_a_refused_sender_holds_whatever_the_attempts(status) -> None:
    assert judge(Answer(status), attempts=99) == verdict.Hold(FailureClass.AUTH)


def test_waits_climb_from_the_process_to_the_tiers() -> None:
    waits = [judge(Answer(503), attempts=n).due_ms - NOW for n in range(1, 8)]
    assert waits == [250, 1_000, 10_000, 60_000, 600_000, 600_000, 600_000]


@pytest.mark.parametrize(("attempts", "wait_ms"), [(1, 250), (2, 1_000)])
def test_waits_in_the_process_have_full_jitter(attempts, wait_ms) -> None:
    """Uniform up to the wait (AWS, Exponential Backoff And Jitter): as many in each tenth, none beyond."""
    random = Random(1)
    waits = [judge(Answer(503), attempts=attempts, chance=random.random()).due_ms - NOW for _ in range(10_000)]
    assert 0 <= min(waits) <= max(waits) <= wait_ms
    tenths = Counter(min(wait * 10 // wait_ms, 9) for wait in waits)
    assert len(tenths) == 10
    assert all(900 <= number <= 1_100 for number in tenths.values())


def test_in_the_process_too_a_floor_is_kept_and_only_lengthened() -> None:
    random = Random(1)
    waits = [judge(Answer(429, "1"), chance=random.random()).due_ms - NOW for _ in range(1_000)]
    assert 1_000 <= min(waits) < 1_010
    assert 1_190 < max(waits) <= 1_200


def test_jitter_on_a_tier_only_lengthens() -> None:
    for chance in (0.0, 0.3, 0.999):
        due = judge(Answer(503), attempts=3, chance=chance).due_ms - NOW
        assert 10_000 <= due <= 12_000


def test_the_last_attempt_and_the_last_moment_are_dead() -> None:
    assert judge(Answer(503), attempts=8) == verdict.Dead(FailureClass.SERVER_ERROR)
    assert judge(Answer(503), attempts=1, expires=NOW + 250) == verdict.Dead(FailureClass.SERVER_ERROR)


def test_retry_after_is_a_floor_with_a_cap() -> None:
    assert judge(Answer(429, "120")).due_ms == NOW + 120_000
    assert judge(Answer(503, "0")).due_ms == NOW + 250
    capped = RetryPolicy(8, 10**12, retry_ambiguous=True, tiers_ms=(10_000,), on_status={}, retry_after_cap_ms=60_000)
    assert judge(Answer(429, "999999999"), policy=capped).due_ms == NOW + 60_000


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [
        ("", 0), ("7", 7_000), (" 7 ", 7_000), ("-1", 0), ("1.5", 0), ("soon", 0), ("٣", 0),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10_000), ("Tue, 14 Nov 2023 22:13:10 GMT", 0), ("9" * 400, 21_600_000),
        ("Tuesday, 14-Nov-23 22:13:30 GMT", 10_000), ("Tue, 99 Nov 2023 22:13:30 GMT", 0),
        ("1000000000", 21_600_000), ("-120", 0), ("+120", 0), ("0x10", 0), ("1e9", 0), ("120, 240", 0),
        ("Tue, 14 Nov 9999 22:13:30 GMT", 21_600_000), ("Tue, 14 Nov 0001 22:13:30 GMT", 0),
        ("Tue, 14 Nov 99999999999 22:13:30 GMT", 0), ("Tue, 14 Nov 2023 99999999999999999999:13:30 GMT", 0),
        ("Tue, 14 Nov 2023 22:13:30 +9999999999", 0), ("Tue, 14 Nov 2023 23:13:30 +0100", 10_000),
    ],
)  # fmt: skip
def test_retry_after_in_both_forms_of_rfc_9110(header, wait_ms) -> None:
    assert verdict.retry_after_ms(header, NOW, 21_600_000) == wait_ms


@given(
    st.lists(
        st.sampled_from(
            ["Wed,", "21", "Oct", "2026", "07:28:00", "GMT", "+", "-", ":", "9999999999999", "0", ".", "é", "٣"]
        ),
        max_size=9,
    )
)
def test_no_retry_after_a_receiver_can_send_raises_or_leaves_its_bounds(parts) -> None:
    for joint in (" ", ":", ""):
        assert 0 <= verdict.retry_after_ms(joint.join(parts), NOW, 1_000) <= 1_000


@given(st.text())
def test_any_text_as_retry_after_is_a_wait(text) -> None:
    assert 0 <= verdict.retry_after_ms(text, NOW, 1_000) <= 1_000


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 10**9))
def test_a_floor_is_lengthened_by_chance_and_never_shortened(chance, seconds) -> None:
    floor_ms = min(seconds * 1_000, POLICY.retry_after_cap_ms)
    due = judge(Answer(429, str(seconds)), expires=NOW + 10**12, chance=chance).due_ms - NOW
    assert floor_ms <= due <= max(floor_ms * (1 + verdict.JITTER), 250)


def test_credentials_refused_on_the_way_hold_too() -> None:
    failure = Failure(FailureClass.AUTH, sent=False, detail="proxy_http_407", holds=True)
    assert judge(failure, attempts=99, policy=UNSAFE) == verdict.Hold(FailureClass.AUTH)


def test_a_failure_without_an_answer_is_retried() -> None:
    assert judge(Failure(FailureClass.CONNECTION, sent=False)) == verdict.RetryAt(NOW + 250, FailureClass.CONNECTION)
    assert judge(Failure(FailureClass.TIMEOUT, sent=True)) == verdict.RetryAt(NOW + 250, FailureClass.TIMEOUT)


def test_an_ambiguous_attempt_is_dead_where_repeats_are_not_dropped() -> None:
    assert judge(Failure(FailureClass.TIMEOUT, sent=True), policy=UNSAFE) == verdict.Dead(FailureClass.TIMEOUT)
    assert isinstance(judge(Failure(FailureClass.CONNECTION, sent=False), policy=UNSAFE), verdict.RetryAt)


@pytest.mark.parametrize(
    ("status", "override", "expected"),
    [
        (409, "delivered", verdict.Delivered), (200, "rejected", verdict.Rejected), (404, "retry", verdict.RetryAt),
        (403, "hold", verdict.Hold), (410, "retry", verdict.RetryAt), (401, "rejected", verdict.Rejected),
        (302, "delivered", verdict.Delivered), (503, "rejected", verdict.Rejected), (429, "hold", verdict.Hold),
    ],
)  # fmt: skip
def test_a_destination_may_override_by_status(status, override, expected) -> None:
    policy = RetryPolicy(8, 10**9, retry_ambiguous=True, tiers_ms=(10_000,), on_status={status: override})
    assert isinstance(judge(Answer(status), policy=policy), expected)
