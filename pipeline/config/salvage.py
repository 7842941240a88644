"""Decides what can still be checked of a configuration with problems, so that one run tells all of them.

What is broken is left out where nothing else depends on it. What a journey names in vain, or what could not be read,
gets a stand-in that refuses nothing: one cause is one problem.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.config.destination import DestinationConfig
from pipeline.config.operation import Operation
from pipeline.core import contract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.contracts import Contracts
    from pipeline.config.fragments import Shared
    from pipeline.config.journey import JourneyConfig

Destinations: TypeAlias = "Mapping[str, DestinationConfig | None]"
Journeys: TypeAlias = "Mapping[str, JourneyConfig | None]"

UNREAD: Final = Operation.model_validate({})
"""Stands for an operation that could not be read: whatever is asked of its response is there."""

_DESTINATION: Final = DestinationConfig.model_validate(
    {
        "destination": "unread",
        "owner": "unread",
        "base_url": "https://unread.invalid",
        "receives": ["identifier", "contact", "free_text"],
        "idempotency": "none",
        "operations": {"unread": {}},
    }
)


def journeys(given: Journeys, shared: Shared) -> dict[str, JourneyConfig]:
    """Return the journeys that can be compiled: read, and of shared files only what could be read."""
    return {
        name: each
        for name, each in given.items()
        if each is not None and (shared.complete or "tables." not in each.model_dump_json())
    }


def destinations(given: Destinations, called: Mapping[str, JourneyConfig]) -> dict[str, DestinationConfig]:
    """Return the destinations that were read, and a stand-in for all that the journeys call beyond them."""
    made = {name: each for name, each in given.items() if each is not None}
    for journey in called.values():
        for step in journey.steps:
            name, operation = step.destination, step.operation
            if not name:
                continue
            known = made.get(name) or _DESTINATION.model_copy(update={"name": name, "operations": {}})
            if operation not in known.operations:
                known = known.model_copy(update={"operations": {**known.operations, operation: UNREAD}})
            made[name] = known
    return made


def contracts(given: Contracts, wanted_by: Mapping[str, DestinationConfig]) -> dict[str, contract.Contract]:
    """Return the contracts that were read, and a stand-in for all that the destinations name beyond them."""
    anything = contract.compiled(True)
    assert isinstance(anything, contract.Contract)
    made = {name: each or anything for name, each in given.items()}
    for destination in wanted_by.values():
        for operation in destination.operations.values():
            for name in (operation.request_schema, operation.response_schema):
                if name is not None:
                    made.setdefault(name, anything)
    return made
