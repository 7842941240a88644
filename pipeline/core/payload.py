"""6: decides what is sent: the body from its prepared parts, the request head, the delivery ID.

Sources: RFC 9112 (the head), Standard Webhooks 1.0 (webhook-id), RFC 9562 section 5.5 (UUIDv5). Everything constant is
bytes before the first event comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha1
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import orjson

from pipeline.model import ABSENT, Credentials, Datum, Event, FailureClass, Getter, Refused, value

BODY_BYTES_MAX: Final = 2 * 1024 * 1024
"""Bytes of a request's body; a larger one is not sent and makes the delivery dead(schema)."""

LIST_ITEMS_MAX: Final = 500
"""Items of a list mapping; a longer list makes the delivery dead(schema)."""

ORIGINAL_URL: Final = b"hookline-original-url"
"""Header of a redirected request: where it would have gone."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: "Z" is appended as text
_NAMESPACE: Final = bytes.fromhex("6f9d1c3a52c45d0e9a530d3f2b7a8c11")
_NAMED: Final = sha1(_NAMESPACE, usedforsecurity=False)
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_PLAIN: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")

Build: TypeAlias = Callable[[Datum, int], object]
"""`(datum, now_ms)` to a JSON-ready value, ABSENT, or a Refused. Never raises.

A Refused that names nothing is of an expression: the object or list it stands in puts in the key's path.
"""


@value
class Constant:
    """A part of a body that no event changes."""

    content: object


# --------------------------------------------------------------------------------------------------------------- body


def leaf(get: Getter, field: str) -> Build:
    """Wrap a getter: its error (None) becomes Refused(condition_error). `field` is the payload key path."""
    erred = Refused(FailureClass.CONDITION_ERROR, field)

    def build(datum: Datum, now_ms: int) -> object:
        found = get(datum, now_ms)
        return erred if found is None else found

    return build


def refused(field: str) -> Build:
    """Return a part that cannot be built as configured: found out when the record's schema turned up, not before."""
    why = Refused(FailureClass.CONFIG, field)
    return lambda _datum, _now_ms: why


def mapping(entries: Sequence[tuple[str, bool, Constant | Build]], field: str = "") -> Constant | Build:
    """Build a JSON object of `(key, optional, part)` in their order.

    An absent required value is Refused(missing_field) with the key's path; an optional one is left out, and so is an
    optional object or list that lacks a required part. `field` is the path of the object itself.
    """
    if all(isinstance(part, Constant) for _, _, part in entries):
        return Constant({key: part.content for key, _, part in entries if isinstance(part, Constant)})
    # The order of keys is the configuration's: a copy of the whole object, whose changing values are then replaced.
    pattern = {key: part.content if isinstance(part, Constant) else None for key, _, part in entries}
    parts = tuple(
        (key, None if optional else Refused(FailureClass.MISSING_FIELD, _path(field, key)), part)
        for key, optional, part in entries
        if not isinstance(part, Constant)
    )

    def build(datum: Datum, now_ms: int) -> object:
        made = pattern.copy()
        for key, missing, part in parts:
            found = part(datum, now_ms)
            if found is ABSENT:
                if missing is not None:
                    return missing
                del made[key]
            elif type(found) is Refused:
                if missing is not None or found.cls is not FailureClass.MISSING_FIELD:
                    return found if found.field else Refused(found.cls, _path(field, key))
                del made[key]
            else:
                made[key] = found
        return made

    return build


def sequence(parts: Sequence[Constant | Build], field: str) -> Constant | Build:
    """Build a JSON array; an absent item is Refused(missing_field)."""
    if all(isinstance(part, Constant) for part in parts):
        return Constant([part.content for part in parts if isinstance(part, Constant)])
    missing = Refused(FailureClass.MISSING_FIELD, f"{field}[]")

    def build(datum: Datum, now_ms: int) -> object:
        made: list[object] = []
        for part in parts:
            found = part.content if isinstance(part, Constant) else part(datum, now_ms)
            if found is ABSENT:
                return missing
            if type(found) is Refused:
                return found if found.field else Refused(found.cls, missing.field)
            made.append(found)
        return made

    return build


