"""What is fuzzed: every reader of bytes that others wrote. Each target takes any bytes, and asserts what is promised.

A target that returns is content. It fails by raising, by taking longer than `INPUT_S`, or by needing more than
`RSS_MB` of memory (see `__main__`). Where a checksum would keep a fuzzer out, the target writes the right one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import fastavro

from pipeline.app.check import checked
from pipeline.config.load import load
from pipeline.config.places import Places
from pipeline.config.yaml import parse
from pipeline.core import (
    batch,
    contract,
    decode,
    definitions,
    expressions,
    memory,
    outcome,
    progress,
    runstate,
    tracecontext,
    verdict,
)
from pipeline.core.crashes import COUNT_MAX, Crashes
from pipeline.core.expressions import Flaw, Unknown, Variable, scan
from pipeline.core.expressions.template import template
from pipeline.core.fleet import Fleet
from pipeline.core.identity import email, phone
from pipeline.core.switches import DROP, RELEASE, RESET, Switches
from pipeline.errors import ConfigError
from pipeline.model import Answer, Undecodable
from pipeline.receiver import signatures
from pipeline.receiver.check import Check
from pipeline.receiver.values import Accepted, Refused
from pipeline.varint import varint
from tests.support.parts import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_MS: Final = 1_795_428_000_000
LIFECYCLE: Final = json.loads((ROOT / "schemas" / "lifecycle_event.avsc").read_text())
NESTED: Final = {
    "type": "record", "name": "Node", "fields": [
        {"name": "name", "type": "string"},
        {"name": "size", "type": {"type": "fixed", "name": "Size", "size": 3}},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
        {"name": "flags", "type": {"type": "array", "items": ["null", "boolean", "double", "float", "bytes"]}},
        {"name": "below", "type": {"type": "map", "values": ["long", "Node"]}},
    ],
}  # fmt: skip


def _avro(schema: object) -> Callable[[bytes], None]:
    read = decode.reader(schema)
    parsed = fastavro.parse_schema(decode.strip(schema))

    def target(content: bytes) -> None:
        found = read(content, 0)
        if isinstance(found, Undecodable):
            return
        # What we take, the reference takes too, and finds the same. It lets more through.
        reference = fastavro.schemaless_reader(io.BytesIO(content), parsed, None)
        assert repr(found) == repr(reference)

    return target


def framing(content: bytes) -> None:
    """A value with a schema header or without; the first byte says how long the header is."""
    cut = content[0] % 32 if content else 0
    headers = [(decode.GUID_HEADER, content[1:cut])] if cut else []
    found = decode.locate(content[cut:], headers)
    assert isinstance(found, Undecodable) or decode.describe(found[0])


def headers(content: bytes) -> None:
    """What strangers write in headers: traceparent, Retry-After."""
    trace_id, span_id, _ = tracecontext.parse(content, content.decode("latin-1"))
    assert len(trace_id) == 32
    assert len(span_id) in {0, 16}
    assert 0 <= verdict.retry_after_ms(content.decode("latin-1"), NOW_MS, 3_600_000) <= 3_600_000


def commit_metadata(content: bytes) -> None:
    """Commit metadata as it lies there, and with the digest that makes it be read."""
    base = int.from_bytes(content[:4], "big")
    progress.decode(b"place", base, content.decode("latin-1"))
    flags, payload = content[4:5] or b"\0", content[5:]
    head = flags[:1] + b"\0" + varint(base)
    text = progress.PREFIX + progress.urlsafe_b64encode(
        head + progress._digest(b"place", head, payload) + payload
    ).decode().rstrip("=")
    found = progress.decode(b"place", base, text)
    if isinstance(found, tuple):
        ends = [base]
        for first, end in found:
            assert ends[-1] <= first < end <= 1 << 63
            ends.append(end)
        if len(text) <= progress.CHARS_MAX:  # what is read is what would be written
            assert progress.decode(b"place", base, progress.encode(b"place", base, found, 1 << 20)) == found


def run_state(content: bytes) -> None:
    """A run's state as it lies there, and with the checksum that makes it be read."""
    runstate.decode(content)
    if not content:
        return
    version, body = content[:1], content[1:]
    found = runstate.decode(version + zlib.crc32(body).to_bytes(4, "big") + body)
    if isinstance(found, runstate.RunState):
        runstate.encode(found)
        runstate.identity(found)
        runstate.spread(found)


def own_topics(content: bytes) -> None:
    """Records of our own topics: outcomes, ledgers, memory."""
    outcome.decode(outcome._OUTCOME_HEAD + content)
    outcome.decode(outcome._LEDGER_HEAD + content)
    outcome.decode(content)
    memory.decode(content)
    row = memory.decode(memory._HEAD + content)
    if row is not None:
        assert memory.decode(memory.encode(row)) == row


KEYS: Final = (
    definitions.PREFIX + b"0" * definitions.HASH_DIGITS, b"worker/one", b"destination/crm", b"pause/destination/crm",
    b"disabled/crm.upsert", b"release/crm/1", b"drop/crm/1", b"reset/crm", b"crash/lifecycle.events/0/5",
)  # fmt: skip
BEGINS: Final = (
    definitions.PREFIX, b"worker/", b"destination/", b"pause/", b"disabled/", b"release/", b"drop/", b"reset/",
    b"crash/",
)  # fmt: skip


