"""Turns the bytes of one Avro value into a datum, by a function generated for its schema.

Generated source is straight-line: one statement or two a field, nothing looked up. It reads what the schema says and
refuses what no encoder writes; a value can cost memory in proportion to its own size only.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.decode.resolution import (
    Branches,
    Fields,
    Fixed,
    Items,
    Mismatch,
    Primitive,
    Shape,
    Symbols,
    Values,
    resolve,
)
from pipeline.core.decode.schema import SchemaError
from pipeline.model import Datum, Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH_MAX: Final = 64
"""Levels of records, arrays and maps inside each other that are read, where the schema does not limit them itself."""

EMPTY_ITEMS_MAX: Final = 1_000
"""Items of no bytes (null, a record without fields) an array may have: nothing in the value limits them."""

_BLOCKS_NESTED_MAX: Final = 9
"""Loops and branches inside each other in one generated function; CPython allows 20 loops and 100 indentations."""

_LONG_BYTES_SHIFT_MAX: Final = 63

_TRUNCATED: Final = Undecodable("truncated")
_NOT_UTF8: Final = Undecodable("a string is not UTF-8")
_TRAILING: Final = Undecodable("bytes left over after the value")


class _Damage(Exception):
    """Bytes that no encoder writes for this schema. Carries the Undecodable to return."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.undecodable = Undecodable(detail)


def reader(writer_schema: Any, reader_schema: Any | None = None) -> Callable[[bytes, int], Datum | Undecodable]:
    """Compile `read(value, start)`, which decodes the Avro body at `start` up to the end of `value`.

    Neither raises. Schemas are parsed JSON, logical types included (they are compared, then ignored). A pair that
    cannot be resolved, or a schema that is none, gives a function that says so for every value. A value that fits only
    in part (unknown enum symbol, union branch the reader lacks) is Undecodable by itself.
    """
    try:
        shape = resolve(writer_schema, None if reader_schema == writer_schema else reader_schema)
        if isinstance(shape, Mismatch):
            return _refuse(f"schemas do not resolve: {shape.detail}")
        return _Source().compile(shape)
    except SchemaError as error:
        return _refuse(f"schema unusable: {error}")
    except RecursionError:
        return _refuse("schema unusable: nested too deep")


def _refuse(detail: str) -> Callable[[bytes, int], Undecodable]:
    answer = Undecodable(detail)

    def read(value: bytes, start: int) -> Undecodable:  # noqa: ARG001 - the signature of a reader
        return answer

    return read