def each(items: Getter, item: Constant | Build, field: str) -> Build:
    """Build one `item` for each item of a list. `item` is given the pair (datum, list item) as its datum."""
    erred = Refused(FailureClass.CONDITION_ERROR, field)
    too_long = Refused(FailureClass.SCHEMA, field)
    missing = Refused(FailureClass.MISSING_FIELD, f"{field}[]")

    def build(datum: Datum, now_ms: int) -> object:
        found = items(datum, now_ms)
        if found is ABSENT:
            return ABSENT
        if not isinstance(found, list):
            return erred
        if len(found) > LIST_ITEMS_MAX:
            return too_long
        made: list[object] = []
        for entry in found:
            part = item.content if isinstance(item, Constant) else item((datum, entry), now_ms)
            if part is ABSENT:
                return missing
            if type(part) is Refused:
                return part if part.field else Refused(part.cls, missing.field)
            made.append(part)
        return made

    return build


def render(
    body: Constant | Build | None,
    write: Callable[[Any], bytes | Refused] = orjson.dumps,
    contract: Callable[[object], str] | None = None,
) -> Callable[[Datum, int], bytes | Refused]:
    """Return the function that builds the body's bytes; None is an empty body.

    `write` makes bytes of the value, by default compact JSON in UTF-8. `contract` says what breaks it, "" if nothing
    does: such a body is Refused(schema), and so is one that cannot be written or has more than BODY_BYTES_MAX.
    """
    if body is None:
        return lambda _datum, _now_ms: b""
    if isinstance(body, Constant):
        flaw = contract(body.content) if contract is not None else ""
        ready = Refused(FailureClass.SCHEMA, flaw) if flaw else write(body.content)
        return lambda _datum, _now_ms: ready
    unsaid = Refused(FailureClass.SCHEMA, "")
    too_large = Refused(FailureClass.SCHEMA, "body_too_large")

    def rendered(datum: Datum, now_ms: int) -> bytes | Refused:
        made = body(datum, now_ms)
        if type(made) is Refused:
            return made
        if contract is not None and (flaw := contract(made)):
            return Refused(FailureClass.SCHEMA, flaw)
        try:
            content = write(made)
        except TypeError:  # an integer beyond 64 bits, the one thing CEL can make that JSON cannot say
            return unsaid
        if isinstance(content, Refused):
            return content
        # Copied, for orjson leaves a body of 100 bytes in the 4 KB it was written into, and thousands of them wait.
        return bytes(memoryview(content)) if len(content) <= BODY_BYTES_MAX else too_large

    return rendered


def json_line(made: object) -> bytes:
    """Write one line of NDJSON."""
    return orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)


def metadata(journey: str, step: str) -> Callable[[bytes, Event, str], bytes]:
    """Return the function that puts what the headers say of an event into a JSON object's bytes, as key `hookline`."""

    def added(body: bytes, event: Event, delivery: str) -> bytes:
        end = body.rindex(b"}")
        comma = b"," if end > 1 else b""
        facts = _facts(event.id, event.type, event.time_ms, journey, step, delivery)
        return b'%b%b"hookline":%b%b' % (body[:end], comma, orjson.dumps(facts), body[end:])

    return added


def _facts(event_id: str, event_type: str, time_ms: int, journey: str, step: str, delivery: str) -> dict[str, str]:
    minute, rest = divmod(time_ms, 60_000)
    at = f"{(_EPOCH + timedelta(minutes=minute)).isoformat(timespec='minutes')}:{rest / 1_000:06.3f}Z"
    return {
        "event_id": event_id, "event_type": event_type, "event_time": at, "journey": journey, "step": step,
        "delivery_id": delivery,
    }  # fmt: skip


def sample(journey: str, step: str) -> dict[str, str]:
    """Return metadata as `metadata` writes it, of no event: what a contract is asked about."""
    return _facts("0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d", "a.type", 0, journey, step, delivery_id("", b""))


def _path(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


# --------------------------------------------------------------------------------------------------------------- head


def delivery_id(event_id: str, id_suffix: bytes) -> str:
    """Return the UUIDv5 of event ID + suffix in Hookline's namespace: the same over retries, replays and restarts."""
    named = _NAMED.copy()
    named.update(event_id.encode() + id_suffix)
    digits = named.hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:32]}"


def batch_id(delivery_ids: Sequence[str]) -> str:
    """Return the ID of a batch: the same for the same deliveries in the same order."""
    return delivery_id("\n".join(delivery_ids), b"/batch")


def header_text(text: str) -> bytes:
    """Return text as the value of a header: printable ASCII but `%` as it is, the rest percent-encoded as UTF-8.

    No CR, LF or other control character can pass; percent-decoding gives the text back.
    """
    if text.isascii() and text.isprintable() and "%" not in text and text[:1] != " " and text[-1:] != " ":
        return text.encode("ascii")
    kept = text.strip(" ")
    lead = len(text) - len(text.lstrip(" "))
    tail = len(text) - len(kept) - lead
    return ("%20" * lead + quote(kept, safe=_PLAIN, errors="surrogatepass") + "%20" * tail).encode("ascii")


