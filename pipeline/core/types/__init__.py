"""Decides what a field of a record is, from its Avro schema, and how its value is read for JSON and for CEL.

The datum is decoded with logical types stripped: a timestamp is an int, a decimal bytes, a UUID its text or 16 bytes,
an enum its symbol. Null is absent. `tree` reads a schema, `find` walks a dotted path through it, `getter` compiles it.

JSON: timestamps RFC 3339 UTC with milliseconds, decimals their exact digits as text, bytes base64, NaN and infinities
absent. CEL: timestamps are datetimes in UTC, decimals doubles; where CEL's type is dyn a timestamp is its JSON text,
since cel-expr-python takes datetimes only where a timestamp is declared.
"""

from __future__ import annotations

from pipeline.core.types.getters import (
    CEL,
    DYN,
    JSON,
    RAW,
    SENT,
    WHOLE,
    conversion,
    getter,
    holds_object,
    plain_cel,
    plain_json,
    plain_sent,
)
from pipeline.core.types.scalars import Form, Scalar, rfc3339
from pipeline.core.types.tree import (
    ANYTHING,
    CLASS_ATTRIBUTE,
    Anything,
    Field,
    Found,
    ListOf,
    MapOf,
    Missing,
    RecordOf,
    Type,
    UnionOf,
    ambiguous,
    cel_type,
    find,
    is_text,
    is_whole,
    may_hold_objects,
    named,
    solid,
    tree,
    within,
)

__all__ = [
    "ANYTHING", "CEL", "CLASS_ATTRIBUTE", "DYN", "JSON", "RAW", "SENT", "WHOLE", "Anything", "Field", "Form",
    "Found", "ListOf", "MapOf", "Missing", "RecordOf", "Scalar", "Type", "UnionOf", "ambiguous", "cel_type",
    "conversion", "find", "getter", "holds_object", "is_text", "is_whole", "may_hold_objects", "named", "plain_cel",
    "plain_json", "plain_sent", "rfc3339", "solid", "tree", "within",
]  # fmt: skip
