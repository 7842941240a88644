"""2: decides what event a datum is: ID, type, time, customer and consent flags, or why it is none.

A reason names the field and the rule, never a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from pipeline.model import Datum, Event, Getter, Record, Undecodable, value

ID_CHARS_MAX: Final = 200
TYPE_CHARS_MAX: Final = 128
CUSTOMER_CHARS_MAX: Final = 500
AHEAD_MS_MAX: Final = 86_400_000
"""How far an event's time may lie after its record's timestamp."""
TIME_MS_END: Final = 253_402_300_800_000
"""Year 10000: no time of an event, whatever its record's timestamp."""

POSITION: Final = "\0position"
"""Key under which a datum carries an ID made of its position, for payloads that name it. No Avro field is called so."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NO_FLAGS: Final[Mapping[str, bool]] = {}
_FLAGS: Final[Mapping[object, bool]] = {"granted": True, "denied": False, True: True, False: False}

Envelope: TypeAlias = Callable[[Datum, Record], Event | Undecodable]


@value
class Parts:
    """Where an event's parts are in a datum.

    `id` None derives the ID from topic, partition and offset; `uuid` demands that it is one. `id`, `type` and
    `customer` give text, `time` Unix ms. `consent` is a getter of a whole map, or one getter a flag by its key:
    `channel`, `purpose` or `purpose.channel`.
    """

    id: Getter | None
    uuid: bool
    type: Getter
    time: Getter
    customer: Getter
    consent: Getter | Sequence[tuple[str, Getter]] = ()


def envelope(parts: Parts) -> Envelope:
    """Compile the function that makes an event of a datum and its record. It never raises.

    A flag is what says granted or denied: a boolean, or text; anything else is no flag, so that consent fails closed.
    """
    get_id, get_type, get_time, get_customer = parts.id or _position, parts.type, parts.time, parts.customer
    at_position, flags = parts.id is None, _flags(parts.consent)
    is_uuid = _UUID.fullmatch if parts.uuid else None

    def made(datum: Datum, record: Record) -> Event | Undecodable:
        if at_position:
            datum[POSITION] = f"{record.topic}/{record.partition}/{record.offset}"
        id_, type_, customer, time_ms = get_id(datum, 0), get_type(datum, 0), get_customer(datum, 0), get_time(datum, 0)
        # One look at each part; which of the rules was broken is found out afterwards, for the few that break one.
        if (
            type(id_) is str and 0 < len(id_) <= ID_CHARS_MAX and id_.isprintable()
            and type(type_) is str and 0 < len(type_) <= TYPE_CHARS_MAX and type_.isprintable()
            and type(customer) is str and 0 < len(customer) <= CUSTOMER_CHARS_MAX and customer.isprintable()
            and type(time_ms) is int
            and 0 <= time_ms < (record.timestamp_ms + AHEAD_MS_MAX if record.timestamp_ms > 0 else TIME_MS_END)
            and (is_uuid is None or is_uuid(id_) is not None)
        ):  # fmt: skip
            return Event(id_, type_, time_ms, customer, flags(datum))
        return _refusal(id_, type_, customer, time_ms, uuid=is_uuid is not None)

    return made


def _position(datum: Datum, _now_ms: int) -> object:
    return datum[POSITION]


def _refusal(  # noqa: PLR0911 - one for each rule
    id_: object, type_: object, customer: object, time_ms: object, *, uuid: bool
) -> Undecodable:
    """Say what is wrong with parts that are not all sound; the first of them in the order of the arguments."""
    for part, name, chars_max in (
        (id_, "id", ID_CHARS_MAX), (type_, "type", TYPE_CHARS_MAX), (customer, "customer.id", CUSTOMER_CHARS_MAX)
    ):  # fmt: skip
        if not isinstance(part, str) or not part:
            return Undecodable(f"{name}: missing or empty")
        if len(part) > chars_max:
            return Undecodable(f"{name}: longer than {chars_max} characters")
        if not part.isprintable():
            return Undecodable(f"{name}: holds control characters")
        if uuid and part is id_ and _UUID.fullmatch(part) is None:
            return Undecodable("id: not a UUID of 36 characters")
    if type(time_ms) is not int:
        return Undecodable("time: missing or not a timestamp")
    if time_ms < 0:
        return Undecodable("time: before 1970-01-01T00:00:00Z")
    return Undecodable("time: more than 24 h after the record's timestamp")


def _flags(consent: Getter | Sequence[tuple[str, Getter]]) -> Callable[[Datum], Mapping[str, bool]]:
    known = _FLAGS.get
    if not isinstance(consent, Sequence):
        whole = consent

        def of_map(datum: Datum) -> Mapping[str, bool]:
            found = whole(datum, 0)
            if not isinstance(found, dict) or not found:
                return _NO_FLAGS
            said: dict[str, bool] = {}
            for name, given in found.items():
                # An int would equal True or False as a key; only a boolean or text may say something.
                flag = known(given) if type(given) is str or type(given) is bool else None
                if flag is not None:
                    said[name] = flag
            return said

        return of_map
    if not consent:
        return lambda _datum: _NO_FLAGS
    entries = tuple(consent)

    def one_by_one(datum: Datum) -> Mapping[str, bool]:
        flags: dict[str, bool] = {}
        for name, get in entries:
            found = get(datum, 0)
            flag = known(found) if type(found) is str or type(found) is bool else None
            if flag is not None:
                flags[name] = flag
        return flags

    return one_by_one