def _varint(value: bytes, low: int, at: int) -> tuple[int, int]:
    """Read the rest of a variable-length integer whose first byte was `low`, still zig-zag; at most 64 bits."""
    number = low & 127
    shift = 7
    while True:
        byte = value[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004 - the continuation bit
            if number >> 64:
                raise _Damage("integer of more than 64 bits")
            return number, at
        shift += 7
        if shift > _LONG_BYTES_SHIFT_MAX:
            raise _Damage("integer of more than ten bytes")


class _Source:
    """Writes the source of one reader. Records read in several places, and what nests deep, become own functions."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._fresh = 0
        self._scope: dict[str, Any] = {
            "varint": _varint, "Damage": _Damage, "TRUNCATED": _TRUNCATED, "NOT_UTF8": _NOT_UTF8, "TRAILING": _TRAILING,
            "float_at": struct.Struct("<f").unpack_from, "double_at": struct.Struct("<d").unpack_from,
            "Short": struct.error,
        }  # fmt: skip
        self._functions: dict[int, str] = {}
        self._waiting: list[tuple[str, Shape]] = []
        self._bytes_min: dict[int, int] = {}

    def compile(self, shape: Shape) -> Callable[[bytes, int], Datum | Undecodable]:
        self._put(0, "def read(b, p):")
        self._put(1, "size = len(b)")
        self._put(1, f"depth = {DEPTH_MAX}")
        self._put(1, "try:")
        self._emit(shape, "datum", 2, 0)
        self._put(1, "except (IndexError, Short):")
        self._put(2, "return TRUNCATED")
        self._put(1, "except UnicodeDecodeError:")
        self._put(2, "return NOT_UTF8")
        self._put(1, "except Damage as damage:")
        self._put(2, "return damage.undecodable")
        self._put(1, "return datum if p == size else TRAILING")
        while self._waiting:
            name, inner = self._waiting.pop()
            self._put(0, f"def {name}(b, p, size, depth):")
            self._put(1, "if not depth:")
            self._put(2, f"raise Damage('nested more than {DEPTH_MAX} levels')")
            self._put(1, "depth -= 1")
            self._emit(inner, "datum", 1, 0, whole=True)
            self._put(1, "return datum, p")
        # Schemas reach the source as names made here and as literals through repr() only.
        exec(compile("\n".join(self._lines), "<avro reader>", "exec"), self._scope)  # noqa: S102 - our own source
        read: Callable[[bytes, int], Datum | Undecodable] = self._scope["read"]
        return read

    # ------------------------------------------------------------------------------------------------- writing

    def _put(self, indent: int, line: str) -> None:
        self._lines.append(" " * indent + line)

    def _name(self, prefix: str) -> str:
        self._fresh += 1
        return f"{prefix}{self._fresh}"

    def _constant(self, content: object) -> str:
        name = self._name("C")
        self._scope[name] = content
        return name

    def _raise(self, indent: int, detail: str) -> None:
        self._put(indent, f"raise Damage({detail!r})")

    def _integer(self, indent: int, name: str) -> None:
        """Read a variable-length integer into `name`, still zig-zag."""
        self._put(indent, f"{name} = b[p]")
        self._put(indent, "p += 1")
        self._put(indent, f"if {name} > 127: {name}, p = varint(b, {name}, p)")

    def _emit(self, shape: Shape, target: str, indent: int, blocks: int, *, whole: bool = False) -> None:
        """Write statements that read `shape` at `p` into the variable `target` and move `p` behind it."""
        apart = (isinstance(shape, Fields) and shape.uses > 1) or blocks > _BLOCKS_NESTED_MAX
        if apart and not whole and not isinstance(shape, (Primitive, Fixed, Symbols, Mismatch)):
            self._put(indent, f"{target}, p = {self._function(shape)}(b, p, size, depth)")
            return
        match shape:
            case Primitive(written, wanted):
                self._primitive(written, wanted, target, indent)
            case Fixed(size):
                self._put(indent, f"e = p + {size}")
                self._slice(target, indent, "b[p:e]")
            case Symbols(symbols):
                self._symbols(symbols, target, indent)
            case Items(item):
                self._blocks(item, target, indent, blocks, keyed=False)
            case Values(item):
                self._blocks(item, target, indent, blocks, keyed=True)
            case Branches(branches):
                self._union(branches, target, indent, blocks)
            case Fields():
                self._record(shape, target, indent, blocks)
            case Mismatch(detail):
                self._raise(indent, f"schemas do not resolve: {detail}")

    def _function(self, shape: Shape) -> str:
        name = self._functions.get(id(shape))
        if name is None:
            name = self._functions[id(shape)] = self._name("read_")
            self._waiting.append((name, shape))
        return name

    # -------------------------------------------------------------------------------------------------- shapes

    def _primitive(self, written: str, wanted: str, target: str, indent: int) -> None:
        match written:
            case "null":
                self._put(indent, f"{target} = None")
            case "boolean":
                self._put(indent, "n = b[p]")
                self._put(indent, "p += 1")
                self._put(indent, "if n > 1:")
                self._raise(indent + 1, "a boolean is neither 0 nor 1")
                self._put(indent, f"{target} = n == 1")
            case "int" | "long":
                self._integer(indent, "n")
                if written == "int":
                    self._put(indent, "if n >> 32:")
                    self._raise(indent + 1, "an int of more than 32 bits")
                number = "(n >> 1) ^ -(n & 1)"
                self._put(indent, f"{target} = " + (f"float({number})" if wanted in ("float", "double") else number))
            case "float" | "double":
                self._put(indent, f"{target}, = {written}_at(b, p)")
                self._put(indent, f"p += {4 if written == 'float' else 8}")
            case _:
                self._integer(indent, "n")
                self._put(indent, "e = p + (n >> 1)")
                self._put(indent, "if n & 1:")
                self._raise(indent + 1, "negative length")
                self._slice(target, indent, "b[p:e].decode()" if wanted == "string" else "b[p:e]")
                if (written, wanted) == ("string", "bytes"):
                    self._put(indent, f"{target}.decode()")

    def _slice(self, target: str, indent: int, expression: str) -> None:
        self._put(indent, "if e > size:")
        self._raise(indent + 1, "length beyond the end")
        self._put(indent, f"{target} = {expression}")
        self._put(indent, "p = e")

    def _symbols(self, symbols: tuple[str | None, ...], target: str, indent: int) -> None:
        self._integer(indent, "n")
        self._put(indent, f"if n & 1 or n > {2 * len(symbols) - 1}:")
        self._raise(indent + 1, "enum index out of range")
        self._put(indent, f"{target} = {self._constant(symbols)}[n >> 1]")
        if None in symbols:
            self._put(indent, f"if {target} is None:")
            self._raise(indent + 1, "enum symbol the reader does not know")

    def _union(self, branches: tuple[Shape, ...], target: str, indent: int, blocks: int) -> None:
        index = self._name("n")
        self._integer(indent, index)
        word = "if"
        # The last branch first: in the usual ["null", X] that is X.
        for number, branch in reversed(list(enumerate(branches))):
            self._put(indent, f"{word} {index} == {2 * number}:")
            self._emit(branch, target, indent + 1, blocks + 1)
            word = "elif"
        self._put(indent, "else:" if branches else "if True:")
        self._raise(indent + 1, "union branch out of range")

    def _record(self, shape: Fields, target: str, indent: int, blocks: int) -> None:
        names: dict[str, str] = {}
        for name, inner in shape.read:
            variable = self._name("v")
            if name is not None:
                names[name] = variable
            self._emit(inner, variable, indent, blocks)
        for name, content in shape.constants.items():
            names[name] = self._constant(content)
        built = ", ".join(f"{name!r}: {names[name]}" for name in shape.order)
        self._put(indent, f"{target} = {{{built}}}")

    def _blocks(self, item: Shape, target: str, indent: int, blocks: int, *, keyed: bool) -> None:
        """Write an array's or map's loop over blocks; a negative count is followed by the block's size in bytes."""
        count, into, key, inner = (self._name(prefix) for prefix in ("n", "a", "k", "v"))
        least = self._least(item) + keyed
        self._put(indent, f"{into} = " + ("{}" if keyed else "[]"))
        self._put(indent, "while True:")
        self._integer(indent + 1, count)
        self._put(indent + 1, f"if not {count}: break")
        self._put(indent + 1, f"if {count} & 1:")
        self._put(indent + 2, f"{count} = ({count} >> 1) + 1")
        self._integer(indent + 2, "n")
        self._put(indent + 2, "if n & 1 or n >> 1 > size - p:")
        self._raise(indent + 3, "block length beyond the end")
        self._put(indent + 1, f"else: {count} >>= 1")
        room = f"{count} * {least} > size - p" if least else f"{count} + len({into}) > {EMPTY_ITEMS_MAX}"
        self._put(indent + 1, f"if {room}:")
        self._raise(indent + 2, "more items than the value has room for")
        self._put(indent + 1, f"for _ in range({count}):")
        if keyed:
            self._primitive("string", "string", key, indent + 2)
        self._emit(item, inner, indent + 2, blocks + 2)
        self._put(indent + 2, f"{into}[{key}] = {inner}" if keyed else f"{into}.append({inner})")
        self._put(indent, f"{target} = {into}")

    def _least(self, shape: Shape) -> int:
        """Return a lower bound of the bytes a value of this shape takes; it bounds what a block count can claim."""
        match shape:
            case Primitive(written):
                return {"null": 0, "float": 4, "double": 8}.get(written, 1)
            case Fixed(size):
                return size
            case Fields():
                known = self._bytes_min.get(id(shape))
                if known is None:
                    self._bytes_min[id(shape)] = 0  # inside itself it may take nothing
                    known = self._bytes_min[id(shape)] = sum(self._least(inner) for _, inner in shape.read)
                return known
            case Mismatch():
                return 0
            case _:
                return 1
