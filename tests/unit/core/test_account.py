"""core/account: every committed position is accounted for, whatever the order and repetition of the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.account import ACK_SPREAD_MS, NAMED_MAX, OVERDUE_MS, Account, Missing, Part, Report, Waiting
from pipeline.core.account import rows as packed
from pipeline.core.account.ranges import intersect, merge, size, subtract
from pipeline.model import REPLAYED, Outcome, last_word

NOW = 1_800_000_000_000
TOPIC = "events"


@dataclass(frozen=True)
class Row:
    offset: int
    delivery_id: str = "d"
    outcome: Outcome = Outcome.DELIVERED
    reason: str = ""
    deliveries: int = 1
    event_id: str = "e"
    topic: str = TOPIC
    partition: int = 0
    record_time_ms: int = NOW - 1_000
    first_attempt_at_ms: int = NOW - 900
    settled_at_ms: int = NOW
    hop: int = 0
    due_ms: int = 0


@dataclass(frozen=True)
class Ledger:
    first: int
    next: int
    empty: tuple[tuple[int, int, str], ...] = ()
    topic: str = TOPIC
    partition: int = 0
    at_ms: int = NOW


def judge(
    *rows: Row | Ledger, upto: int, from_ms: int = 0, retries_settled_at_ms: int = 0, begin: int = 0, **more: int
) -> Report:
    account = Account()
    for row in rows:
        account.ledger(row) if isinstance(row, Ledger) else account.outcome(row)
    return account.report({(TOPIC, 0): upto}, {(TOPIC, 0): begin}, NOW, from_ms, retries_settled_at_ms, **more)


def retrying(offset: int, due_ms: int, **other: object) -> Row:
    return replace(Row(offset, outcome=Outcome.RETRYING, reason="timeout", due_ms=due_ms), **other)


def test_ledger_and_deliveries_make_up_the_committed_positions():
    report = judge(
        Ledger(0, 5, ((1, 2, "no_journey"), (4, 4, "gap"))),
        Row(0),
        Row(3, "a", deliveries=2),
        Row(3, "b", Outcome.SKIPPED, "consent", deliveries=2, first_attempt_at_ms=0),
        upto=5,
    )
    assert report.balanced
    assert (report.positions, report.events, report.ledger) == (5, 2, {"gap": 1, "no_journey": 2})
    assert report.deliveries == {"delivered": 2, "skipped": 1}
    assert report.reasons == {"skipped": {"consent": 1}}
    assert (report.trigger_count, report.trigger_p50_ms, report.trigger_p95_ms) == (2, 100, 100)


def test_what_is_missing_is_named_and_why():
    report = judge(
        Ledger(0, 10, ((0, 1, "tombstone"),)), Row(2), Row(6, deliveries=3), Ledger(12, 14, ((12, 13, "gap"),)), upto=20
    )
    assert not report.balanced
    assert report.missing == (
        Missing(TOPIC, 0, 3, 5, "no outcome"),
        Missing(TOPIC, 0, 6, 6, "1 of 3 deliveries have an outcome"),
        Missing(TOPIC, 0, 7, 9, "no outcome"),
        Missing(TOPIC, 0, 10, 11, "committed, but in no ledger"),
        Missing(TOPIC, 0, 14, 19, "committed, but in no ledger"),
    )
    assert report.missing_count == 15
    assert report.positions == report.events + sum(report.ledger.values()) + report.missing_count


def test_all_missing_are_counted_though_few_are_named():
    rows = [Row(offset) for offset in range(0, 200, 2)]
    report = judge(Ledger(0, 200), *rows, upto=200)
    assert (report.missing_count, len(report.missing)) == (100, NAMED_MAX)
    assert report.missing[0].first == 1


def test_positions_not_committed_yet_are_not_judged():
    report = judge(Ledger(0, 4), Row(0), Row(1), Row(3), upto=2)
    assert report.balanced
    assert (report.positions, report.events, report.beyond) == (2, 2, 1)


def test_a_partition_without_a_commit_has_nothing_to_judge():
    account = Account()
    account.outcome(Row(7))
    report = account.report({}, {}, NOW)
    assert (report.balanced, report.positions, report.beyond) == (True, 0, 1)


def test_rows_older_than_the_reading_leave_their_positions_outside():
    rows = (Ledger(100, 110, at_ms=NOW - 10_000), Ledger(110, 112), Row(105), Row(110), Row(111))
    report = judge(*rows, upto=112, from_ms=NOW - 5_000, begin=90)
    assert report.balanced
    assert (report.positions, report.outside) == (2, 20)
    assert not judge(*rows, upto=112).balanced


def test_a_window_has_what_was_last_committed_in_it():
    rows = (Ledger(0, 4, at_ms=NOW - 30), Ledger(4, 8, at_ms=NOW - 20), Ledger(6, 9, at_ms=NOW - 10), Ledger(11, 12))
    rows = (*rows, *(Row(offset) for offset in (*range(9), 11)))
    found = [judge(*rows, upto=14, from_ms=first, until_ms=last) for first, last in (
        (0, NOW - 25), (NOW - 24, NOW - 15), (NOW - 14, NOW - 5), (NOW - 4, NOW + 1),
    )]  # fmt: skip
    assert [each.positions for each in found] == [4, 2, 5, 3]
    assert [each.missing_count for each in found] == [0, 0, 2, 2], "a hole is of the ledger below it"
    assert [each.outside for each in found] == [10, 12, 9, 11]


def test_each_partition_says_which_of_its_positions_are_judged_and_missing():
    report = judge(Ledger(2, 9), *(Row(offset) for offset in (2, 3, 4, 7, 8)), upto=9, begin=1)
    assert report.parts == (Part(TOPIC, 0, 1, 9, ((2, 9),), ((5, 7),)),)
    assert judge(upto=0).parts == ()


def test_as_much_is_named_as_is_asked_for():
    rows = [Row(offset) for offset in range(0, 200, 2)]
    assert len(judge(Ledger(0, 200), *rows, upto=200, named_max=70).missing) == 70


def test_a_hole_between_ledgers_is_missing_even_in_a_partial_reading():
    report = judge(Ledger(0, 2), Row(0), Row(1), Ledger(5, 6), Row(5), upto=6, from_ms=NOW - 1)
    assert report.missing == (Missing(TOPIC, 0, 2, 4, "committed, but in no ledger"),)


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        ((retrying(0, NOW), Row(0, outcome=Outcome.DEAD, reason="expired", settled_at_ms=NOW - 5)), "dead"),
        ((Row(0), Row(0, outcome=Outcome.DEAD, reason="timeout", settled_at_ms=NOW + 5)), "delivered"),
        ((Row(0, outcome=Outcome.REJECTED), Row(0, outcome=Outcome.DEAD, settled_at_ms=NOW + 5)), "dead"),
        ((retrying(0, NOW), retrying(0, NOW, hop=1)), "retrying"),
    ],
)
def test_which_row_counts(rows, counts):
    for order in (rows, rows[::-1]):
        report = judge(Ledger(0, 1), *order, upto=1)
        assert report.balanced
        assert report.deliveries == {counts: 1}


def test_repeats_are_told_apart_from_hops():
    rows = [retrying(0, NOW, hop=0), retrying(0, NOW, hop=1), Row(0, hop=2)]
    assert judge(Ledger(0, 1), *rows, upto=1).repeats == 0
    assert judge(Ledger(0, 1), *rows, rows[0], rows[2], upto=1).repeats == 2


def replayed(offset: int, **other: object) -> Row:
    return retrying(offset, NOW + 5_000, **({"reason": "replayed", "settled_at_ms": NOW + 50} | other))


def test_what_is_replayed_waits_until_it_has_ended_again_and_is_no_repeat():
    dead = Row(0, outcome=Outcome.DEAD, reason="timeout", settled_at_ms=NOW - 5)
    late = retrying(0, NOW + 9_000, hop=1, settled_at_ms=NOW + 60)
    again = Row(0, outcome=Outcome.REJECTED, reason="client_error", hop=2, settled_at_ms=NOW - 500)
    for rows, counts in (
        ((dead, replayed(0)), {"retrying": 1}), ((dead, replayed(0), late), {"retrying": 1}),
        ((dead, replayed(0), late, again), {"rejected": 1}), ((dead, replayed(0), again), {"rejected": 1}),
        ((dead, replayed(0), late, again, replayed(0, hop=2)), {"retrying": 1}),
    ):  # fmt: skip
        for order in permutations(rows):
            report = judge(Ledger(0, 1), *order, upto=1)
            assert (report.deliveries, report.repeats, report.balanced) == (counts, 0, True)
            assert report.waiting == counts.get("retrying", 0)
        assert judge(Ledger(0, 1), *rows, *rows, upto=1).repeats == len(rows)


def test_a_replay_that_waits_in_no_retry_topic_is_lost():
    dead = Row(0, outcome=Outcome.DEAD, reason="timeout", settled_at_ms=NOW - ACK_SPREAD_MS - 9)
    sent = replayed(0, settled_at_ms=NOW - ACK_SPREAD_MS - 1)
    report = judge(Ledger(0, 1), dead, sent, upto=1, retries_settled_at_ms=NOW)
    assert (report.balanced, report.stranded_count) == (False, 1)


def test_one_complete_processing_is_enough_after_a_changed_configuration():
    before = [Row(0, "a", deliveries=3), Row(0, "b", deliveries=3)]
    assert not judge(Ledger(0, 1), *before, upto=1).balanced
    assert judge(Ledger(0, 1), *before, Row(0, "a"), upto=1).balanced


def test_waiting_deliveries_are_counted_and_overdue_ones_named():
    soon, late = retrying(0, NOW + 5_000), retrying(1, NOW - OVERDUE_MS - 1, event_id="late", delivery_id="x")
    report = judge(Ledger(0, 2), soon, late, upto=2)
    assert report.balanced
    assert (report.waiting, report.overdue_count) == (2, 1)
    assert report.overdue == (Waiting(NOW - OVERDUE_MS - 1, "late", "x"),)
    assert report.reasons == {"retrying": {"timeout": 2}}


def test_a_delivery_waiting_in_no_retry_topic_is_lost():
    row = retrying(0, NOW + 5_000, settled_at_ms=NOW - ACK_SPREAD_MS - 1)
    assert judge(Ledger(0, 1), row, upto=1, retries_settled_at_ms=NOW - 1).balanced
    report = judge(Ledger(0, 1), row, upto=1, retries_settled_at_ms=NOW)
    assert not report.balanced
    assert (report.stranded_count, report.stranded) == (1, (Waiting(NOW + 5_000, "e", "d"),))
    assert judge(Ledger(0, 1), row, Row(0), upto=1, retries_settled_at_ms=NOW).balanced


def test_unreadable_records_are_counted():
    account = Account()
    account.unreadable()
    report = account.report({}, {}, NOW)
    assert (report.rows, report.unreadable, report.balanced) == (1, 1, True)


def test_damaged_numbers_do_no_harm():
    wild = Row(0, deliveries=-5, record_time_ms=1 << 62, settled_at_ms=-7, hop=1 << 31, first_attempt_at_ms=1)
    report = judge(Ledger(0, 1), wild, retrying(0, 0, hop=1 << 31, deliveries=-5), upto=1)
    assert (report.balanced, report.trigger_p95_ms) == (True, 0)


# ------------------------------------------------------------------------------------------------------- properties


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row | Ledger], int]:
    """A partition as a worker writes it: every position empty or delivered, ledgers one after another."""
    rows: list[Row | Ledger] = []
    start = draw(st.integers(0, 5))
    offset = first = start
    empty: list[tuple[int, int, str]] = []
    for number in draw(st.lists(st.integers(0, 3), min_size=1, max_size=25)):
        if number == 0:
            empty.append((offset, offset, draw(st.sampled_from(["gap", "no_journey"]))))
        for step in range(number):
            delivery = Row(offset, f"{offset}/{step}", deliveries=number)
            if draw(st.booleans()):
                rows.append(replace(delivery, outcome=Outcome.RETRYING, due_ms=NOW, settled_at_ms=NOW - 5))
                delivery = replace(delivery, hop=1)
            final = draw(st.sampled_from([Outcome.DELIVERED, Outcome.SKIPPED, Outcome.DEAD, Outcome.REJECTED]))
            rows.append(replace(delivery, outcome=final, reason="" if final is Outcome.DELIVERED else "timeout"))
        offset += 1
        if draw(st.integers(0, 4)) == 0:
            rows.append(Ledger(first, offset, tuple(empty)))
            first, empty = offset, []
    rows.append(Ledger(first, offset, tuple(empty)))
    return rows, offset


words = st.builds(
    Row, outcome=st.sampled_from(Outcome), reason=st.sampled_from(("", REPLAYED, "timeout")),
    offset=st.just(0), hop=st.integers(0, 3), settled_at_ms=st.integers(NOW, NOW + 3),
)  # fmt: skip


@given(words, words)
def test_the_word_that_counts_is_the_last_one_for_everybody(one, other):
    ours = [packed._state(each, 0) >> packed._CODE_BITS + packed._TRIGGER_BITS for each in (one, other)]
    theirs = [last_word(each) for each in (one, other)]
    assert (ours[0] > ours[1], ours[0] == ours[1]) == (theirs[0] > theirs[1], theirs[0] == theirs[1])


@given(histories(), st.randoms(use_true_random=False))
def test_order_and_repetition_of_rows_change_nothing_but_the_repeats(history, random):
    rows, upto = history
    straight = judge(*rows, upto=upto)
    assert straight.balanced
    shuffled = [*rows, *random.choices(rows, k=len(rows))]
    random.shuffle(shuffled)
    mixed = judge(*shuffled, upto=upto)
    assert replace(mixed, repeats=0, rows=0) == replace(straight, repeats=0, rows=0)
    assert straight.repeats == 0


@given(histories(), st.data())
def test_without_any_one_delivery_it_is_unbalanced_and_says_where(history, data):
    rows, upto = history
    deliveries = sorted({(row.offset, row.delivery_id) for row in rows if isinstance(row, Row)})
    if not deliveries:
        return
    lost = data.draw(st.sampled_from(deliveries))
    report = judge(*(r for r in rows if isinstance(r, Ledger) or (r.offset, r.delivery_id) != lost), upto=upto)
    assert not report.balanced
    assert (report.missing_count, report.missing[0].first) == (1, lost[0])


@given(histories(), st.data())
def test_without_any_one_ledger_it_is_unbalanced_or_the_positions_are_outside(history, data):
    rows, upto = history
    whole = judge(*rows, upto=upto)
    lost = data.draw(st.sampled_from([row for row in rows if isinstance(row, Ledger)]))
    report = judge(*(row for row in rows if row != lost), upto=upto)
    if report.balanced and lost.next > lost.first:
        # Only positions before anything known can vanish unnoticed, and they are reported as outside.
        assert lost.first == min(row.first for row in rows if isinstance(row, Ledger))
        assert report.outside > whole.outside


@given(histories(), st.data())
def test_windows_that_follow_each_other_have_every_position_once(history, data):
    rows, upto = history
    times = [data.draw(st.integers(NOW - 5, NOW)) for _ in rows]
    spread = [replace(row, at_ms=at) if isinstance(row, Ledger) else row for row, at in zip(rows, times, strict=True)]
    lost = data.draw(st.sampled_from(spread))
    spread = [row for row in (*spread, *data.draw(st.lists(st.sampled_from(spread)))) if row != lost]
    whole = judge(*spread, upto=upto)
    ends = [0, *sorted(data.draw(st.sets(st.integers(NOW - 5, NOW)))), 1 << 62]
    found = [judge(*spread, upto=upto, from_ms=after and after + 1, until_ms=until) for after, until in pairwise(ends)]
    assert sum(each.missing_count for each in found) == whole.missing_count
    assert sum(each.positions for each in found) == whole.positions
    assert sum(each.events for each in found) == whole.events


@given(histories(), st.integers(0, 40))
def test_positions_always_add_up(history, upto):
    rows, _ = history
    report = judge(*rows, upto=upto)
    assert report.positions == report.events + sum(report.ledger.values()) + report.missing_count
    assert report.positions + report.outside == upto


sets = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)


@given(sets, sets)
def test_ranges_are_sets_of_offsets(left, right):
    def offsets(ranges):
        return {offset for first, end in ranges for offset in range(first, end)}

    a, b = merge(left), merge(right)
    assert offsets(a) == offsets(left)
    assert size(a) == len(offsets(left))
    assert offsets(intersect(a, b)) == offsets(a) & offsets(b)
    assert offsets(subtract(a, b)) == offsets(a) - offsets(b)
    for found in (a, intersect(a, b), subtract(a, b)):
        assert found == merge(found)
