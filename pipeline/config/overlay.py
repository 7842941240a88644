"""What `env/NAME.yaml` may say, and how it is laid over the configuration before that is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from pipeline.config.auth import Auth, BaseUrl, Sign, Tls, Url
from pipeline.config.destination import Limits  # noqa: TC001 - pydantic reads annotations at run time
from pipeline.config.policy import Group, GroupProtocol, KafkaSettings, Telemetry
from pipeline.config.proxy import ProxyUrl  # noqa: TC001 - pydantic reads annotations at run time
from pipeline.config.section import (
    FileRef,
    Items,
    Line,
    Name,
    Network,
    SecretRef,
    Section,
    Shown,
    none_word,
    refuse,
    suggestion,
)

if TYPE_CHECKING:
    from pipeline.config.places import Path, Places
    from pipeline.model import Problem

MAIN_FILE: Final = "hookline.yaml"

LAID: Final = ("group", "kafka", "registry", "telemetry")
"""Keys of `hookline.yaml` that an overlay sets."""
MERGED: Final = ("kafka", "registry", "telemetry", "limits")
"""Keys that an overlay sets key by key; the others it replaces whole."""

Mode = Literal["live", "redirect", "dry"]
"""What becomes of requests: see config/modes."""


class DestinationOverlay(Section):
    """What one environment may set of a destination."""

    base_url: BaseUrl | None = Field(None, description="Replaces the destination's.")
    private_networks: Items[Network] | None = Field(None, description="Replaces the destination's.")
    auth: Annotated[Auth | None, BeforeValidator(none_word, json_schema_input_type=Auth | Literal["none"])] = Field(
        None, description="Replaces the destination's."
    )
    tls: Tls | None = Field(None, description="Replaces the destination's.")
    proxy: ProxyUrl | None = Field(None, description="Replaces the destination's.")
    sign: Annotated[Sign | None, BeforeValidator(none_word, json_schema_input_type=Sign | Literal["none"])] = Field(
        None, description="Replaces the destination's."
    )
    limits: Limits | None = Field(None, description="Set key by key.")

    unknown: ClassVar[tuple[str, str]] = (
        "is nothing an environment may set",
        "only base_url, private_networks, auth, tls, proxy, sign and limits of a destination",
    )


class KafkaOverlay(KafkaSettings):
    """What one environment may set of the brokers."""

    bootstrap: Line | None = Field(None, description="`host:port, …` or `env:NAME`.")
    group_protocol: GroupProtocol | None = Field(None, description="How workers share partitions.")


class RegistryOverlay(Section):
    """What one environment may set of the Schema Registry."""

    url: Url | None = Field(None, description="Base URL of its interface.")
    user: Line | None = Field(None, description="User of basic authentication, or `env:NAME`.")
    password: SecretRef | None = Field(None, description="Password of that user.")
    ca: FileRef | None = Field(None, description="PEM file of the authorities to trust.")


class Sink(Section):
    """Where all requests of an environment go instead. Credentials of the destinations' own files never do."""

    url: Url = Field(description="The URL every request is sent to, whatever it is a request to.")
    private_networks: Items[Network] = Field((), description="Private networks that the sink may be in.")
    auth: Annotated[Auth | None, BeforeValidator(none_word, json_schema_input_type=Auth | Literal["none"])] = Field(
        None, description="How requests say who we are, where the environment gives a destination no `auth` of its own."
    )
    tls: Tls = Field(Tls.model_validate({}), description="Whom to trust there, and who we are.")
    proxy: ProxyUrl = Field("none", description="HTTP proxy on the way there.")


def _kind_of_sink(given: object) -> str:
    return "a section" if isinstance(given, (Mapping, Sink)) else "a URL"


SinkOrUrl = Annotated[
    Annotated[Url, Tag("a URL")] | Annotated[Sink, Tag("a section")],
    Discriminator(_kind_of_sink),
    Shown("URL, `env:NAME` or section"),
]


class EnvFile(Section):
    """What differs in one environment; nothing else may."""

    mode: Mode = Field(
        description="What becomes of requests: `live` sends them; `redirect` sends all of them to `redirect_to`; `dry` "
        "does everything but send.",
    )
    redirect_to: SinkOrUrl | None = Field(None, description="The sink of mode `redirect`.")
    group: Group | None = Field(None, description="Replaces hookline.yaml's: this environment's events are its own.")
    kafka: KafkaOverlay | None = Field(None, description="Set key by key.")
    registry: RegistryOverlay | None = Field(None, description="Set key by key.")
    telemetry: Telemetry | None = Field(None, description="Set key by key.")
    destinations: Mapping[Name, DestinationOverlay] = Field(default={}, description="By destination.")

    unknown: ClassVar[tuple[str, str]] = (
        "is nothing an environment may set",
        "only mode, redirect_to, group, kafka, registry, telemetry and destinations",
    )

    @model_validator(mode="after")
    def _whole(self) -> EnvFile:
        if self.mode == "redirect" and self.redirect_to is None:
            refuse("mode redirect needs `redirect_to`", "the URL of what takes all requests")
        if self.mode != "redirect" and self.redirect_to is not None:
            refuse(f"mode {self.mode} has no use for `redirect_to`", "write mode: redirect, or leave it out")
        return self

    @property
    def sink(self) -> Sink | None:
        """Where all requests go, or None."""
        return Sink.model_validate({"url": self.redirect_to}) if isinstance(self.redirect_to, str) else self.redirect_to


def lay_over(
    trees: Mapping[str, object], overlay: Mapping[Any, object], origin: str, places: Places
) -> tuple[dict[str, object], list[Problem]]:
    """Return the parsed files with `overlay` (the parsed file `origin`) laid over them, and what it names in vain.

    Keys that an overlay may not set are passed over: `EnvFile` has refused them. `places` is told where
    parts came from.
    """
    laid = dict(trees)
    problems: list[Problem] = []
    for key in LAID:
        if key in overlay:
            laid[MAIN_FILE] = _set(laid[MAIN_FILE], key, overlay[key], _Graft(places, MAIN_FILE, origin, (key,)))
    destinations = overlay.get("destinations")
    for name, part in destinations.items() if isinstance(destinations, dict) else ():
        file = f"destinations/{name}.yaml"
        if file not in laid:
            known = [each[len("destinations/") : -len(".yaml")] for each in laid if each.startswith("destinations/")]
            path, hint = ("destinations", name), suggestion(name, known)
            problems.append(places.problem(origin, path, "there is no such destination", hint, at_key=True))
            continue
        for key in DestinationOverlay.model_fields if isinstance(part, dict) else ():
            if key in part:
                graft = _Graft(places, file, origin, ("destinations", name, key))
                laid[file] = _set(laid[file], key, part[key], graft)
    return laid, problems


class _Graft(NamedTuple):
    places: Places
    file: str
    origin: str
    at: Path

    def __call__(self, path: Path, *below: str | int) -> None:
        self.places.graft(self.file, path, self.origin, (*self.at, *below))


def _set(tree: object, key: str, part: object, graft: _Graft) -> object:
    """Return `tree` with `part` at `key`: merged key by key, or instead of what was there."""
    if not isinstance(tree, dict):
        return tree
    before = tree.get(key)
    if key in MERGED and isinstance(before, dict) and isinstance(part, dict):
        for each in part:
            graft((key, each), each)
        return tree | {key: before | part}
    graft((key,))
    return tree | {key: part}