def event_headers(event: Event) -> bytes:
    """Return the header lines about the event: the same for all its deliveries."""
    minute, rest = divmod(event.time_ms, 60_000)
    return b"hookline-event-id: %b\r\n%b%b%06.3fZ\r\n" % (
        header_text(event.id), _type_line(event.type), _minute_line(minute), rest / 1_000,
    )  # fmt: skip


# Few types and few minutes make up a stream: their lines are remembered.
@lru_cache(maxsize=1_024)
def _type_line(event_type: str) -> bytes:
    return b"hookline-event-type: %b\r\n" % header_text(event_type)


@lru_cache(maxsize=4_096)
def _minute_line(minute: int) -> bytes:
    text = (_EPOCH + timedelta(minutes=minute)).isoformat(timespec="minutes")
    return b"hookline-event-time: %b:" % text.encode("ascii")


Head: TypeAlias = Callable[[str, bytes, str, int, bytes, bytes], bytes]
"""See model.Step.head."""


def redirected(head: Head, base: str, target: str) -> Head:
    """Return a builder of heads for a sink, by its `head`: a header tells the URL the request would have gone to.

    `base` is what may be shown of the destination's URL, `target` the operation's path and query; a delivery's own
    target goes instead of it. All are printable ASCII, as a request line must be.
    """
    start, constant = base.encode("ascii"), target.encode("ascii")

    def built(delivery: str, event_lines: bytes, traceparent: str, now_s: int, body: bytes, own: bytes = b"") -> bytes:
        line = b"%b: %b%b\r\n" % (ORIGINAL_URL, start, own or constant)
        return head(delivery, event_lines + line, traceparent, now_s, body, b"")

    return built


def head(
    method: str,
    target: str,
    host: str,
    headers: Sequence[tuple[str, str]],
    credentials: Credentials,
    *,
    id_header: str = "",
    base: str = "",
) -> Head:
    """Return the builder of whole request heads (see model.Step.head), blank line included.

    `base` is the base URL's path, `target` the operation's path and query, all without what is secret of them; a
    delivery's own target goes instead of `target`. `host` is the Host header, `headers` whatever is constant;
    `credentials` bring the rest, and what follows from them is made anew when they are replaced; `id_header` is one
    more header that carries the delivery ID. Raises ValueError for a header or target that would break the head.
    """
    for text in (method, base, target, host, *(part for pair in headers for part in pair)):
        if not text.isascii() or not text.isprintable():
            raise ValueError("a header or the target is not printable ASCII")
    if " " in base + target or not (credentials.path + base + (target or "/")).startswith(("/", "?")):
        raise ValueError("the target is no path")
    after = "".join(f"{line}\r\n" for line in (f"Host: {host}", *(f"{name}: {text}" for name, text in headers)))
    with_id = f"{id_header}: ".encode("ascii") if id_header else b""
    constant = target.encode("ascii")
    start, opening, query, rest, sign = b"", b"", b"", b"", credentials.sign

    def prepare() -> None:
        nonlocal start, opening, query, rest, sign
        opening = f"{method} {credentials.path}{base}".encode("ascii")
        query = credentials.query.encode("ascii")
        rest = f" HTTP/1.1\r\n{after}".encode("ascii") + credentials.lines
        start = line(constant)
        sign = credentials.sign

    def line(own: bytes) -> bytes:
        slash = b"/" if own[:1] != b"/" and opening[-1:] == b" " else b""  # a target is never empty
        mark = (b"&" if b"?" in opening or b"?" in own else b"?") if query else b""
        return b"".join((opening, slash, own, mark, query, rest))

    credentials.watch(prepare)

    def built(delivery: str, event_lines: bytes, traceparent: str, now_s: int, body: bytes, own: bytes = b"") -> bytes:
        name = delivery.encode("ascii")
        extra = b"%b%b\r\n" % (with_id, name) if with_id else b""
        if sign is not None:
            extra += sign(name, b"%d" % now_s, body)
        return b"%b%b%bwebhook-id: %b\r\ntraceparent: %b\r\nContent-Length: %d\r\n\r\n" % (
            line(own) if own else start, event_lines, extra, name, traceparent.encode("ascii"), len(body),
        )  # fmt: skip

    return built
