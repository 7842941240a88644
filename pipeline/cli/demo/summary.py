"""Decides whether the demo's books balance: what was sent, what Hookline says became of it, what the receivers saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from pipeline.cli import screen
from pipeline.model import Outcome, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from pipeline.cli.demo.watch import Tally

MEANINGS: Final = {
    "condition_false": "carts below 20: the journey's condition says no",
    "no_journey": "wishlist.shared: no journey asks for it",
    "tombstone": "records without a value",
    "undecodable": "damaged bytes: kept on the dead topic",
    "consent": "the customer has not agreed",
    "stale": "published days after it happened",
    "client_error": "refused for good (422): kept on the dead topic",
}
"""What reasons mean in the demo's shop."""


@value
class Evidence:
    """All that is known at the end. `report` is what `hookline account --json` printed."""

    sent: int
    report: Mapping[str, Any]
    tally: Tally
    seen: Mapping[str, Mapping[str, Any]]  # by destination: Receiver.snapshot
    letters: Mapping[str, int]  # dead letters by failure class
    worker_code: int | None  # the worker's exit code; None: it still runs


@value
class Check:
    """One comparison of what must agree."""

    good: bool
    text: str


def checks(evidence: Evidence) -> tuple[Check, ...]:
    """Compare, from independent sides: Kafka's offsets, Hookline's outcomes, the receivers' own counts."""
    return (
        _records(evidence), _balance(evidence), _delivered(evidence), _attempts(evidence), _letters(evidence),
        _signatures(evidence), *_worker(evidence),
    )  # fmt: skip


def _records(evidence: Evidence) -> Check:
    report = evidence.report
    without = sum(report["ledger"].values())
    good = report["positions"] == report["events"] + without == evidence.sent
    return Check(
        good,
        f"{evidence.sent:,} records sent; accounted for: {report['events']:,} with all their deliveries "
        f"+ {without:,} without any = {report['events'] + without:,}",
    )


def _balance(evidence: Evidence) -> Check:
    report = evidence.report
    good = report["balanced"] and not (report["waiting"] or report["beyond"] or report["outside"])
    if good:
        return Check(True, "hookline account: balanced; nothing is missing, nothing waits")
    missing, waiting = report["missing_count"], report["waiting"]
    return Check(False, f"hookline account: {missing:,} positions are missing, {waiting:,} deliveries wait")


def _delivered(evidence: Evidence) -> Check:
    said = evidence.tally.ended(Outcome.DELIVERED)
    accepted = {each for seen in evidence.seen.values() for each, (_, taken) in seen["ids"].items() if taken}
    good = said == accepted and len(said) == evidence.report["deliveries"].get("delivered", 0)
    text = f"{len(said):,} deliveries are called delivered; the receivers accepted the same {len(accepted):,}"
    if said != accepted:
        text = (
            f"{len(said - accepted):,} called delivered were not accepted, {len(accepted - said):,} the other way round"
        )
    return Check(good, text)


def _attempts(evidence: Evidence) -> Check:
    ids = [(each, counts) for seen in evidence.seen.values() for each, counts in seen["ids"].items()]
    requests = sum(seen["requests"] for seen in evidence.seen.values())
    wanted = evidence.tally.ended(Outcome.DELIVERED, Outcome.REJECTED)
    unseen = wanted - {each for each, _ in ids}
    strange = {each for each, _ in ids} - evidence.tally.deliveries.keys()
    again = sum(max(taken - 1, 0) for _, (_, taken) in ids)
    text = (
        f"{requests:,} requests for {len(ids):,} delivery IDs: {requests - len(ids):,} repeated after a failure, "
        f"under the same ID; {again:,} accepted more than once"
    )
    if unseen or strange:
        text += f"; {len(unseen):,} were never seen, {len(strange):,} are unknown"
    return Check(not unseen and not strange, text)


def _letters(evidence: Evidence) -> Check:
    report = evidence.report
    wanted = report["ledger"].get("undecodable", 0) + sum(
        report["deliveries"].get(each, 0) for each in ("rejected", "dead")
    )
    found = sum(evidence.letters.values())
    by = ", ".join(f"{cls} {number:,}" for cls, number in sorted(evidence.letters.items()))
    return Check(
        found == wanted,
        f"{found:,} records on the dead topic, of {wanted:,} that belong there" + (f": {by}" if by else ""),
    )


def _signatures(evidence: Evidence) -> Check:
    wrong = sum(seen["bad_signatures"] + seen["without_id"] for seen in evidence.seen.values())
    if wrong:
        return Check(False, f"{wrong:,} requests were signed wrongly or had no delivery ID")
    return Check(True, f"the CRM checked the signature of each of its {evidence.seen['crm']['requests']:,} requests")


def _worker(evidence: Evidence) -> tuple[Check, ...]:
    code = evidence.worker_code
    if code is None:
        return ()
    return (
        Check(code == 0, "the worker stopped gracefully" if code == 0 else f"the worker ended with exit code {code}"),
    )


# ------------------------------------------------------------------------------------------------------ printing


def show(console: Console, evidence: Evidence, found: tuple[Check, ...]) -> None:
    """Print what became of everything, then the comparisons."""
    report = evidence.report
    table = screen.table("what became of every record", "records", "", right=("records",))
    table.add_row("started deliveries, all of them settled", screen.count(report["events"]))
    for reason, number in report["ledger"].items():
        table.add_row(f"no delivery: {reason}", screen.count(number), Text(MEANINGS.get(reason, ""), "dim"))
    console.print(table)
    table = screen.table("what became of every delivery", "deliveries", "", right=("deliveries",))
    for outcome, reason, number in _deliveries(report):
        name = f"{outcome}: {reason}" if reason else outcome
        table.add_row(Text(name, _STYLES.get(outcome, "")), screen.count(number), Text(MEANINGS.get(reason, ""), "dim"))
    console.print(table)
    p50, p95 = screen.age(report["trigger_p50_ms"]), screen.age(report["trigger_p95_ms"])
    console.print(f"time to trigger, from the record's arrival to the first attempt: p50 {p50}, p95 {p95}")
    console.print(
        "(the outage of mail is part of it: what waits on a retry topic has had no attempt yet)\n", style="dim"
    )
    for check in found:
        console.print(Text.assemble(("✓ ", "bold green") if check.good else ("✗ ", "bold red"), check.text))
    console.print()


_STYLES: Final[dict[str, str]] = {
    Outcome.DELIVERED: "green", Outcome.REJECTED: "red", Outcome.DEAD: "bold red", Outcome.SKIPPED: "yellow",
    Outcome.RETRYING: "cyan",
}  # fmt: skip


def _deliveries(report: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    for outcome, number in report["deliveries"].items():
        reasons = report["reasons"].get(outcome, {})
        for reason, part in reasons.items():
            yield outcome, reason, part
        if number > sum(reasons.values()):
            yield outcome, "", number - sum(reasons.values())
