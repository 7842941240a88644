"""Performs the finding of writer schemas: in folders of .avsc files first, then in a Schema Registry.

The folders are the embedded registry: found by fingerprint (single-object encoding), and by full name as what a record
is read as. `NAME.avsc` is both; `NAME@ANYTHING.avsc` holds an older shape that is still written, found by fingerprint
only. The registry is asked with Confluent's own client, in threads of its own.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.core import decode
from pipeline.errors import BrokerError, ConfigError
from pipeline.model import Problem, SchemaRef
from pipeline.ports import Found, Unknown, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

    from pipeline.config.models import Config
    from pipeline.config.secrets import Secrets

REQUEST_S: Final = 5.0
"""Bound on each wait for the registry within one request: connecting, sending, receiving."""
FETCH_S: Final = 10.0
"""Bound on finding one schema, references included."""
THREADS: Final = 2
"""Requests to the registry at a time; more would only queue at it."""
CACHE_SCHEMAS: Final = 1_000
"""Schemas from the registry that are kept."""
REFERENCES_MAX: Final = 100
"""Other schemas one schema may be put together from."""
FILE_BYTES_MAX: Final = 1_048_576
"""Size of one .avsc file."""

_FINGERPRINT_BYTES: Final = 8
_NOT_FOUND: Final = 404
_NOT_FOUND_CODES: Final = range(40_400, 40_500)
"""Error codes with which a registry itself says that there is none; a 404 without one is a wrong URL, or a proxy."""


def packaged() -> Path:
    """Return the folder of Hookline's own schemas, as installed."""
    return Path(str(resources.files("pipeline") / "schemas"))


class Folders:
    """All .avsc files of some folders. A name in a later folder replaces the same name of an earlier one."""

    def __init__(self, folders: Iterable[Path], *, lenient: bool = False) -> None:
        """Read every file; missing folders are empty. Blocks on the file system.

        Raises ConfigError with all problems; if `lenient`, what has any is passed over.
        """
        self.readers: dict[str, Any] = {}
        self._writers: dict[bytes, Any] = {}
        self._problems: list[Problem] = []
        for folder in folders:
            self._add(folder)
        if self._problems and not lenient:
            raise ConfigError(tuple(self._problems))

    @classmethod
    def examined(cls, folders: Iterable[Path]) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        """Return the schemas that can be read, by full name, and what is wrong with the others. Blocks likewise."""
        made = cls(folders, lenient=True)
        return made.readers, tuple(made._problems)

    def written(self, fingerprint: bytes) -> Any | None:
        """Return the schema with this CRC-64-AVRO fingerprint (little endian), or None."""
        return self._writers.get(fingerprint)

    def _add(self, folder: Path) -> None:
        schemas = {path: self._parsed(path) for path in sorted(folder.glob("*.avsc"))}
        current = {
            decode.full_name(schema): (path, schema)
            for path, schema in schemas.items()
            if schema is not None and "@" not in path.stem
        }
        known = {**self.readers, **{name: schema for name, (_, schema) in current.items() if name}}
        for path, schema in schemas.items():
            if schema is None:
                continue
            name = decode.full_name(schema)
            if "@" not in path.stem and current[name][0] is not path:
                self._problem(path, f"{name} is also in {current[name][0].name}", "older shapes: NAME@ANYTHING.avsc")
                continue
            try:
                whole = decode.inline(schema, {other: each for other, each in known.items() if other != name})
                self._writers[decode.fingerprint(whole)] = whole
            except decode.SchemaError as error:
                self._problem(path, str(error))
                continue
            if name and "@" not in path.stem:
                self.readers[name] = whole

    def _parsed(self, path: Path) -> Any | None:
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                self._problem(path, f"is larger than {FILE_BYTES_MAX} bytes")
                return None
            return json.loads(path.read_bytes())
        except json.JSONDecodeError as error:
            self._problems.append(Problem(_shown(path), error.lineno, error.colno, "", f"is not JSON: {error.msg}"))
        except (OSError, ValueError, RecursionError) as error:  # no UTF-8; a number or a nesting without end
            self._problem(path, f"cannot be read: {type(error).__name__}")
        return None

    def _problem(self, path: Path, message: str, hint: str = "") -> None:
        self._problems.append(Problem(_shown(path), 0, 0, "", message, hint))


def _shown(path: Path) -> str:
    return f"schemas/{path.name}"


