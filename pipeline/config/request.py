"""Decides how a destination is reached and what its requests begin with: address, limits, and what lets them in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.config import batching, defaults, modes
from pipeline.config.batching import Request
from pipeline.config.credentials import USER_AGENT, Access, resolve
from pipeline.core import contract, payload, urltext
from pipeline.errors import ConfigError
from pipeline.model import BatchPolicy, BreakerPolicy, Destination, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.config.models import Config, DestinationConfig, Operation
    from pipeline.config.policy import RejectionBrake
    from pipeline.config.secrets import Secrets
    from pipeline.model import Answer, Broken, Problem

GONE: Final = 410
"""RFC 9110, 15.5.11: likely permanent. Without path parameters the operation itself is meant."""
MARK_ATTEMPTS_MAX: Final = 8
MARK_AGE_MS_MAX: Final = 86_400_000
"""As `retry` of a destination by default: a mark is a write to our own broker."""
_CONTENT_TYPES: Final = {
    "json": "application/json", "ndjson": "application/x-ndjson", "form": "application/x-www-form-urlencoded"
}  # fmt: skip


class Requests:
    """Destinations with their secrets resolved, as the environment's mode has them called; see config/modes.

    Raises ConfigError with everything that is missing or unusable.
    """

    def __init__(self, config: Config, secrets: Secrets) -> None:
        self._original, config = config, modes.applied(config)
        self._config = config
        self._secrets = secrets
        self.access: dict[str, Access] = {}
        self._batches: dict[str, BatchPolicy] = {}
        self.destinations: dict[str, Destination] = {}
        problems: list[Problem] = []
        for name, destination in config.destinations.items():
            try:
                self.access[name] = access = resolve(config, secrets, name)
            except ConfigError as error:
                problems += error.problems
            else:
                self.destinations[name] = _destination(destination, access, config.brakes.destination)
        if problems:
            raise ConfigError(tuple(problems))

    def renewed(self, name: str) -> Access:
        """Resolve the references of one destination again; what is in use stays as it is. Blocks on files.

        Raises ConfigError if what the files hold now cannot be used.
        """
        access = resolve(self._config, self._secrets, name)
        if access.origin != self.access[name].origin:
            problem = self._config.problem(
                f"destinations/{name}.yaml", ("base_url",), "the URL now has another scheme, host or port",
                "that takes a restart",
            )  # fmt: skip
            raise ConfigError((problem,))
        return access

    def knows(self, call: str) -> bool:
        """Whether there is such a `destination.operation`."""
        name, _, operation = call.partition(".")
        return name in self._config.destinations and operation in self._config.destinations[name].operations

    def request(self, call: str, journey: str, step: str) -> Request:
        """Prepare the requests of one step; `call` is destination.operation."""
        name, _, operation_name = call.partition(".")
        destination = self._config.destinations[name]
        origin = [("hookline-journey", journey), ("hookline-step", step)]
        return self._request(destination, destination.operations[operation_name], origin)

    def _request(
        self, destination: DestinationConfig, operation: Operation, origin: Sequence[tuple[str, str]]
    ) -> Request:
        access = self.access[destination.name]
        headers = [("User-Agent", USER_AGENT), ("Accept-Encoding", "identity")]  # left out, any coding would be welcome
        if operation.body != "none":
            headers.append(("Content-Type", _CONTENT_TYPES[operation.body]))
        headers += operation.headers.items()
        headers += origin
        target = operation.path if operation.changes_target else operation.path + _query(operation)
        redirected = self._config.mode == "redirect"
        head = payload.head(
            operation.method, "" if redirected else target, access.origin.header, headers, access.credentials,
            id_header=destination.idempotency_header, base=access.path,
        )  # fmt: skip
        if redirected:
            head = payload.redirected(head, modes.original(self._original.destinations[destination.name]), target)
        shown = access.path + operation.path
        excerpt_bytes = min(destination.retain_excerpt, destination.response_bytes_max)
        keep_bytes = destination.response_bytes_max if operation.reads_response else excerpt_bytes
        return Request(operation.method, shown or "/", head, self._reader(operation), keep_bytes, excerpt_bytes)

    def batch(self, call: str) -> BatchPolicy | None:
        """Return how deliveries of an operation share requests, one policy for all its steps; None: they do not."""
        name, _, operation_name = call.partition(".")
        operation = self._config.destinations[name].operations[operation_name]
        if operation.batch is None:
            return None
        if call not in self._batches:
            destination = self._config.destinations[name]
            request = self._request(destination, operation, ())
            self._batches[call] = batching.policy(
                operation.batch, call, request, self.retry(call), lines=operation.body == "ndjson",
                response_bytes_max=destination.response_bytes_max,
            )  # fmt: skip
        return self._batches[call]

    def _reader(self, operation: Operation) -> Callable[[Answer], Mapping[str, object] | Broken] | None:
        if not operation.reads_response:
            return None
        fields = [defaults.field(name, each) for name, each in operation.response.items()]
        schema = operation.response_schema
        return contract.reader(None if schema is None else self._config.contracts[schema].check, fields)

    def retry(self, call: str) -> RetryPolicy:
        """Return when failed deliveries to an operation (`destination.operation`) are tried again."""
        name, _, operation = call.partition(".")
        destination = self._config.destinations[name]
        on_status = {GONE: "disable"} | {int(status): str(verdict) for status, verdict in destination.on_status.items()}
        if "{" in destination.operations[operation].path:  # then a status speaks of one thing, not of the operation
            on_status = {status: "rejected" if to == "disable" else to for status, to in on_status.items()}
        return RetryPolicy(
            max_attempts=destination.retry.max_attempts,
            max_age_ms=destination.retry.max_age_ms,
            retry_ambiguous=destination.retries_ambiguous,
            tiers_ms=tuple(tier.ms for tier in self._config.retry_tiers),
            on_status=on_status,
        )

    def retry_of_marks(self) -> RetryPolicy:
        """Return when marks are tried again that could not be written: as destinations by default are."""
        tiers_ms = tuple(tier.ms for tier in self._config.retry_tiers)
        return RetryPolicy(MARK_ATTEMPTS_MAX, MARK_AGE_MS_MAX, retry_ambiguous=True, tiers_ms=tiers_ms, on_status={})


def _query(operation: Operation) -> str:
    """Return the query of an operation where it is literal, with its question mark."""
    pairs = [(key.removesuffix("?"), urltext.scalar_text(each) or "") for key, each in operation.query.items()]
    return f"?{urltext.constant_query(pairs)}" if pairs else ""


def _destination(given: DestinationConfig, access: Access, brake: RejectionBrake) -> Destination:
    ca_file, client_cert, client_key = access.tls_files
    return Destination(
        name=given.name,
        host=access.origin.host,
        port=access.origin.port,
        tls=access.origin.tls,
        private_networks=tuple(given.private_networks),
        timeout_ms=given.timeout_ms,
        concurrency=given.limits.concurrency.most,
        adaptive=given.limits.concurrency.adaptive,
        queue=given.limits.queue,
        rate_per_s=given.limits.rate or 0.0,
        breaker=BreakerPolicy(
            given.breaker.failures, given.breaker.of, given.breaker.open_ms, given.breaker.open_max_ms, brake.share,
            brake.of,
        ),
        response_bytes_max=given.response_bytes_max,
        drops_repeats=given.drops_repeats,
        ca_file=ca_file,
        client_cert=client_cert,
        client_key=client_key,
        proxy=access.proxy,
    )  # fmt: skip
