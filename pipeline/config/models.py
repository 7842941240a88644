"""What a configuration is once it has been read: frozen values with every default filled in, and where each stood.

Names carry their units (`timeout_ms` is `timeout:` in YAML); every file has its model:
hookline.yaml `HooklineFile`, journeys `JourneyConfig`, destinations `DestinationConfig`, env `EnvFile`, shared
`SharedFile`.
"""

from __future__ import annotations

import pathlib  # noqa: TC003 - pydantic reads annotations at run time
from collections.abc import Mapping  # noqa: TC003
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.config.destination import (
    ApiKey,
    Auth,
    BaseUrl,
    Bearer,
    Breaker,
    DestinationConfig,
    Limits,
    Operation,
    Retry,
    Sign,
    StandardWebhooks,
    Tls,
    base_url_flaw,
)
from pipeline.config.journey import JourneyConfig, StepConfig, Trigger
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
from pipeline.config.section import Items, Later, Name, Network, Section
from pipeline.model import Problem  # noqa: TC001

__all__ = [
    "LIFECYCLE_EVENT", "ApiKey", "Auth", "Bearer", "Breaker", "Config", "Consent", "DestinationConfig",
    "DestinationOverlay", "EnvFile", "EventMapping", "HooklineFile", "JourneyConfig", "Kafka", "Limits", "Operation",
    "Path", "Place", "Places", "Registry", "Retention", "Retry", "RetryTier", "SharedFile", "Sign", "StandardWebhooks",
    "StepConfig", "Telemetry", "Tls", "Trigger", "base_url_flaw",
]  # fmt: skip


class DestinationOverlay(Section):
    """What one environment may set of a destination."""

    base_url: BaseUrl | None = Field(None, description="Replaces the destination's.")
    private_networks: Items[Network] | None = Field(None, description="Replaces the destination's.")
    auth: Any = Field(None, description="Replaces the destination's.")
    tls: Any = Field(None, description="Replaces the destination's.")
    sign: Any = Field(None, description="Replaces the destination's.")
    limits: Any = Field(None, description="Set key by key.")

    later: ClassVar[Mapping[str, Later]] = {"proxy": Later("destinations are called directly", accepted=("none",))}


class EnvFile(Section):
    """What differs in one environment; nothing else may."""

    mode: Literal["live"] = Field("live", description="What becomes of requests: `live` sends them.")
    kafka: Any = Field(None, description="Set key by key.")
    registry: Any = Field(None, description="Set key by key.")
    telemetry: Any = Field(None, description="Set key by key.")
    destinations: Mapping[Name, DestinationOverlay] = Field(default={}, description="By destination.")

    later: ClassVar[Mapping[str, Later]] = {"redirect_to": Later("requests go where the destination says")}
    later_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "mode": {"redirect": "the only mode is live", "dry": "the only mode is live"},
    }


class SharedFile(Section):
    """Parts that journeys share."""

    fragments: Mapping[Name, Mapping[str, Any]] = Field(
        default={}, description="Payload keys by name, for `include: [NAME]` in a payload."
    )
    tables: Mapping[Name, Mapping[str, str | int | float | bool]] = Field(
        default={}, description="Constant look-ups, for `tables.NAME[key]` in CEL."
    )


class Config(HooklineFile):
    """A whole configuration, checked, for one environment (or for none). Made by `pipeline.config.load.load` only."""

    folder: pathlib.Path
    env: str | None
    mode: Literal["live"]
    destinations: Mapping[str, DestinationConfig]
    journeys: Mapping[str, JourneyConfig]  # payloads have their fragments expanded
    tables: Mapping[str, Mapping[str, str | int | float | bool]]
    places: Places = Field(repr=False)

    def where(self, file: str, path: Path = ()) -> Place:
        """Return the place of a node, such as `"journeys/a.yaml", ("steps", 0, "when")`, else of the nearest."""
        return self.places.where(file, path)

    def problem(self, file: str, path: Path, message: str, hint: str = "") -> Problem:
        """Make a problem that names the place of a node; the message must not quote values."""
        return self.places.problem(file, path, message, hint)
