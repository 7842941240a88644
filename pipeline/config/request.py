"""Decides how a destination is reached and what its requests begin with: address, limits, auth, signing keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from pipeline import __version__
from pipeline.config import proxy
from pipeline.config.models import base_url_flaw
from pipeline.core import contract, payload, signing, urltext
from pipeline.errors import ConfigError
from pipeline.model import BreakerPolicy, Credentials, Destination, RetryPolicy, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from pipeline.config.models import Config, DestinationConfig, Operation
    from pipeline.config.secrets import Secrets
    from pipeline.model import Answer, Broken, Problem, Proxy

USER_AGENT: Final = f"hookline/{__version__}"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CONTENT_TYPES: Final = {
    "json": "application/json", "ndjson": "application/x-ndjson", "form": "application/x-www-form-urlencoded"
}  # fmt: skip


@value
class Request:
    """What is constant about one step's requests, and how their answers are read. `url_template` holds no secret."""

    method: str
    url_template: str
    head: Callable[[str, bytes, str, int, bytes, bytes], bytes]
    response: Callable[[Answer], Mapping[str, object] | Broken] | None
    keep_bytes: int
    excerpt_bytes: int


class Requests:
    """Destinations with their secrets resolved. Raises ConfigError with everything that is missing or unusable."""

    def __init__(self, config: Config, secrets: Secrets) -> None:
        self._config = config
        self._secrets = secrets
        self._problems: list[Problem] = []
        self._urls: dict[str, SplitResult] = {}
        self._credentials: dict[str, Credentials] = {}
        self.destinations: dict[str, Destination] = {}
        for name, destination in config.destinations.items():
            self._resolve(name, destination)
        if self._problems:
            raise ConfigError(tuple(self._problems))

    def request(self, call: str, journey: str, step: str) -> Request:
        """Prepare the requests of one step; `call` is destination.operation."""
        name, _, operation_name = call.partition(".")
        destination = self._config.destinations[name]
        operation = destination.operations[operation_name]
        url = self._urls[name]
        base = url.path.rstrip("/")
        headers = [("User-Agent", USER_AGENT), ("Accept-Encoding", "identity")]  # left out, any coding would be welcome
        if operation.body != "none":
            headers.append(("Content-Type", _CONTENT_TYPES[operation.body]))
        headers += operation.headers.items()
        headers += [("hookline-journey", journey), ("hookline-step", step)]
        target = operation.path if operation.changes_target else operation.path + _query(operation)
        head = payload.head(
            operation.method, target, _host_header(url), headers, self._credentials[name],
            id_header=destination.idempotency_header, base=base,
        )  # fmt: skip
        # A base URL out of the environment may be a secret itself, as chat systems' incoming hooks are.
        shown = operation.path if destination.base_url.startswith("env:") else base + operation.path
        excerpt_bytes = min(destination.retain_excerpt, destination.response_bytes_max)
        keep_bytes = destination.response_bytes_max if operation.reads_response else excerpt_bytes
        return Request(operation.method, shown or "/", head, self._reader(operation), keep_bytes, excerpt_bytes)

    def _reader(self, operation: Operation) -> Callable[[Answer], Mapping[str, object] | Broken] | None:
        if not operation.reads_response:
            return None
        fields = [
            contract.Field(name, contract.tokens(each.at) or (), each.type, each.one_of, each.optional)
            for name, each in operation.response.items()
        ]
        schema = operation.response_schema
        return contract.reader(None if schema is None else self._config.contracts[schema].check, fields)

    def retry(self, name: str) -> RetryPolicy:
        """Return when failed deliveries to a destination are tried again."""
        destination = self._config.destinations[name]
        return RetryPolicy(
            max_attempts=destination.retry.max_attempts,
            max_age_ms=destination.retry.max_age_ms,
            retry_ambiguous=destination.retries_ambiguous,
            tiers_ms=tuple(tier.ms for tier in self._config.retry_tiers),
            on_status={int(status): str(verdict) for status, verdict in destination.on_status.items()},
        )

    # --------------------------------------------------------------------------------------------------- resolving

    def _resolve(self, name: str, destination: DestinationConfig) -> None:
        base_url = self._text(name, destination.base_url, ("base_url",))
        if base_url and (flaw := base_url_flaw(base_url)):
            self._refuse(name, ("base_url",), flaw)
            base_url = ""
        url = urlsplit(base_url or "https://unresolved.invalid")
        self._urls[name] = url
        lines, query = self._authentication(name, destination)
        keys = self._signing_keys(name, destination)
        self._credentials[name] = Credentials(
            query=query, lines=lines.encode("ascii"), sign=signing.signer(keys) if keys else None
        )
        brake = self._config.brakes.destination
        self.destinations[name] = Destination(
            name=name,
            host=url.hostname or "",
            port=url.port or _DEFAULT_PORTS[url.scheme],
            tls=url.scheme == "https",
            private_networks=tuple(destination.private_networks),
            timeout_ms=destination.timeout_ms,
            concurrency=destination.limits.concurrency.most,
            adaptive=destination.limits.concurrency.adaptive,
            queue=destination.limits.queue,
            rate_per_s=destination.limits.rate or 0.0,
            breaker=BreakerPolicy(
                destination.breaker.failures, destination.breaker.of, destination.breaker.open_ms,
                destination.breaker.open_max_ms, brake.share, brake.of,
            ),
            response_bytes_max=destination.response_bytes_max,
            drops_repeats=destination.drops_repeats,
            ca_file=self._ca_file(name, destination),
            proxy=self._proxy(name, destination, url),
        )  # fmt: skip

    def _authentication(self, name: str, destination: DestinationConfig) -> tuple[str, str]:
        """Return header lines and a part of the query."""
        auth = destination.auth
        if auth is None:
            return "", ""
        if auth.bearer is not None:
            token = self._header_secret(name, auth.bearer.token, ("auth", "bearer", "token"))
            return f"Authorization: Bearer {token}\r\n", ""
        assert auth.api_key is not None
        secret = self._header_secret(name, auth.api_key.value, ("auth", "api_key", "value"))
        if auth.api_key.header is not None:
            return f"{auth.api_key.header}: {secret}\r\n", ""
        return "", f"{quote(str(auth.api_key.query), safe='')}={quote(secret, safe='')}"

    def _signing_keys(self, name: str, destination: DestinationConfig) -> tuple[bytes, ...]:
        if destination.sign is None:
            return ()
        keys = []
        for index, ref in enumerate(destination.sign.standard_webhooks.secrets):
            path = ("sign", "standard_webhooks", "secrets", index)
            secret = self._get(name, ref, path)
            if secret:
                try:
                    keys.append(signing.signing_key(secret.strip()))
                except ValueError as error:
                    self._refuse(name, path, f"the secret behind {ref} {error}")
        return tuple(keys)

    def _header_secret(self, name: str, ref: str, path: tuple[str | int, ...]) -> str:
        secret = self._get(name, ref, path).strip()
        if secret and not (secret.isascii() and secret.isprintable()):
            self._refuse(name, path, f"the secret behind {ref} must be printable ASCII on one line")
            return ""
        return secret

    def _ca_file(self, name: str, destination: DestinationConfig) -> str:
        if destination.tls.ca is None:
            return ""
        try:
            return str(self._secrets.path(destination.tls.ca))
        except ConfigError as error:
            self._unresolved(name, ("tls", "ca"), error)
            return ""

    def _proxy(self, name: str, destination: DestinationConfig, url: SplitResult) -> Proxy | None:
        """Return the proxy on the way to `url`: written, behind a reference, or the environment's."""
        given = destination.proxy
        where = ""
        if given == "env":
            given, where = proxy.of_environment(url.scheme, _host_header(url)), "the environment's proxy variable "
        elif given.startswith(("env:", "file:")):
            given, where = self._get(name, given, ("proxy",)).strip(), f"the URL behind {given} "
        if given in ("none", ""):
            return None
        if flaw := proxy.flaw(given):
            self._refuse(name, ("proxy",), where + flaw)
            return None
        return proxy.parse(given)

    def _get(self, name: str, ref: str, path: tuple[str | int, ...]) -> str:
        try:
            return self._secrets.get(ref)
        except ConfigError as error:
            self._unresolved(name, path, error)
            return ""

    def _text(self, name: str, given: str, path: tuple[str | int, ...]) -> str:
        return self._get(name, given, path) if given.startswith("env:") else given

    def _unresolved(self, name: str, path: tuple[str | int, ...], error: ConfigError) -> None:
        """Say where the reference stands that has no value; the error itself only knows the reference."""
        for each in error.problems:
            self._refuse(name, path, f"{each.field} {each.message}", each.hint)

    def _refuse(self, name: str, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        self._problems.append(self._config.problem(f"destinations/{name}.yaml", path, message, hint))


def _query(operation: Operation) -> str:
    """Return the query of an operation where it is literal, with its question mark."""
    pairs = [(key.removesuffix("?"), urltext.scalar_text(each) or "") for key, each in operation.query.items()]
    return f"?{urltext.constant_query(pairs)}" if pairs else ""


def _host_header(url: SplitResult) -> str:
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.port in (None, _DEFAULT_PORTS[url.scheme]) else f"{host}:{url.port}"
