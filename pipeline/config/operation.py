"""What a destination's file says of its operations: what a request is made of, and what is expected of the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.config.auth import HeaderName  # noqa: TC001
from pipeline.config.section import Later, Section, Shown, refuse


def _header_value(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be text", "put it in quotes")
    if not given.isascii() or not given.isprintable():
        refuse("must be printable ASCII on one line")
    if "${" in given:
        refuse("headers are literals", "values of the event go into the payload")
    return given


HeaderValue = Annotated[str, BeforeValidator(_header_value), WithJsonSchema({"type": "string"}), Shown("text")]


def _path(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be text")
    if "{" in given or "}" in given:
        refuse("path parameters are not supported in this release", "paths are constant")
    if given and not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", given, re.ASCII):
        refuse("must start with / and be percent-encoded, without query", "such as /v3/orders")
    return given


class Operation(Section):
    """One kind of request."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = Field("POST", description="HTTP method.")
    path: Annotated[str, BeforeValidator(_path), WithJsonSchema({"type": "string"})] = Field(
        "", description="Constant path, appended to the base URL."
    )
    headers: Mapping[HeaderName, HeaderValue] = Field(
        default={}, description="Constant headers; secrets only through `auth`."
    )
    body: Literal["json", "none"] = Field("json", description="How the payload is sent.")
    metadata: Literal["headers"] = Field("headers", description="Where event ID, type, time, journey and step go.")

    later: ClassVar[Mapping[str, Later]] = {
        "query": Later("requests have no query", accepted=({},)),
        "request_schema": Later("payloads are checked against no contract"),
        "response_schema": Later("responses are not read"),
        "response": Later("responses are not read", accepted=({},)),
        "batch": Later("each delivery is a request of its own", accepted=("none",)),
    }
    later_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "body": {"form": "bodies are json or none", "ndjson": "bodies are json or none"},
        "metadata": {"headers_and_body": "metadata goes into headers"},
    }

    @model_validator(mode="after")
    def _get_has_no_body(self) -> Operation:
        if self.method == "GET" and self.body != "none":
            refuse("a GET request has no body", "add body: none")
        return self
