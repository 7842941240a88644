"""What every part of the configuration is made of: the frozen `Section`, and field types.

Validators refuse with a message and a hint and never quote the value: it may be a secret or personal data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import ip_network
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError

from pipeline.config import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

TEXT_MAX_CHARS: Final = 1_000
EXPRESSION_MAX_CHARS: Final = 4_000
NAME_MAX_CHARS: Final = 64

NAME_PATTERN: Final = r"^[a-z][a-z0-9_]{0,63}$"
LABEL_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,63}$"
TOPIC_PATTERN: Final = r"^[A-Za-z0-9._-]{1,249}$"  # Kafka: Topic.java, LEGAL_CHARS and MAX_NAME_LENGTH
TYPE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_.:-]{0,127}$"
REFERENCE_PATTERN: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\s\x00][^\x00]*)$"
FIELD_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
FILE_PATTERN: Final = r"^file:[^\s\x00][^\x00]*$"

_NAME: Final = re.compile(NAME_PATTERN, re.ASCII)
_REFERENCE: Final = re.compile(REFERENCE_PATTERN, re.ASCII)

_T = TypeVar("_T")


def refuse(message: str, hint: str = "") -> NoReturn:
    """Refuse the value under validation; `message` and `hint` are printed as they are and must not quote it."""
    raise PydanticCustomError("refused", "{text}", {"text": message, "hint": hint})


class Section(BaseModel):
    """One mapping of the configuration: frozen, every key known, values never repeated in an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, strict=True, arbitrary_types_allowed=True
    )

    elsewhere: ClassVar[Mapping[str, tuple[str, tuple[str | int, ...]]]] = {}
    """By key that is none here: where it belongs, in words, and if that is below this section the path there."""

    unknown: ClassVar[tuple[str, str]] = ("there is no such key", "")
    """What is said of a key that is no field: message and hint."""

    open_keys: ClassVar[bool] = False
    """Whether this section takes keys beyond its fields; `flaw` says which."""

    @classmethod
    def misread(cls, given: Mapping[str, object]) -> tuple[str, str, str] | None:
        """Say (key, message, hint) that the whole mapping is of another kind than this section, or None."""
        del given
        return None

    @classmethod
    def flaw(cls, key: str, given: object) -> tuple[str, str] | None:
        """Say what is wrong with an open key (message, hint), or None. Only sections with `open_keys` have any."""
        raise AssertionError((cls, key, type(given)))


@dataclass(frozen=True, slots=True)
class Shown:
    """How the reference page and the editors' schema describe a field type that is parsed from text."""

    type: str
    write: Callable[[Any], str] = str


def _text(read: Callable[[str], _T]) -> Callable[[object], _T]:
    def validate(given: object) -> _T:
        if not isinstance(given, str):
            refuse("must be text", "put it in quotes")
        try:
            return read(given)
        except PydanticCustomError:  # is a ValueError, and says all there is to say
            raise
        except ValueError as error:
            refuse(str(error))

    return validate


def _string_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


def _with_unit(read: Callable[[str], _T], such_as: str) -> Callable[[object], _T]:
    """Read text that has a unit; a bare number lacks it, and quotes would not help."""
    text = _text(read)

    def validate(given: object) -> _T:
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            refuse("needs a unit", f"such as {such_as}")
        return text(given)

    return validate


_duration = _with_unit(units.duration_ms, "800ms, 2s, 10m, 1h or 7d")
_size = _with_unit(units.size_bytes, "512B, 64KiB or 1MiB")
_rate = _with_unit(units.rate_per_s, "200/s")
_share = _with_unit(units.share, "10%")

DurationMs = Annotated[
    int, BeforeValidator(_duration), _string_schema(units.DURATION_PATTERN), Shown("duration", units.duration_text)
]
SizeBytes = Annotated[int, BeforeValidator(_size), _string_schema(units.SIZE_PATTERN), Shown("size", units.size_text)]
RatePerS = Annotated[float, BeforeValidator(_rate), _string_schema(units.RATE_PATTERN), Shown("rate", "{:g}/s".format)]
Share = Annotated[float, BeforeValidator(_share), _string_schema(units.SHARE_PATTERN), Shown("share", units.share_text)]

