"""Decides what happened to one event, and in which order, from what settling wrote about it.

Needs no tracing backend: outcomes and dead letters are written before a position is committed, so they are complete
for every committed event. An attempt is known exactly if it failed or its trace was sampled; the last one of a delivery
that was not kept is rebuilt from the outcome and marked so.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - part of this module's own protocols
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.model import Outcome, last_word, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ATTEMPT: Final = "attempt"
HANDED_OVER: Final = "handed_over"
SETTLED: Final = "settled"
DEAD_LETTER: Final = "dead_letter"

_ORDER: Final = {ATTEMPT: 0, HANDED_OVER: 1, SETTLED: 2, DEAD_LETTER: 3}

Position = tuple[str, int, int]
"""Topic, partition, offset."""


class AttemptRow(Protocol):
    """One kept attempt, as core.outcome reads it back. Times in µs."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def started_at_us(self) -> int: ...  # noqa: D102
    @property
    def duration_us(self) -> int: ...  # noqa: D102
    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def cls(self) -> str: ...  # noqa: D102
    @property
    def span_id(self) -> str: ...  # noqa: D102


class OutcomeRow(Protocol):
    """One outcome record, as core.outcome reads it back; fields as documented in schemas/outcome.avsc. Times in ms."""

    @property
    def journey(self) -> str: ...  # noqa: D102
    @property
    def step(self) -> str: ...  # noqa: D102
    @property
    def destination(self) -> str: ...  # noqa: D102
    @property
    def operation(self) -> str: ...  # noqa: D102
    @property
    def event_id(self) -> str: ...  # noqa: D102
    @property
    def event_type(self) -> str: ...  # noqa: D102
    @property
    def delivery_id(self) -> str: ...  # noqa: D102
    @property
    def topic(self) -> str: ...  # noqa: D102
    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def record_time_ms(self) -> int: ...  # noqa: D102
    @property
    def event_time_ms(self) -> int: ...  # noqa: D102
    @property
    def deliveries(self) -> int: ...  # noqa: D102
    @property
    def trace_id(self) -> str: ...  # noqa: D102
    @property
    def outcome(self) -> Outcome: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def attempts(self) -> int: ...  # noqa: D102
    @property
    def first_attempt_at_ms(self) -> int: ...  # noqa: D102
    @property
    def settled_at_ms(self) -> int: ...  # noqa: D102
    @property
    def hop(self) -> int: ...  # noqa: D102
    @property
    def due_ms(self) -> int: ...  # noqa: D102
    @property
    def history(self) -> Sequence[AttemptRow]: ...  # noqa: D102


@value
class Letter:
    """One record of the dead topic: where it lies, when it was appended, its `hookline-` headers without the prefix."""

    position: Position
    at_ms: int
    says: Mapping[str, str]

    @property
    def source(self) -> Position | None:
        """The input position it came from; None if the headers do not tell."""
        partition, offset = self.says.get("source-partition", ""), self.says.get("source-offset", "")
        if not (partition.isdecimal() and offset.isdecimal()):
            return None
        return self.says.get("source-topic", ""), int(partition), int(offset)


@value
class Moment:
    """One thing that happened to a delivery. `at_ms` is Unix time; what does not apply is 0, "" or None.

    `what`: attempt (number, status, class, duration; `kept` false: rebuilt, its times are rough) | handed_over (hop is
    the next one, due_ms) | settled (class) | dead_letter (place on the dead topic, detail).
    """

    at_ms: float
    what: str
    number: int = 0
    status: int = 0
    cls: str = ""
    duration_ms: float | None = None
    kept: bool = True
    hop: int = 0
    due_ms: int = 0
    place: Position | None = None
    detail: str = ""


@value
class DeliveryLine:
    """One delivery and its moments in order. `repeats`: hops that were settled more often than once, after a crash."""

    id: str
    journey: str
    step: str
    destination: str
    operation: str
    outcome: Outcome
    reason: str
    attempts: int
    repeats: int
    moments: tuple[Moment, ...]


@value
class Timeline:
    """All that is known of one event at one input position. `expected` deliveries; fewer lines: others are not settled.

    `letters` belong to no delivery: the record was no event. Then `event_id`, `event_type` may be "" and times 0.
    """

    event_id: str
    event_type: str
    trace_id: str
    position: Position
    event_time_ms: int
    arrived_ms: int
    expected: int
    deliveries: tuple[DeliveryLine, ...]
    letters: tuple[Letter, ...] = ()


