"""What a configuration is once it has been read: frozen values with every default filled in, and where each stood.

Names carry their units (`timeout_ms` is `timeout:` in YAML); every file has its model:
hookline.yaml `HooklineFile`, journeys `JourneyConfig`, destinations `DestinationConfig`, env `EnvFile`, shared
`SharedFile`.
"""

from __future__ import annotations

import pathlib  # noqa: TC003 - pydantic reads annotations at run time
from collections.abc import Mapping  # noqa: TC003
from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema

from pipeline.config.auth import ApiKey, Auth, Bearer, Sign, StandardWebhooks, Tls, base_url_flaw
from pipeline.config.cases import CaseFile
from pipeline.config.destination import Breaker, DestinationConfig, Limits, Retry
from pipeline.config.journey import JourneyConfig, StepConfig, Trigger
from pipeline.config.operation import Operation
from pipeline.config.overlay import DestinationOverlay, EnvFile, Mode, Sink
from pipeline.config.places import Path, Place, Places
from pipeline.config.policy import (
    LIFECYCLE_EVENT,
    Consent,
    EventMapping,
    HooklineFile,
    Kafka,
    Registry,
    Retention,
    RetryTier,
    Telemetry,
)
from pipeline.config.section import Name, Section, Shown, refuse
from pipeline.core.contract import Contract  # noqa: TC001
from pipeline.model import Problem  # noqa: TC001

__all__ = [
    "LIFECYCLE_EVENT", "ApiKey", "Auth", "Bearer", "Breaker", "CaseFile", "Config", "Consent", "DestinationConfig",
    "DestinationOverlay", "EnvFile", "EventMapping", "HooklineFile", "JourneyConfig", "Kafka", "Limits", "Operation",
    "Path", "Place", "Places", "Registry", "Retention", "Retry", "RetryTier", "SharedFile", "Sign", "StandardWebhooks",
    "StepConfig", "Telemetry", "Tls", "Trigger", "base_url_flaw",
]  # fmt: skip


def _table_value(given: object) -> object:
    if not isinstance(given, (str, int, float, bool)):
        refuse("must be text, a number, true or false")
    return given


TableValue = Annotated[
    str | int | float | bool,
    PlainValidator(_table_value),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
    Shown("text, number, true or false"),
]


class SharedFile(Section):
    """Parts that journeys share."""

    fragments: Mapping[Name, Mapping[str, Any]] = Field(
        default={}, description="Payload keys by name, for `include: [NAME]` in a payload."
    )
    tables: Mapping[Name, Mapping[str, TableValue]] = Field(
        default={}, description="Tables of constants, for `tables.NAME[key]` in CEL."
    )


class Config(HooklineFile):
    """A whole configuration, checked, for one environment (or for none). Made by `pipeline.config.load.load` only."""

    folder: pathlib.Path
    env: str | None
    mode: Mode
    sink: Sink | None  # of mode redirect
    overlaid: Mapping[str, DestinationOverlay]  # what the environment itself says of destinations
    destinations: Mapping[str, DestinationConfig]
    journeys: Mapping[str, JourneyConfig]  # payloads have their fragments expanded
    written: Mapping[str, Any]  # the same, as they were written: parsed YAML
    tables: Mapping[str, Mapping[str, TableValue]]
    cases: Mapping[str, CaseFile]  # by file
    contracts: Mapping[str, Contract]  # by their file, `contracts/NAME.json`
    places: Places = Field(repr=False)

    def where(self, file: str, path: Path = ()) -> Place:
        """Return the place of a node, such as `"journeys/a.yaml", ("steps", 0, "when")`, else of the nearest."""
        return self.places.where(file, path)

    def problem(self, file: str, path: Path, message: str, hint: str = "") -> Problem:
        """Make a problem that names the place of a node; the message must not quote values."""
        return self.places.problem(file, path, message, hint)

    def calls(self) -> dict[tuple[str, str], str]:
        """Return the destination each step calls, by (journey, step); marks call none."""
        return {
            (name, step.name): step.destination
            for name, journey in self.journeys.items()
            for step in journey.steps
            if step.destination
        }

    def entry(self, topic: str, record: str) -> int | None:
        """Return the entry of `events` for a record on a topic: the one that names it, else the topic's for any."""
        of_topic = [(index, each.record) for index, each in enumerate(self.events) if each.topic == topic]
        for wanted in (record, None):
            for index, named in of_topic:
                if named == wanted:
                    return index
        return None
