"""Answers like a Schema Registry: the part of Confluent's REST interface that clients use to read and register Avro.

For tests and the demo. IDs ascend over all subjects, the same schema keeps its ID, a schema's GUID depends on its text.
What it answers is held to a real registry by tests/contract/test_schemas.py.
"""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from aiohttp import BasicAuth, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

Trouble = Literal["", "error", "slow", "forbidden", "not_a_registry"]
"""How it misbehaves: 500 for everything; no answer at all; 401; a proxy's 404 page."""

BODY_BYTES_MAX: Final = 1_048_576
START_S: Final = 10.0
_GUID_NAMESPACE: Final = uuid.UUID("6b1c2f5e-2f0e-5d7c-8d1b-6f7f0a1f4b11")
_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"

_SUBJECT_MISSING: Final = 40_401
_VERSION_MISSING: Final = 40_402
_SCHEMA_MISSING: Final = 40_403
_SCHEMA_INVALID: Final = 42_201


@dataclass(slots=True)
class FakeRegistry:
    """Subjects, versions and schemas in memory; set `trouble` to make it fail, `user` to make it ask for a password."""

    trouble: Trouble = ""
    user: tuple[str, str] | None = None
    requests: list[str] = field(default_factory=list)
    """Method and path of every request, in order."""
    _ids: dict[str, int] = field(default_factory=dict)
    _schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    _subjects: dict[str, list[int]] = field(default_factory=dict)

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Listen on loopback (0: a free port) and yield the base URL."""
        app = web.Application(middlewares=[self._troubled], client_max_size=BODY_BYTES_MAX)
        app.add_routes(
            [
                web.get("/subjects", self._list),
                web.post("/subjects/{subject}/versions", self._register),
                web.get("/subjects/{subject}/versions", self._versions),
                web.get("/subjects/{subject}/versions/{version}", self._version),
                web.get("/schemas/ids/{id:[0-9]+}", self._by_id),
                web.get("/schemas/guids/{guid}", self._by_guid),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    @contextmanager
    def in_thread(self, port: int = 0) -> Iterator[str]:
        """As `serve`, on an event loop in a thread of its own."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fake-registry", daemon=True)
        thread.start()
        serving = self.serve(port)
        url = asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(START_S)
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(START_S)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(START_S)
            loop.close()

    # ------------------------------------------------------------------------------------------- requests

    @web.middleware
    async def _troubled(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        match self.trouble:
            case "error":
                return _refuse(500, 50_001, "Error in the backend data store")
            case "slow":
                await asyncio.Event().wait()
            case "not_a_registry":
                return web.Response(status=404, text="<html>not here</html>", content_type="text/html")
        if self.trouble == "forbidden" or not self._allowed(request):
            return _refuse(401, 401, "Unauthorized")
        return await handler(request)

    def _allowed(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization")
        return self.user is None or (given is not None and BasicAuth.decode(given)[:2] == self.user)

    async def _register(self, request: web.Request) -> web.Response:
        body = await request.json()
        schema = {key: body[key] for key in ("schema", "schemaType", "references") if body.get(key)}
        try:
            parsed = json.loads(schema.get("schema", ""))
        except json.JSONDecodeError:
            return _refuse(422, _SCHEMA_INVALID, "Invalid schema")
        if schema.get("schemaType") == "AVRO":
            del schema["schemaType"]  # the default is left out of answers
        key = json.dumps([parsed, schema.get("schemaType"), schema.get("references")], sort_keys=True)
        schema_id = self._ids.setdefault(key, len(self._ids) + 1)
        self._schemas[schema_id] = {**schema, "guid": str(uuid.uuid5(_GUID_NAMESPACE, key))}
        versions = self._subjects.setdefault(request.match_info["subject"], [])
        if schema_id not in versions:
            versions.append(schema_id)
        version = versions.index(schema_id) + 1
        return _json({"id": schema_id, "version": version, **self._schemas[schema_id]})

    async def _list(self, _request: web.Request) -> web.Response:
        return _json(sorted(self._subjects))

    async def _versions(self, request: web.Request) -> web.Response:
        versions = self._subjects.get(request.match_info["subject"])
        if versions is None:
            return _refuse(404, _SUBJECT_MISSING, "Subject not found")
        return _json(list(range(1, len(versions) + 1)))

    async def _version(self, request: web.Request) -> web.Response:
        subject, wanted = request.match_info["subject"], request.match_info["version"]
        versions = self._subjects.get(subject)
        if versions is None:
            return _refuse(404, _SUBJECT_MISSING, "Subject not found")
        number = len(versions) if wanted in ("latest", "-1") else int(wanted) if wanted.isdecimal() else 0
        if not 1 <= number <= len(versions):
            return _refuse(404, _VERSION_MISSING, "Version not found")
        schema_id = versions[number - 1]
        return _json({"subject": subject, "version": number, "id": schema_id, **self._schemas[schema_id]})

    async def _by_id(self, request: web.Request) -> web.Response:
        schema = self._schemas.get(int(request.match_info["id"]))
        return _json(schema) if schema is not None else _refuse(404, _SCHEMA_MISSING, "Schema not found")

    async def _by_guid(self, request: web.Request) -> web.Response:
        for schema_id, schema in self._schemas.items():
            if schema["guid"] == request.match_info["guid"]:
                return _json({"id": schema_id, **schema})
        return _refuse(404, _SCHEMA_MISSING, "Schema not found")


def _json(content: object) -> web.Response:
    return web.Response(text=json.dumps(content), content_type=_CONTENT_TYPE)


def _refuse(status: int, code: int, message: str) -> web.Response:
    body = json.dumps({"error_code": code, "message": message})
    return web.Response(status=status, text=body, content_type=_CONTENT_TYPE)
