"""Writes docs/reference/configuration.md from the models: `python -m pipeline.config.reference`."""

from __future__ import annotations

import pathlib
import types
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pipeline.config.jsonschema import FILES
from pipeline.config.section import Section, Shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic.fields import FieldInfo

_OPEN: Final = {"settings": "*librdkafka's*", "options": "*the signer's*"}
"""Fields that stand for keys written beside the others."""

PAGE: Final = pathlib.Path("docs/reference/configuration.md")

_INTRO: Final = """\
# Configuration

<!-- Written by `python -m pipeline.config.reference` from pipeline/config; change the descriptions there. -->

A configuration is a folder, named with `--config DIR`:

| file | what it is |
|---|---|
| `hookline.yaml` | topics, the mapping of records to events, policies |
| `journeys/NAME.yaml` | one journey each |
| `destinations/NAME.yaml` | one destination each |
| `shared/NAME.yaml` | payload fragments and tables of constants that journeys share |
| `env/NAME.yaml` | what differs in one environment; `--env NAME` lays it over the rest; `hookline run` needs one |
| `tests/NAME.yaml` | cases of a journey, played by `hookline test` |
| `schemas/*.avsc` | Avro schemas, asked before the registry |
| `contracts/*.json` | JSON Schemas (draft 2020-12) that operations name |
| `secrets/`, `certs/` | files that `file:PATH` names |

A journey's and a destination's file is named like it. Hidden files are passed over; anything else is refused.

`hookline validate` finds every problem at once, each as `file:line:column: field: message (hint)`, and needs no
secrets. What is broken is left out and the rest is still checked, so that one mistake neither hides others nor is told
twice. `hookline schema journey` (or `destination`, `hookline`, `shared`, `env`, `test`) prints the JSON Schema for your
editor, and `hookline fmt` gives files their one layout: [change a configuration](../howto/change-a-configuration.md).

## How values are written

Files are YAML 1.2: `on`, `NO` and `22:00` are text, `0123` is the number 123. Duplicate keys, anchors, aliases, tags,
merge keys and keys without a value are refused; so is everything that is no key of this page.

| type | written |
|---|---|
| duration | `800ms`, `2s`, `10m`, `1h`, `7d`, `2y` (a year has 365 days) |
| size | `512B`, `64KiB`, `1MiB` |
| rate | `200/s`, `90/m`, `5000/h` |
| share | `10%`, `0.5%` |
| name | lower-case letters, digits, underscores; a letter first; at most 64 characters |
| secret | `env:NAME` (environment variable) or `file:PATH` (relative to the folder); never the secret itself |
| CEL expression | `event.properties.order_value > 20.0`, without `${ }` |

In payloads and event mappings plain YAML is a literal, `${CEL}` alone is a value with its type, and inside text it is
text; `$${` stands for `${`. Payloads name the fields they send one by one: `${event}`, `${event.customer}` and
`${event.properties}` are refused. A list is mapped with `{each: LIST, as: NAME, item: {…}}`, and `include: [NAME]`
brings the keys of a fragment.

An environment's `kafka`, `registry`, `telemetry` and `limits` are set key by key; its other keys replace the
destination's.
"""


def page() -> str:
    """Return the whole page."""
    described: set[type[Section]] = set()
    return "\n".join([_INTRO, *(line for name in FILES for line in _file(name, described))]).rstrip() + "\n"


def _file(name: str, described: set[type[Section]]) -> Iterator[str]:
    """Describe one file; sections that another file has too are described once."""
    file, model = FILES[name]
    yield f"## {file}\n"
    yield f"{_summary(model)}\n"
    yield from _table(model)
    for section in _sections(model):
        if section in described:
            continue
        described.add(section)
        key = _key_of(section, model)
        yield f"### {name}: {key}\n"
        yield f"{_summary(section)}\n"
        yield from _table(section)


def _summary(section: type[Section]) -> str:
    return (section.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


def _key_of(wanted: type[Section], model: type[Section]) -> str:
    for name, field in model.model_fields.items():
        key = field.alias or name
        for section in _within(field.annotation):
            if section is wanted:
                return key
            below = _key_of(wanted, section)
            if below:
                return f"{key}.{below}"
    return ""


def _sections(model: type[Section]) -> list[type[Section]]:
    found: list[type[Section]] = []
    for field in model.model_fields.values():
        for section in _within(field.annotation):
            found += [each for each in (section, *_sections(section)) if each not in found]
    return found


def _within(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Section):
        yield annotation
    for each in get_args(annotation):
        yield from _within(each)


def _table(model: type[Section]) -> Iterator[str]:
    yield "| key | type | default | |"
    yield "|---|---|---|---|"
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] in _OPEN):
        key = _OPEN.get(name) or f"`{field.alias or name}`"
        cells = (key, _type(field.annotation, field.metadata), _default(field), field.description or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _type(annotation: Any, metadata: Iterable[object] = ()) -> str:
    """Name what a field takes; `metadata` is what `Annotated` and `Field` say of it."""
    metadata = tuple(metadata)
    origin, args = get_origin(annotation), get_args(annotation)
    shown = next((each.type for each in metadata if isinstance(each, Shown)), "")
    if shown or origin is Annotated:
        return shown or _type(args[0], args[1:])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(each) for each in args if each is not types.NoneType))
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in args)
    if origin is tuple:
        return f"list of {_type(args[0])}"
    if origin is not None:
        return "mapping" if args[1] is Any else f"mapping of {_type(args[0])} to {_type(args[1])}"
    return _plain(annotation, metadata)


def _plain(annotation: Any, metadata: Iterable[object]) -> str:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    bounds = {key: getattr(each, key) for each in metadata for key in ("ge", "le") if hasattr(each, key)}
    plain = {str: "text", int: "number", float: "number", bool: "true or false"}[annotation]
    return f"{plain}, {bounds['ge']} to {bounds['le']}" if bounds else plain


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is PydanticUndefined:
        return "**required**"
    if default is None or isinstance(default, BaseModel):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, (tuple, dict)) and not default:
        return "`[]`" if isinstance(default, tuple) else "`{}`"
    written = any(isinstance(each, Shown) for each in field.metadata)
    if isinstance(default, tuple) and not written:
        return f"`[{', '.join(each.name for each in default)}]`"
    write = next((each.write for each in field.metadata if isinstance(each, Shown)), str)
    return f"`{write(default)}`" if default != "" else '`""`'


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
