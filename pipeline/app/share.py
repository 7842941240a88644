"""A worker's share of the fleet's rates, without coordination: by the partitions it owns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.run.consume import Intake

_PLAIN: Final = {"input": 0.8, "retry": 0.2}
_ORDERED: Final = {"input": 0.4, "ordered": 0.4, "retry": 0.2}
"""What is sent from logs is sent by whoever owns those, not by the owners of the input."""


def share(intakes: Sequence[Intake], *, ordered: bool, rekeyed: bool = False) -> float:
    """Return a share of 0 to 1: of the input's partitions, and of the retry ones a fifth; `ordered`: there are logs.

    `rekeyed`: runs begin from copies, so that their partitions count instead of the input's.

    Over all workers that adds up to one, and whoever owns any partition has some of it.
    """
    whole = 0.0
    for role, weight in (_ORDERED if ordered else _PLAIN).items():
        owned = total = 0
        role = "events" if rekeyed and role == "input" else role  # noqa: PLW2901
        for intake in intakes:
            if intake.source.role == role:
                total += sum(map(intake.source.partitions_total, intake.source.topics))
                owned += len(intake.trackers)
        whole += weight * owned / total if total else 0.0
    return whole