class Registry:
    """A registry with Confluent's interface, asked with Confluent's client. Blocks: call it in a thread."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the client's own settings (`url`, `basic.auth.user.info`, `ssl.ca.location`, …). Contacts nothing.

        Raises ConfigError for settings the client refuses.
        """
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - half a second, not always

        try:
            # No retries here: an unreachable registry holds the partition, and the worker asks again.
            conf = {"timeout": REQUEST_S, "max.retries": 0, **settings}
            self._client: SchemaRegistryClient = SchemaRegistryClient(conf)
        except (ValueError, TypeError, OSError) as error:  # their texts may quote the URL with its password
            problem = Problem("hookline.yaml", 0, 0, "registry", f"settings are refused ({type(error).__name__})")
            raise ConfigError((problem,)) from None

    @classmethod
    def of(cls, config: Config, secrets: Secrets) -> Registry | None:
        """Build from `registry:` of hookline.yaml; None without one. Raises ConfigError."""
        if config.registry is None:
            return None
        settings: dict[str, Any] = {"url": secrets.text(config.registry.url)}
        if config.registry.user is not None and config.registry.password is not None:
            user, password = secrets.text(config.registry.user), secrets.get(config.registry.password)
            settings["basic.auth.user.info"] = f"{user}:{password}"
        if config.registry.ca is not None:
            settings["ssl.ca.location"] = str(secrets.path(config.registry.ca))
        return cls(settings)

    def find(self, ref: SchemaRef) -> Found | Unknown | Unreachable:
        """Ask for a schema by ID or GUID; what it refers to is written out in it. Never raises."""
        try:
            if isinstance(ref, int):
                answer = self._client.get_schema(ref)
            else:
                answer = self._client.get_schema_by_guid(str(uuid.UUID(bytes=ref)))
            return self._whole(answer)
        except Exception as error:  # noqa: BLE001 - network, TLS, HTTP and JSON errors of several libraries
            return _refusal(error, decode.describe(ref))

    def register(self, subject: str, schema: Any) -> tuple[int, bytes | None]:
        """Register a schema, or find it registered; return its ID, and its GUID if the registry has those.

        Raises BrokerError, without what the registry or the network library said: that may quote credentials.
        """
        from confluent_kafka.schema_registry import Schema  # noqa: PLC0415

        try:
            found = self._client.register_schema_full_response(subject, Schema(json.dumps(schema), "AVRO"))
        except Exception as error:  # the client lets through whatever its network library raises
            raise BrokerError(f"the schema was not registered: {_refusal(error, subject).detail}") from error
        assert found.schema_id is not None
        return found.schema_id, uuid.UUID(found.guid).bytes if found.guid else None

    def close(self) -> None:
        """Close connections; idempotent."""
        self._client.close()

    def _whole(self, answer: Schema) -> Found | Unknown:
        known: dict[str, Any] = {}
        seen: set[tuple[str, int]] = set()
        waiting = list(answer.references or ())
        while waiting:
            reference = waiting.pop()
            place = (str(reference.subject), int(reference.version or 0))
            if place in seen:
                continue
            seen.add(place)
            if len(seen) > REFERENCES_MAX:
                return Unknown(f"schema refers to more than {REFERENCES_MAX} others")
            other = self._client.get_version(*place).schema
            schema = json.loads(other.schema_str or "null")
            known[decode.full_name(schema) or str(reference.name)] = schema
            waiting += other.references or ()
        if answer.schema_type not in (None, "AVRO"):
            return Unknown("schema is not of type AVRO")
        try:
            return Found(decode.inline(json.loads(answer.schema_str or ""), known))
        except (ValueError, RecursionError, decode.SchemaError):
            return Unknown("schema is not Avro")


def _refusal(error: Exception, what: str) -> Unknown | Unreachable:
    """Tell `there is none` from `no answer`. Only the registry's own word makes a record undecodable."""
    from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

    if not isinstance(error, SchemaRegistryError):
        return Unreachable(f"registry: {type(error).__name__}")
    if error.http_status_code == _NOT_FOUND and error.error_code in _NOT_FOUND_CODES:
        return Unknown(f"registry has no schema with {what}")
    return Unreachable(f"registry answered {error.http_status_code}")


class KnownSchemas:
    """Implements ports.Schemas. Folders win; what the registry answered is kept, up to CACHE_SCHEMAS."""

    def __init__(self, folders: Folders, registry: Registry | None = None) -> None:
        self._folders = folders
        self._registry = registry
        self._kept: OrderedDict[SchemaRef, Found] = OrderedDict()
        self._threads: ThreadPoolExecutor | None = None

    @classmethod
    def of(cls, config: Config, secrets: Secrets) -> KnownSchemas:
        """Build from Hookline's own schemas, the configuration's `schemas/` and its registry. Raises ConfigError."""
        return cls(Folders((packaged(), config.folder / "schemas")), Registry.of(config, secrets))

    def reader_schemas(self) -> dict[str, Any]:
        """Return the schema each record is read as, by full name."""
        return dict(self._folders.readers)

    async def fetch(self, ref: SchemaRef) -> Found | Unknown | Unreachable:
        """See ports.Schemas. Takes at most FETCH_S."""
        if isinstance(ref, bytes) and len(ref) == _FINGERPRINT_BYTES:
            written = self._folders.written(ref)
            return Found(written) if written is not None else Unknown(f"no schema file with {decode.describe(ref)}")
        kept = self._kept.get(ref)
        if kept is not None:
            self._kept.move_to_end(ref)
            return kept
        if self._registry is None:
            return Unknown(f"no registry is configured that could know {decode.describe(ref)}")
        found = await self._ask(self._registry, ref)
        if isinstance(found, Found):
            self._kept[ref] = found
            while len(self._kept) > CACHE_SCHEMAS:
                self._kept.popitem(last=False)
        return found

    async def _ask(self, registry: Registry, ref: SchemaRef) -> Found | Unknown | Unreachable:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="registry")
        asked = asyncio.get_running_loop().run_in_executor(self._threads, registry.find, ref)
        try:
            async with asyncio.timeout(FETCH_S):
                return await asked
        except TimeoutError:
            return Unreachable(f"registry: no answer within {FETCH_S:g} s")

    def close(self) -> None:
        """Close the registry's connections; requests under way end within REQUEST_S. Idempotent."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None
        if self._registry is not None:
            self._registry.close()
