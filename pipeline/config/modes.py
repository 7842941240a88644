"""Decides what a mode other than live makes of the destinations: all of them the sink, or nowhere; no secret of theirs.

What the configuration says stays as it is for everything that only looks at it; workers and `hookline destination
test` send by what `applied` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pipeline.config.auth import SecretUrl
from pipeline.config.destination import DestinationConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config
    from pipeline.config.overlay import Sink
    from pipeline.config.places import Path

DRY: Final = "dry"
SINKS: Final = ("base_url", "tls", "proxy")
"""Keys of a destination that are the sink's while requests are redirected; `auth` is, unless the environment set it."""
_HIDDEN: Final = "/..."
"""Stands for what of a URL is not to be shown."""


def applied(config: Config) -> Config:
    """Return the configuration as its mode has requests sent. That of mode live is returned as it is."""
    if config.mode == "live":
        return config
    made = {name: sent(config, each) for name, each in config.destinations.items()}
    return config.model_copy(update={"destinations": made})


def sent(config: Config, destination: DestinationConfig) -> DestinationConfig:
    """Return one destination as the mode of the environment has it."""
    if config.mode == "live":
        return destination
    if config.mode == "redirect":
        assert config.sink is not None
        return destination.model_copy(update=_to_sink(config, config.sink, destination.name))
    return bare(destination)


def _to_sink(config: Config, sink: Sink, name: str) -> Mapping[str, Any]:
    """Return what the sink changes: credentials are its own, or what the environment itself names for a destination."""
    own = config.overlaid.get(name)
    set_here = own.model_fields_set if own is not None else set()
    return {
        "base_url": sink.url,
        "private_networks": sink.private_networks,
        "auth": own.auth if own is not None and "auth" in set_here else sink.auth,
        "sign": own.sign if own is not None and "sign" in set_here else None,
        "tls": sink.tls,
        "proxy": sink.proxy,
    }


def bare(destination: DestinationConfig) -> DestinationConfig:
    """Leave out what needs a secret or another machine: where it is, what lets in, what signs."""
    url = destination.base_url
    host = url if isinstance(url, str) and not url.startswith("env:") else f"https://{destination.name}.invalid"
    absent = {key: DestinationConfig.model_fields[key].default for key in ("auth", "sign", "tls", "proxy")}
    return destination.model_copy(update={"base_url": host, **absent})


def place(config: Config, name: str, path: Path) -> tuple[str, Path]:
    """Return file and path where a key of a destination is written: of the sink's keys, in the environment's file."""
    own = config.overlaid.get(name)
    sinks = path[0] in SINKS or (path[0] == "auth" and (own is None or "auth" not in own.model_fields_set))
    if config.mode == "redirect" and sinks:
        key: Path = ("url",) if path[0] == "base_url" else path
        return f"env/{config.env}.yaml", ("redirect_to", *key)
    return f"destinations/{name}.yaml", path


def status_of(config: Config, status: str) -> str:
    """Return what a journey's status comes to: in mode dry a live journey does everything but send."""
    return DRY if config.mode == DRY and status == "live" else status


def original(destination: DestinationConfig) -> str:
    """Return the base URL of a destination as it may be shown: printable ASCII, nothing of a URL that is a secret."""
    url = destination.base_url
    if isinstance(url, SecretUrl):
        return f"https://{url.host}{_HIDDEN}"
    if url.startswith("env:"):
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def said(config: Config) -> str:
    """Say in one line what becomes of requests, "" in mode live."""
    if config.mode == "redirect" and config.sink is not None:
        host = config.sink.url if config.sink.url.startswith("env:") else urlsplit(config.sink.url).netloc
        return f"mode redirect: every request goes to {host}, none to a destination"
    return "mode dry: nothing is sent" if config.mode == DRY else ""
