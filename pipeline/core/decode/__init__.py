"""1: decides which Avro schema wrote a value and turns its bytes into a datum, or says how they are damaged.

`locate` finds the schema reference, `reader` compiles a schema (or a writer and a reader schema) into a function that
reads one value. The datum is what fastavro gives with logical types stripped: timestamps are ints, decimals are bytes.

The reader is generated Python instead of fastavro's, which trusts its input: a recursive value overflows the C stack,
an array of nulls may claim 2**60 items, the enum index -1 is the last symbol, any non-zero byte is true, and units of
logical types are not compared when schemas are resolved. It is also faster, since each field is one or two statements.
fastavro still parses schemas, writes, and is what the tests hold the reader to.
"""

from __future__ import annotations

from pipeline.core.decode.framing import GUID_HEADER, confluent, describe, guid_header, locate, single_object
from pipeline.core.decode.reading import reader
from pipeline.core.decode.schema import SchemaError, encode, fingerprint, full_name, inline, strip

__all__ = [
    "GUID_HEADER",
    "SchemaError",
    "confluent",
    "describe",
    "encode",
    "fingerprint",
    "full_name",
    "guid_header",
    "inline",
    "locate",
    "reader",
    "single_object",
    "strip",
]
