"""Decides what `proxy` of a destination stands for: none, the environment's variables, or the URL of an HTTP proxy."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from pydantic import BeforeValidator, WithJsonSchema

from pipeline.config.section import REFERENCE_PATTERN, Shown, refuse
from pipeline.model import Proxy

DEFAULT_PORT: Final = 80


def flaw(url: str) -> str:
    """Say what is wrong with a proxy's URL, or "" if nothing is. It may carry credentials and is never quoted."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be ASCII without spaces"
    if parts.scheme != "http" or not parts.hostname or port == 0:
        return "must be http://HOST:PORT: proxies are spoken to in the clear, and TLS goes through them"
    return "must have no path, no query and no fragment" if parts.path.strip("/") or "?" in url or "#" in url else ""


def parse(url: str) -> Proxy:
    """Read the URL of a proxy that has no flaw. `user:password@` becomes Basic credentials (RFC 7617)."""
    parts = urlsplit(url)
    authorization = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + b64encode(pair.encode()).decode("ascii")
    return Proxy(parts.hostname or "", parts.port or DEFAULT_PORT, authorization)


def of_environment(scheme: str, host: str) -> str:
    """Return the URL of the environment's proxy for `host` or `host:port`, or "".

    As everywhere: `https_proxy` or `http_proxy` by the scheme, upper or lower case, unless `no_proxy` names the host, a
    domain above it, or `*`. A value without scheme is an http proxy.
    """
    proxies = getproxies_environment()
    url = proxies.get(scheme, "").strip()
    if not url or proxy_bypass(host, proxies):
        return ""
    return url if "://" in url else f"http://{url}"


def _proxy(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be none, env, a URL, or a reference to one")
    if given in ("none", "env") or re.fullmatch(REFERENCE_PATTERN, given, re.ASCII):
        return given
    if wrong := flaw(given):
        refuse(wrong)
    if "@" in given:
        refuse("must not carry credentials", "write the whole URL behind a reference: env:NAME or file:PATH")
    return given


ProxyUrl = Annotated[
    str,
    BeforeValidator(_proxy),
    WithJsonSchema({"type": "string"}),
    Shown("`none`, `env`, URL, `env:NAME` or `file:PATH`"),
]