def control(content: bytes) -> None:
    """A record of the control topic, under every kind of key; and a first line as the rest of any key."""
    switches, fleet, crashes = Switches(), Fleet(), Crashes()
    rest, _, below = content.partition(b"\n")
    for key, value in [(each, content) for each in KEYS] + [(each + rest, below) for each in BEGINS]:
        switches.note(key, value, NOW_MS)
        fleet.note(key, value)
        crashes.note(key, value)
        known = definitions.Definitions({})
        known.note(key, value, NOW_MS)
        list(known.due(NOW_MS))
    fleet.alive(NOW_MS)
    fleet.destinations(NOW_MS, ["crm"])
    switches.on()
    for order in switches.orders(RELEASE, DROP, RESET):
        assert 0.0 <= order.rate_per_s < float("inf")
    assert all(0 < count <= COUNT_MAX for count in crashes.suspects.values())


def answers(content: bytes) -> None:
    """What a receiver answers: to a step that keeps results, and to a batch."""
    types = ("string", "int", "number", "bool", "timestamp", "list", "map")
    fields = [contract.Field(each, (each,), each, optional=True) for each in types]
    found = contract.reader(None, fields)(Answer(200, "", content))
    assert isinstance(found, contract.Broken) or set(found) <= set(types)
    results = batch.Results(("items",), ("status",), ("id",))
    for wanted in (results, batch.Results((), ())):
        told = batch.reader(wanted)(content, ["a", "b"])
        assert told is None or len(told) == 2


def yaml(content: bytes) -> None:
    """A file of the configuration."""
    _, problems = parse("journeys/a.yaml", content, Places())
    for problem in problems:
        str(problem)


_FILE: Final = re.compile(rb"(?:^|\n)--- ([^\n]*)\n")
_NAME: Final = re.compile(r"(?!\.{1,2}(?:/|$))[^/\0]{1,60}(?:/(?!\.{1,2}(?:/|$))[^/\0]{1,60}){0,2}")


def folder(content: bytes) -> None:
    """A whole configuration: files, each under a line `--- PATH`, as `run` loads it, and as `validate` looks for more.

    What is wrong with it is told, whatever else is.
    """
    _, *parts = _FILE.split(content)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for name, body in zip(map(os.fsdecode, parts[::2]), parts[1::2], strict=True):
            if _NAME.fullmatch(name):
                with contextlib.suppress(OSError):  # a file that is a folder elsewhere, a name no file can have
                    (root / name).parent.mkdir(parents=True, exist_ok=True)
                    (root / name).write_bytes(body)
        with contextlib.suppress(ConfigError):
            assert load(root, None).group
        config, problems = checked(root, None)
        assert (config is None) == bool(problems)
        assert all(map(str, problems))


def _scope(names: tuple[str, ...]) -> Variable | Unknown | None:
    if names[0] != "event":
        return None
    return (
        Variable("event.text", "string", lambda *_: "text", lambda *_: "text") if len(names) > 1 else Unknown(0, "", ())
    )


def cel(content: bytes) -> None:
    """A template or a condition of a journey."""
    text = content.decode("utf-8", "replace")
    cut = scan.pieces(text)
    assert isinstance(cut, int) or cut
    made = template(text, _scope)
    if not isinstance(made, str | tuple):
        made.get({}, NOW_MS)
    found = expressions.condition(text, _scope)
    if found and not isinstance(found[0], Flaw):
        assert found[0]({}, NOW_MS) in {True, False, None}


_KEY: Final = "whsec_" + "Zm9yLXRlc3RzLW9ubHktZm9yLXRlc3RzLW9ubHk="
_CHECKS: Final = (
    Check(signatures.standard_webhooks([_KEY])), Check(signatures.github(["secret"])),
    Check(signatures.stripe(["secret"])), Check(lambda *_: None),
)  # fmt: skip


def webhook(content: bytes) -> None:
    """A request to an endpoint: header lines, an empty line, a body."""
    head, _, body = content.partition(b"\n\n")
    lines = [line.partition(":")[::2] for line in head.decode("latin-1").split("\n")]
    for check in _CHECKS:
        assert isinstance(check(lines, body, NOW_MS / 1_000), Accepted | Refused)


_EMAIL, _PHONE = email(), phone("DE")


def identifiers(content: bytes) -> None:
    """An e-mail address, a telephone number: normalised once is normalised for good."""
    text = content.decode("utf-8", "replace")
    for normalise in (_EMAIL, _PHONE):
        once = normalise(text)
        assert once is None or normalise(once) == once


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "avro": _avro(LIFECYCLE), "avro_nested": _avro(NESTED), "framing": framing, "headers": headers,
    "commit_metadata": commit_metadata, "run_state": run_state, "own_topics": own_topics, "control": control,
    "answers": answers, "yaml": yaml, "folder": folder, "cel": cel, "webhook": webhook, "identifiers": identifiers,
}  # fmt: skip