def build(rows: Iterable[OutcomeRow], letters: Iterable[Letter]) -> tuple[Timeline, ...]:
    """Return a timeline for every input position in the rows and letters, in the order of their arrival."""
    by_position: dict[Position, list[OutcomeRow]] = {}
    for row in rows:
        by_position.setdefault((row.topic, row.partition, row.offset), []).append(row)
    said: dict[Position, list[Letter]] = {}
    for letter in letters:
        if letter.source is not None:
            said.setdefault(letter.source, []).append(letter)
    found = [_timeline(position, its, said.get(position, ())) for position, its in by_position.items()]
    found += [_undecoded(position, its) for position, its in said.items() if position not in by_position]
    return tuple(sorted(found, key=lambda each: (each.arrived_ms, each.position)))


def _timeline(position: Position, rows: Sequence[OutcomeRow], letters: Sequence[Letter]) -> Timeline:
    by_delivery: dict[str, list[OutcomeRow]] = {}
    for row in rows:
        by_delivery.setdefault(row.delivery_id, []).append(row)
    lines = [
        _line(its, [letter for letter in letters if letter.says.get("delivery-id") == name])
        for name, its in by_delivery.items()
    ]
    first = rows[0]
    return Timeline(
        event_id=first.event_id,
        event_type=first.event_type,
        trace_id=first.trace_id,
        position=position,
        event_time_ms=first.event_time_ms,
        arrived_ms=first.record_time_ms,
        expected=max(row.deliveries for row in rows),
        deliveries=tuple(sorted(lines, key=lambda line: (line.journey, line.moments[0].at_ms, line.step))),
        letters=tuple(letter for letter in letters if letter.says.get("delivery-id") not in by_delivery),
    )


def _undecoded(position: Position, letters: Sequence[Letter]) -> Timeline:
    says = letters[0].says
    at_ms = min(letter.at_ms for letter in letters)
    return Timeline(
        event_id=says.get("event-id", ""), event_type=says.get("event-type", ""), trace_id=says.get("trace-id", ""),
        position=position, event_time_ms=0, arrived_ms=at_ms, expected=0, deliveries=(), letters=tuple(letters),
    )  # fmt: skip


def _line(rows: Sequence[OutcomeRow], letters: Sequence[Letter]) -> DeliveryLine:
    last = max(rows, key=last_word)
    moments = [*_attempts(rows), *(_written(row) for row in rows)]
    moments += [
        Moment(
            letter.at_ms, DEAD_LETTER, cls=letter.says.get("class", ""), place=letter.position,
            detail=letter.says.get("detail", ""),
        )
        for letter in letters
    ]  # fmt: skip
    return DeliveryLine(
        id=last.delivery_id, journey=last.journey, step=last.step, destination=last.destination,
        operation=last.operation, outcome=last.outcome, reason=last.reason, attempts=max(row.attempts for row in rows),
        repeats=len(rows) - len({row.hop for row in rows}),
        moments=tuple(sorted(moments, key=lambda moment: (moment.at_ms, _ORDER[moment.what], moment.number))),
    )  # fmt: skip


def _attempts(rows: Sequence[OutcomeRow]) -> list[Moment]:
    kept = {(each.number, each.started_at_us): each for row in rows for each in row.history}
    moments = [
        Moment(each.started_at_us / 1_000, ATTEMPT, each.number, each.status, each.cls, each.duration_us / 1_000)
        for each in kept.values()
    ]
    known = {each.number for each in kept.values()}
    for row in sorted(rows, key=lambda row: (row.hop, row.settled_at_ms)):
        if row.attempts and row.attempts not in known:
            known.add(row.attempts)
            only = row.attempts == 1 and row.first_attempt_at_ms
            moments.append(
                Moment(
                    row.first_attempt_at_ms if only else row.settled_at_ms, ATTEMPT, row.attempts, row.status,
                    "" if row.outcome is Outcome.DELIVERED else row.reason,
                    float(max(row.settled_at_ms - row.first_attempt_at_ms, 0)) if only else None, kept=False,
                )
            )  # fmt: skip
    return moments


def _written(row: OutcomeRow) -> Moment:
    if row.outcome is Outcome.RETRYING:
        return Moment(row.settled_at_ms, HANDED_OVER, cls=row.reason, hop=row.hop + 1, due_ms=row.due_ms)
    return Moment(row.settled_at_ms, SETTLED, status=row.status, cls=row.reason, detail=row.outcome.value, hop=row.hop)