DataClass = Literal["identifier", "contact", "free_text", "public"]
"""Classes of a field. `public` is not personal data and may be sent to every destination."""

Items = Annotated[tuple[_T, ...], Strict(False)]
"""A YAML list as a tuple."""


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        refuse(
            "must be a name: lower-case letters, digits and underscores, a letter first",
            f"at most {NAME_MAX_CHARS} characters",
        )
    return text


def _label(text: str) -> str:
    if re.fullmatch(LABEL_PATTERN, text, re.ASCII) is None:
        refuse(
            "must be lower-case letters, digits, hyphens and underscores, a letter first",
            f"at most {NAME_MAX_CHARS} characters",
        )
    return text


def _line(text: str) -> str:
    if not text.strip():
        refuse("must not be empty")
    if len(text) > TEXT_MAX_CHARS or not text.isprintable():
        refuse(f"must be one line of at most {TEXT_MAX_CHARS} characters")
    return text


def _topic(text: str) -> str:
    if re.fullmatch(TOPIC_PATTERN, text, re.ASCII) is None:
        refuse("must be a Kafka topic name")
    return text


def _event_type(text: str) -> str:
    if re.fullmatch(TYPE_PATTERN, text, re.ASCII) is None:
        refuse("must be an event type such as purchase.completed", "letters, digits and . _ : -")
    return text


def _field_path(text: str) -> str:
    if re.fullmatch(FIELD_PATTERN, text, re.ASCII) is None:
        refuse("must be a field path such as customer.email")
    return text


def _reference(text: str) -> str:
    if _REFERENCE.fullmatch(text) is None:
        refuse("must be a reference to a secret, never the secret itself", "env:NAME or file:PATH")
    return text


def _file(text: str) -> str:
    if re.fullmatch(FILE_PATTERN, text) is None:
        refuse("must be file:PATH", "relative to the configuration folder")
    return text


def _expression(given: object) -> str:
    if isinstance(given, bool):
        return "true" if given else "false"
    if not isinstance(given, str) or not given.strip():
        refuse("must be a CEL expression")
    if len(given) > EXPRESSION_MAX_CHARS:
        refuse(f"must be at most {EXPRESSION_MAX_CHARS} characters")
    if given.lstrip().startswith("${"):
        refuse("is an expression already", "write it without ${ }")
    return given


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        refuse("must be a network in CIDR notation without host bits", "such as 10.2.0.0/16 or ::1/128")
    return text


Name = Annotated[str, BeforeValidator(_text(_name)), _string_schema(NAME_PATTERN), Shown("name")]
Label = Annotated[str, BeforeValidator(_text(_label)), _string_schema(LABEL_PATTERN), Shown("name")]
Line = Annotated[str, BeforeValidator(_text(_line)), WithJsonSchema({"type": "string"}), Shown("text")]
EventType = Annotated[str, BeforeValidator(_text(_event_type)), _string_schema(TYPE_PATTERN), Shown("event type")]
Topic = Annotated[str, BeforeValidator(_text(_topic)), _string_schema(TOPIC_PATTERN), Shown("topic")]
FieldPath = Annotated[str, BeforeValidator(_text(_field_path)), _string_schema(FIELD_PATTERN), Shown("field path")]
SecretRef = Annotated[
    str, BeforeValidator(_text(_reference)), _string_schema(REFERENCE_PATTERN), Shown("`env:NAME` or `file:PATH`")
]
FileRef = Annotated[str, BeforeValidator(_text(_file)), _string_schema(FILE_PATTERN), Shown("`file:PATH`")]
Expression = Annotated[
    str, BeforeValidator(_expression), WithJsonSchema({"type": ["string", "boolean"]}), Shown("CEL expression")
]
Network = Annotated[str, BeforeValidator(_text(_network)), WithJsonSchema({"type": "string"}), Shown("CIDR")]


def suggestion(given: object, known: Iterable[str], alike: float = 0.6) -> str:
    """Return `did you mean …` if one of `known` is close to what was given, else ""; `alike` is from 0 to 1."""
    close = get_close_matches(str(given), list(known), 1, alike)
    return f"did you mean {close[0]}" if close else ""


def none_word(given: object) -> object:
    """Read the word `none` as None."""
    return None if given == "none" else given
