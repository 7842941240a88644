"""Whatever the steps of a journey and wherever its run is interrupted: each ends once, as a naive evaluation says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import runstate
from pipeline.model import Answer, BreakerPolicy, Edge, FailureClass, Kind, Outcome, Refused
from tests.support.followed import Worker
from tests.unit.run.conftest import step

CODE = {"ok": 200, "refused": 422}
HOPS_MAX = 60


@dataclass(frozen=True)
class Drawn:
    """A step as drawn: what comes before it, how often its receiver fails first, and how it ends then."""

    name: str
    kind: Kind
    ends: str  # ok | refused | unwanted | unbuilt
    failures: int
    any_parent: bool
    after: tuple[tuple[str, frozenset[Outcome]], ...]

    def made(self):
        made = step(self.name, kind=self.kind, in_process=(), max_attempts=99)
        kept: dict = {"when": lambda *_: False} if self.ends == "unwanted" else {}
        if self.ends == "unbuilt":
            kept["render"] = lambda *_: Refused(FailureClass.MISSING_FIELD, "x")
        if self.kind in (Kind.ENRICH, Kind.DECIDE):
            kept |= {"response": lambda answer: {"of": answer.body.decode()}, "keep_bytes": 99,
                     "default": lambda *_: {"of": "default"}}  # fmt: skip
        if self.kind is Kind.DECIDE:
            kept["budget_ms"] = 60_000
        edges = tuple(Edge(parent, outcomes) for parent, outcomes in self.after)
        return dataclasses.replace(made, after=edges, any_parent=self.any_parent, **kept)


@st.composite
def journeys(draw, *, patient=False):
    """Some steps, each after some of those before it; `record` steps only where nothing comes after.

    In a `patient` one nothing depends on whether a failure was seen: not its edges, and no `decide` gives up.
    """
    words = [each for each in Outcome if not patient or each is not Outcome.RETRYING]
    number = draw(st.integers(2, 7))
    drawn: list[Drawn] = []
    for index in range(number):
        parents = draw(st.lists(st.sampled_from(drawn), max_size=3, unique_by=lambda each: each.name)) if drawn else []
        kind = draw(st.sampled_from((Kind.UPDATE, Kind.UPDATE, Kind.ENRICH, Kind.DECIDE)))
        ends = draw(st.sampled_from(("ok", "ok", "ok", "refused", "unwanted", "unbuilt")))
        failures = 0 if patient and kind is Kind.DECIDE else draw(st.integers(0, 2))
        after = [
            (each.name, frozenset(draw(st.lists(st.sampled_from(words), min_size=1, max_size=3)))) for each in parents
        ]
        any_parent = len(parents) > 1 and draw(st.booleans())
        drawn.append(Drawn(f"s{index}", kind, ends, failures, any_parent=any_parent, after=tuple(after)))
    parents = {parent for each in drawn for parent, _ in each.after}
    return [
        dataclasses.replace(each, kind=Kind.RECORD) if each.name not in parents and draw(st.booleans()) else each
        for each in drawn
    ]


def evaluated(drawn: list[Drawn]) -> dict[str, str]:
    """How each step must end, decided in their order with everything known of those before."""
    ended: dict[str, str] = {}
    retried: set[str] = set()
    for each in drawn:
        met = [
            Outcome(ended[parent].partition("(")[0]) in outcomes or (parent in retried and Outcome.RETRYING in outcomes)
            for parent, outcomes in each.after
        ]
        if met and not (any(met) if each.any_parent else all(met)):
            ended[each.name] = "skipped(upstream)"
        elif each.ends == "unwanted":
            ended[each.name] = "skipped(condition_false)"
        elif each.ends == "unbuilt":
            ended[each.name] = "dead(missing_field)"
        elif each.kind is Kind.DECIDE and each.failures:
            ended[each.name] = "defaulted(server_error)"
        else:
            if each.failures:
                retried.add(each.name)
            failed = "defaulted(client_error)" if each.kind in (Kind.ENRICH, Kind.DECIDE) else "rejected(client_error)"
            ended[each.name] = "delivered" if each.ends == "ok" else failed
    return ended


@dataclass
class Fleet:
    """Workers one after the other, one receiver, and the retry topics between them."""

    drawn: list[Drawn]
    sent: Counter = field(default_factory=Counter)
    rows: list = field(default_factory=list)
    seen: list = field(default_factory=list)
    clock_ms: int = 1_700_000_000_000

    def worker(self) -> Worker:
        worker = Worker(
            *(each.made() for each in self.drawn), breaker=BreakerPolicy(1.0, 1_000), concurrency=4, timeout_ms=60_000
        )
        worker.endpoint.script = self._answer
        return worker

    def _answer(self, _head, body):
        name = body.decode()
        each = next(each for each in self.drawn if each.name == name)
        self.sent[name] += 1
        if self.sent[name] <= each.failures:
            return Answer(503)
        return Answer(CODE[each.ends], body=f"answer of {name}".encode())

    async def work(self, record, *, leaves: bool, turns: int | None = None) -> list:
        """Let a new worker take a record (None: the event) to its end, or for some turns: then it is gone."""
        worker = self.worker()
        worker.world.tracker.leaving = leaves
        if record is None:
            worker.take()
        else:
            worker.resume(record)
        if turns is None:
            await worker.settled()
        else:
            for _ in range(turns):
                await asyncio.sleep(0)
            worker.world.settlement.forget(worker.world.tracker)
        worker.ended()  # each step once
        self.rows += worker.world.outcomes()
        self.seen += worker.seen.items()
        with contextlib.suppress(asyncio.CancelledError):
            await worker.lane.close()
        assert worker.world.errors == []
        for each in worker.handed_over():
            header = each.header(runstate.STATE_HEADER)
            assert runstate.encode(runstate.decode(header)) == header
        return worker.handed_over()

    def finals(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {each.name: set() for each in self.drawn}
        for row in self.rows:
            assert row.deliveries == len(self.drawn)
            if row.outcome is not Outcome.RETRYING:
                found[row.step].add(f"{row.outcome}({row.reason})" if row.reason else str(row.outcome))
        return found


@settings(deadline=None, max_examples=50)
@given(journeys(), st.lists(st.booleans(), min_size=1, max_size=8))
def test_each_step_starts_at_most_once_and_ends_once_over_any_hops(drawn, leaving) -> None:
    fleet = Fleet(drawn)

    async def run() -> None:
        waiting, hops = [None], 0
        while waiting:
            hops += 1
            assert hops < HOPS_MAX
            waiting += await fleet.work(waiting.pop(0), leaves=leaving[hops % len(leaving)])

    asyncio.run(run())
    ends = evaluated(drawn)
    assert fleet.finals() == {name: {end} for name, end in ends.items()}
    assert Counter(row.step for row in fleet.rows if row.outcome is not Outcome.RETRYING) == Counter(ends.keys())
    for each in drawn:
        attempted = ends[each.name].partition("(")[0] in ("delivered", "rejected") or "client_error" in ends[each.name]
        late = ends[each.name] == "defaulted(server_error)"
        assert fleet.sent[each.name] == (each.failures + 1 if attempted else 1 if late else 0)
    answers = {name: f"answer of {name}" if end == "delivered" else "default" for name, end in ends.items()}
    for _, results in fleet.seen:
        for name, result in results.items():
            if result.response is not None:
                assert result.response == {"of": answers[name]}


@settings(deadline=None, max_examples=50)
@given(journeys(patient=True), st.lists(st.tuples(st.booleans(), st.integers(0, 25)), min_size=1, max_size=4))
def test_each_step_has_the_same_end_after_any_crashes(drawn, crashes) -> None:
    """What a worker was at when it died is done again, from the event or the hop before; what it wrote stays."""
    fleet, left = Fleet(drawn), list(crashes)

    async def run() -> None:
        waiting, hops = [None], 0
        while waiting:
            hops += 1
            assert hops < HOPS_MAX * 4
            record = waiting.pop(0)
            while left:
                leaves, turns = left.pop()
                waiting += await fleet.work(record, leaves=leaves, turns=turns)
            waiting += await fleet.work(record, leaves=False)

    asyncio.run(run())
    ends = evaluated(drawn)
    assert fleet.finals() == {name: {end} for name, end in ends.items()}


def test_the_evaluation_tells_ends_apart() -> None:
    ends = evaluated([
        Drawn("a", Kind.UPDATE, "refused", 1, any_parent=False, after=()),
        Drawn("b", Kind.UPDATE, "ok", 0, any_parent=False, after=(("a", frozenset({Outcome.RETRYING})),)),
        Drawn("c", Kind.UPDATE, "ok", 0, any_parent=False, after=(("a", frozenset({Outcome.DELIVERED})),)),
    ])  # fmt: skip
    assert ends == {"a": "rejected(client_error)", "b": "delivered", "c": "skipped(upstream)"}
