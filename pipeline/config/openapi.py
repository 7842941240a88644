"""Makes a destination's contract: an OpenAPI 3.1 document whose webhooks are the requests the destination is sent.

For whoever builds the receiving end. It has no secret and nothing of an environment's.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.config.operation import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.config.destination import DestinationConfig
    from pipeline.config.models import Config
    from pipeline.config.operation import Operation
    from pipeline.config.sent import Sent

VERSION: Final = "3.1.0"
_VERSION_DIGITS: Final = 12
_DATA: Final = frozenset(("const", "enum", "default", "examples"))
_CONTENT: Final = {
    "json": "application/json", "form": "application/x-www-form-urlencoded", "ndjson": "application/x-ndjson",
}  # fmt: skip
_TEXT: Final = {"type": "string"}
_HEADERS: Final = (
    ("webhook-id", {"type": "string", "format": "uuid"}, "The delivery ID: the same over repeats; drop what you have."),
    ("traceparent", _TEXT, "W3C Trace Context: continue this trace."),
    ("hookline-event-id", _TEXT, "The event's ID: log it."),
    ("hookline-event-type", _TEXT, "The event's type."),
    ("hookline-event-time", {"type": "string", "format": "date-time"}, "When it happened."),
    ("hookline-journey", _TEXT, "The journey that makes this request."),
    ("hookline-step", _TEXT, "Its step."),
)
_BATCH_HEADERS: Final = (
    *_HEADERS[:2],
    ("hookline-batch-size", {"type": "integer"}, "Deliveries in this request; each has its own ID in its item."),
)
_RESPONSES: Final = {
    "410": "Gone for good: nothing more is sent to this operation until somebody says so.",
    "4XX": "Refused for good, and kept as rejected. But 408, 425, 429 are tried again; 401, 407 wait for mending.",
    "5XX": "Tried again; `Retry-After` is respected. 501 is refused for good.",
}
_META: Final = {
    "type": "object",
    "description": "Event and delivery, as in the headers.",
    "properties": dict.fromkeys(("event_id", "event_type", "event_time", "journey", "step", "delivery_id"), _TEXT),
}


def document(config: Config, name: str, sent: Sequence[Sent]) -> dict[str, Any]:
    """Return the contract of a destination; `sent` is what the configuration sends (config.compile.sent)."""
    destination = config.destinations[name]
    schemas: dict[str, Any] = {}
    webhooks = {}
    for key, operation in destination.operations.items():
        values = [each for each in sent if each.call == f"{name}.{key}"]
        webhooks[key] = {operation.method.lower(): _operation(config, destination, key, operation, values, schemas)}
    schemes = dict(_schemes(destination))
    made: dict[str, Any] = {
        "openapi": VERSION,
        "info": {
            "title": f"What {name} is sent",
            "version": "",
            "description": f"Requests that Hookline sends to {name}. Who answers for it: {destination.owner}.",
        },
        "webhooks": webhooks,
        "components": {"schemas": schemas, "securitySchemes": schemes},
        "security": [{name: [] for name in schemes}] if schemes else [],
    }
    canonical = orjson.dumps(made, option=orjson.OPT_SORT_KEYS)
    made["info"]["version"] = hashlib.sha256(canonical).hexdigest()[:_VERSION_DIGITS]
    return made


def _operation(
    config: Config,
    destination: DestinationConfig,
    key: str,
    operation: Operation,
    values: Sequence[Sent],
    schemas: dict[str, Any],
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": key,
        "summary": f"{operation.method} {operation.path or '/'}",
        "parameters": list(_parameters(destination, operation)),
        "responses": _responses(config, destination, key, operation, schemas),
        "x-hookline-path": operation.path,
        "x-hookline-journeys": sorted({each.journey for each in values}),
    }
    if operation.body != "none":
        schema = _request(config, key, operation, values, schemas)
        if operation.batch is not None and operation.body == "json":
            schema = {"type": "array", "items": schema, "maxItems": operation.batch.max_events}
        made["requestBody"] = {"required": True, "content": {_CONTENT[operation.body]: {"schema": schema}}}
    return made


def _parameters(destination: DestinationConfig, operation: Operation) -> Iterator[dict[str, Any]]:
    headers = _HEADERS if operation.batch is None else _BATCH_HEADERS
    for name, kind, description in headers:
        yield {"name": name, "in": "header", "required": True, "schema": kind, "description": description}
    sign = destination.sign
    signed = []
    if sign is not None and (sign.standard_webhooks or sign.ed25519):
        signed = ["webhook-timestamp", "webhook-signature"]
    elif sign is not None and (sign.github or sign.stripe):
        signed = ["X-Hub-Signature-256" if sign.github else "Stripe-Signature"]
    constant = [destination.idempotency_header] if destination.idempotency_header else []
    for name in (*signed, *constant):
        yield {"name": name, "in": "header", "required": True, "schema": _TEXT}
    for name, content in operation.headers.items():
        yield {"name": name, "in": "header", "required": True, "schema": {"const": content}}
    for name, given in operation.query.items():
        is_constant = not (isinstance(given, str) and "${" in given)
        schema: dict[str, Any] = {"const": str(given)} if is_constant else _TEXT
        yield {"name": name.removesuffix("?"), "in": "query", "required": not name.endswith("?"), "schema": schema}


def _request(
    config: Config, key: str, operation: Operation, values: Sequence[Sent], schemas: dict[str, Any]
) -> dict[str, Any]:
    """Return the schema of a body: the contract, else the fields that the journeys send."""
    if operation.request_schema is not None:
        return _embedded(config, operation.request_schema, schemas)
    fields: dict[str, set[str]] = {}
    for each in values:
        top = each.field.partition(".")[0].partition("[")[0]
        if top not in operation.parameters and not each.field.startswith("query."):
            fields.setdefault(top, set()).add(f"{each.source} ({each.cls})")
    properties: dict[str, Any] = {
        name: {"description": "From " + ", ".join(sorted(sources)) + "."} for name, sources in sorted(fields.items())
    }
    if operation.metadata == "headers_and_body":
        properties[METADATA_KEY] = _META
    name = f"{key}.request"
    schemas[name] = {
        "type": "object",
        "description": "There is no contract; these are the fields that journeys fill from events.",
        "properties": properties,
    }
    return {"$ref": f"#/components/schemas/{name}"}


def _responses(
    config: Config, destination: DestinationConfig, key: str, operation: Operation, schemas: dict[str, Any]
) -> dict[str, Any]:
    taken: dict[str, Any] = {"description": "Taken: the delivery is done."}
    if operation.response_schema is not None:
        taken["content"] = {"application/json": {"schema": _embedded(config, operation.response_schema, schemas)}}
    elif operation.response:
        schemas[f"{key}.response"] = _kept(operation)
        taken["content"] = {"application/json": {"schema": {"$ref": f"#/components/schemas/{key}.response"}}}
    made: dict[str, Any] = {"2XX": taken}
    made |= {status: {"description": said} for status, said in _RESPONSES.items()}
    made |= {str(status): {"description": f"Counts as `{word}`."} for status, word in destination.on_status.items()}
    return made


def _kept(operation: Operation) -> dict[str, Any]:
    """Return the schema of an answer of which only single values are read, each at its JSON pointer."""
    kinds = {"int": "integer", "number": "number", "bool": "boolean", "list": "array", "map": "object"}
    root: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for field in operation.response.values():
        node, tokens = root, field.at.split("/")[1:]
        for at, token in enumerate(tokens):
            part = token.replace("~1", "/").replace("~0", "~")
            if not field.optional and part not in node["required"]:
                node["required"].append(part)
            below: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
            if at == len(tokens) - 1:
                below = {"type": kinds.get(field.type, "string")}
                below |= {"format": "date-time"} if field.type == "timestamp" else {}
                below |= {"enum": [*field.one_of]} if field.one_of else {}
            node = node["properties"].setdefault(part, below)
            if "properties" not in node and at < len(tokens) - 1:
                break  # one value is read whole, and a part of it as well
    return root


def _embedded(config: Config, file: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """Put a contract among the components; what it says of itself then says so of the component."""
    name = file.removeprefix("contracts/").removesuffix(".json")
    schema = config.contracts[file].schema
    placed = _moved(schema, f"#/components/schemas/{name}")
    if isinstance(placed, dict):
        placed.pop("$schema", None)
    schemas[name] = placed
    return {"$ref": f"#/components/schemas/{name}"}


def _moved(node: Any, base: str) -> Any:
    """Return a schema whose references within itself begin at `base`."""
    if isinstance(node, list):
        return [_moved(each, base) for each in node]
    if not isinstance(node, dict):
        return node
    made = {}
    for key, part in node.items():
        if key == "$ref" and isinstance(part, str) and part.startswith("#"):
            made[key] = base + part[1:]
        else:
            made[key] = part if key in _DATA else _moved(part, base)
    return made


def _schemes(destination: DestinationConfig) -> Iterator[tuple[str, Mapping[str, Any]]]:
    auth = destination.auth
    if auth is None:
        return
    if auth.bearer is not None:
        yield "bearer", {"type": "http", "scheme": "bearer"}
    elif auth.basic is not None:
        yield "basic", {"type": "http", "scheme": "basic"}
    elif auth.oauth2_client_credentials is not None:
        yield "token", {"type": "http", "scheme": "bearer", "description": "Got with OAuth 2 client credentials."}
    elif auth.api_key is not None:
        place = "header" if auth.api_key.header else "query"
        yield "api_key", {"type": "apiKey", "in": place, "name": auth.api_key.header or auth.api_key.query or ""}
    for at, header in enumerate(auth.headers):
        yield f"header_{at}", {"type": "apiKey", "in": "header", "name": header}
