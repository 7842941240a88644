"""Decides what a journey's definition is, and makes a journey of one again.

The hash covers all that decides what a run does: the journey with its fragments expanded and every default filled in,
and the tables it reads. It covers neither layout and comments nor who owns the journey, what for, and its status.
The definition itself is what the author wrote, so that a later release reads it by its own rules.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline import __version__
from pipeline.config.journey import JourneyConfig
from pipeline.config.places import Places
from pipeline.config.shape import validate
from pipeline.core.definitions import DEFINITION_BYTES_MAX, HASH_DIGITS, Definition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config

_GOVERNANCE: Final = frozenset({"status", "owner", "goal", "success"})
"""Keys of a journey that no run depends on."""
_TABLE: Final = re.compile(r"\btables\.([a-z][a-z0-9_]*)")


def journey_hash(journey: JourneyConfig, tables: Mapping[str, Any] | None = None) -> str:
    """Return HASH_DIGITS hex digits that change with what decides a journey's runs; see above."""
    dumped = {key: part for key, part in journey.model_dump(mode="json").items() if key not in _GOVERNANCE}
    canonical = orjson.dumps([dumped, _used(dumped, tables or {})], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:HASH_DIGITS]


def definition(config: Config, journey: JourneyConfig) -> Definition | None:
    """Return the definition of a journey; None if it is larger than DEFINITION_BYTES_MAX."""
    written = config.written[journey.name]
    content = orjson.dumps(
        {
            "journey": written, "tables": _used(written, config.tables), "max_age_ms": journey.trigger.max_age_ms,
            "release": __version__,
        },
        option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS,
    )  # fmt: skip
    return Definition(content, journey.trigger.max_age_ms) if len(content) <= DEFINITION_BYTES_MAX else None


def read(content: bytes) -> tuple[JourneyConfig, dict[str, Any]] | None:
    """Return the journey and the tables of a definition; None if this release cannot read it."""
    try:
        found = orjson.loads(content)
        written, tables = found["journey"], dict(found["tables"])
    except (ValueError, KeyError, TypeError):
        return None
    journey, _ = validate(JourneyConfig, written, "", Places())
    return None if journey is None else (journey, tables)


def is_another(content: bytes, name: str, journey: JourneyConfig, tables: Mapping[str, Any]) -> bool:
    """Whether a definition, read as this journey and these tables, is not the one its hash names.

    Only this release's own can be told: another one may fill in other defaults.
    """
    return orjson.loads(content).get("release") == __version__ and journey_hash(journey, tables) != name


def _used(written: Any, tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables that a journey names."""
    named = set(_TABLE.findall(orjson.dumps(written, option=orjson.OPT_NON_STR_KEYS).decode()))
    return {name: dict(tables[name]) for name in sorted(named & set(tables))}
