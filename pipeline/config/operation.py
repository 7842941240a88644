"""What a destination's file says of its operations: what a request is made of, and what is expected of the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from pipeline.config.auth import HeaderName, secret_flaw
from pipeline.config.batch import Batch, Pointer
from pipeline.config.section import DataClass, Items, Name, Section, Shown, none_word, refuse
from pipeline.core import contract, expressions, urltext

PARAMETERS_MAX: Final = 16
QUERY_MAX: Final = 64
FIELDS_MAX: Final = 100
CONTRACT_PATTERN: Final = r"^contracts/[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.json$"
METADATA_KEY: Final = "hookline"
"""Key of a body under which the standard metadata stands."""

_PARAMETER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}", re.ASCII)
_LITERAL_PATH: Final = re.compile(r"/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_PAYLOAD_HINT: Final = "values of the event go into the payload"


def _path(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be text")
    literal = _PARAMETER.sub("x", given)
    if "{" in literal or "}" in literal:
        refuse("has a brace that belongs to no parameter", "{name}: letters, digits, _ and -, a letter first")
    names = _PARAMETER.findall(given)
    if len(set(names)) < len(names):
        refuse("has a parameter twice")
    if len(names) > PARAMETERS_MAX:
        refuse(f"has more than {PARAMETERS_MAX} parameters")
    if given and not _LITERAL_PATH.fullmatch(literal):
        refuse("must start with / and be percent-encoded, without query", "such as /v3/orders; use `query`")
    if any(urltext.is_dots(segment) for segment in given.split("/")):
        refuse("must not have . or .. as a segment")
    return given


def _query_name(given: object) -> object:
    if not isinstance(given, str) or not given.removesuffix("?"):
        refuse("must be text", "put it in quotes")
    if "${" in given:
        refuse("a key cannot be computed")
    return given


def _query_value(given: object) -> object:
    if not isinstance(given, (str, int, float, bool)):
        refuse("must be text, a number, true or false", "a query has no lists and no objects")
    if isinstance(given, str) and isinstance(expressions.pieces(given), int):
        refuse("`${` is not closed", "write `$${` for a literal `${`")
    if isinstance(given, str) and (flaw := secret_flaw(given)):
        refuse(flaw, "secrets go through auth, as env:NAME or file:PATH")
    return given


def _literal(given: object) -> object:
    if not isinstance(given, (str, int, float, bool)):
        refuse("must be text, a number, true or false")
    return given


def _header_value(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be text", "put it in quotes")
    if not given.isascii() or not given.isprintable():
        refuse("must be printable ASCII on one line")
    if "${" in given:
        refuse("headers are literals", _PAYLOAD_HINT)
    if flaw := secret_flaw(given):
        refuse(flaw, "secrets go through auth, as env:NAME or file:PATH")
    return given


def _contract(given: object) -> object:
    if not isinstance(given, str) or re.fullmatch(CONTRACT_PATTERN, given, re.ASCII) is None:
        refuse("must be contracts/NAME.json")
    return given


_SCALAR_SCHEMA: Final = WithJsonSchema({"type": ["string", "number", "boolean"]})
QueryName = Annotated[str, BeforeValidator(_query_name), WithJsonSchema({"type": "string"}), Shown("name")]
QueryValue = Annotated[
    str | int | float | bool,
    PlainValidator(_query_value),
    _SCALAR_SCHEMA,
    Shown("text, `${CEL}`, number, true or false"),
]
HeaderValue = Annotated[str, BeforeValidator(_header_value), WithJsonSchema({"type": "string"}), Shown("text")]
ContractFile = Annotated[
    str,
    BeforeValidator(_contract),
    WithJsonSchema({"type": "string", "pattern": CONTRACT_PATTERN}),
    Shown("`contracts/NAME.json`"),
]
Literals = Annotated[
    str | int | float | bool, PlainValidator(_literal), _SCALAR_SCHEMA, Shown("text, number, true or false")
]


class ResponseField(Section):
    """One value of the answer that is kept, for steps that read it; everything else is dropped."""

    at: Pointer = Field(description="Where it is in the answer's JSON.")
    type: Literal["string", "int", "number", "bool", "timestamp", "list", "map"] = Field(
        description="What it must be; `timestamp` is RFC 3339 text."
    )
    one_of: Items[Literals] = Field((), description="The only values it may have.")
    optional: bool = Field(False, description="Whether it may be missing, or null.")
    cls: DataClass | None = Field(
        None,
        alias="class",
        description="Personal-data class, as of an event's field. Text without one cannot be sent on, unless `one_of` "
        "names all it can be.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> ResponseField:
        if self.one_of and self.type in ("list", "map", "timestamp"):
            refuse(f"`one_of` does not go with {self.type}")
        if not all(contract.is_of(self.type, each) for each in self.one_of):
            refuse(f"`one_of` has a value that is no {self.type}")
        return self


class Operation(Section):
    """One kind of request."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = Field("POST", description="HTTP method.")
    path: Annotated[str, BeforeValidator(_path), WithJsonSchema({"type": "string"}), Shown("path")] = Field(
        "",
        description="Path, appended to the base URL. `{x}` is the value of the payload's key `x`, percent-encoded; the "
        "body does not have that key then.",
    )
    query: Mapping[QueryName, QueryValue] = Field(
        default={},
        max_length=QUERY_MAX,
        description="Query, percent-encoded. A key that ends in `?` is left out when its value is absent.",
    )
    headers: Mapping[HeaderName, HeaderValue] = Field(
        default={}, description="Constant headers; secrets only through `auth`."
    )
    body: Literal["json", "form", "ndjson", "none"] = Field("json", description="How the payload is sent.")
    metadata: Literal["headers", "headers_and_body"] = Field(
        "headers",
        description="Where event ID, type, time, journey, step and delivery ID go; in a body under the key `hookline`.",
    )
    request_schema: ContractFile | None = Field(
        None, description="JSON Schema that every body must keep; one that does not is not sent."
    )
    response_schema: ContractFile | None = Field(
        None, description="JSON Schema of the answer to a delivery that was taken; breaking it is counted."
    )
    response: Mapping[Name, ResponseField] = Field(
        default={}, max_length=FIELDS_MAX, description="What is kept of that answer, by name."
    )

    batch: Annotated[Batch | None, BeforeValidator(none_word, json_schema_input_type=Batch | Literal["none"])] = Field(
        None, description="Whether and how deliveries share a request."
    )

    @model_validator(mode="after")
    def _fitting(self) -> Operation:
        if self.method == "GET" and self.body != "none":
            refuse("a GET request has no body", "add body: none")
        if self.metadata == "headers_and_body" and self.body not in ("json", "ndjson"):
            refuse(f"metadata cannot go into a body that is {self.body}", "only json and ndjson bodies take it")
        if self.request_schema is not None and self.body == "none":
            refuse("`request_schema` needs a body")
        if any(name.endswith("?") and name[:-1] in self.query for name in self.query):
            refuse("the query has a key both with and without `?`")
        if self.batch is not None:
            self._batched()
        return self

    def _batched(self) -> None:
        """Refuse what belongs to one delivery, where several share a request."""
        if self.body not in ("json", "ndjson"):
            refuse(f"`batch` does not go with a body that is {self.body}", "only json and ndjson bodies take it")
        if self.changes_target:
            refuse("`batch` needs a constant path and query", "put the values into the payload")
        if self.response:
            refuse("`response` does not go with `batch`", "batch.results says where the answer has each item's status")

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters, in order."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def path_pieces(self) -> tuple[tuple[str, bool], ...]:
        """The path in pieces: literal text, or the name of a parameter (true)."""
        return tuple((text, at % 2 == 1) for at, text in enumerate(_PARAMETER.split(self.path)) if text)

    @property
    def changes_target(self) -> bool:
        """Whether path or query differ from event to event."""
        return bool(self.parameters) or any(isinstance(each, str) and "${" in each for each in self.query.values())

    @property
    def reads_response(self) -> bool:
        """Whether an answer is read at all."""
        return self.response_schema is not None or bool(self.response)
