"""Avro encoding made for one schema: a function with a statement for each field, and no look-ups.

A general writer walks the schema for every record and checks every value.  Here the schema is walked once and
becomes the source of a Python function, as `dataclasses` makes those of a class.  Numbers of fixed size that
stand next to each other are packed by one call.  The bytes are those of fastavro, which a test compares.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["writer"]

# Strings whose bytes are kept: names of universes, assets and limits, which come again and again.
STRINGS = 8192

# Integers whose bytes are kept, by zigzag: run lengths, counts and indices.
_SMALL = [bytes([z]) if z < 128 else bytes([z & 127 | 128, z >> 7]) for z in range(4096)]
#: Avro types of fixed size and their codes in :mod:`struct`.
_FIXED = {"double": "d", "float": "f", "boolean": "?"}


def long(n: int) -> bytes:
    """An integer of 64 bits: zigzag, seven bits a byte, the lowest first.

    Raises
    ------
    OverflowError
        If it has more than 64 bits.
    """
    z = (n << 1) ^ (n >> 63)
    if 0 <= z < len(_SMALL):
        return _SMALL[z]
    if z < 0 or z >> 64:
        raise OverflowError(f"{n} does not fit in 64 bits")
    out = bytearray()
    while z >= 128:
        out.append(z & 127 | 128)
        z >>= 7
    out.append(z)
    return bytes(out)


def binary(data: bytes) -> bytes:
    """Bytes behind their number."""
    return long(len(data)) + data


@lru_cache(maxsize=STRINGS)
def string(text: str) -> bytes:
    """Text as UTF-8 behind the number of its bytes."""
    return binary(text.encode())


def doubles(values: tuple[float, ...]) -> bytes:
    """An array of doubles that is not empty, without its end."""
    return long(len(values)) + struct.pack(f"<{len(values)}d", *values)


def writer(schema: Any) -> Callable[[Any], bytes]:
    """The function that encodes objects whose attributes are the schema's fields.

    Parameters
    ----------
    schema : dict
        A record's schema as JSON data: records, arrays, enums, ``null`` or one other type, and the types
        ``string``, ``bytes``, ``long``, ``int``, ``double``, ``float`` and ``boolean``.

    Raises
    ------
    ValueError
        For a schema with anything else.
    """
    return _Source(schema).function()


class _Source:
    """The function's source, statement by statement."""

    def __init__(self, schema: Any) -> None:
        self._named: dict[str, Any] = {}
        self._lines = ["def write(v0):", "    out = []", "    put = out.append"]
        self._scope: dict[str, Any] = {
            "long": long,
            "binary": binary,
            "string": string,
            "doubles": doubles,
        }
        self._codes = ""  # of numbers of fixed size that are to be packed next
        self._numbers: list[str] = []
        self._variables = 1
        self._value(schema, "v0", 1)
        self._pack(1)
        self._lines.append("    return b''.join(out)")

    def function(self) -> Callable[[Any], bytes]:
        """Compile it."""
        exec(compile("\n".join(self._lines), "<avro writer>", "exec"), self._scope)
        made: Callable[[Any], bytes] = self._scope["write"]
        return made

    def _say(self, depth: int, statement: str) -> None:
        self._lines.append("    " * depth + statement)

    def _pack(self, depth: int) -> None:
        """Write the numbers of fixed size that wait."""
        if self._numbers:
            name = f"pack_{self._codes.replace('?', 'b')}"
            self._scope[name] = struct.Struct(f"<{self._codes}").pack
            self._say(depth, f"put({name}({', '.join(self._numbers)}))")
            self._codes, self._numbers = "", []

    def _variable(self) -> str:
        name = f"v{self._variables}"
        self._variables += 1
        return name

    def _value(self, schema: Any, value: str, depth: int) -> None:
        """Statements that write the expression ``value``."""
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, str) and kind in self._named:
            schema = self._named[kind]
            kind = schema["type"]
        if isinstance(kind, str) and kind in _FIXED:
            self._codes += _FIXED[kind]
            self._numbers.append(value)
            return
        if kind == "record":
            self._name(schema)
            for field in schema["fields"]:
                of = field["type"]
                inner = f"{value}.{field['name']}"
                if isinstance(of, dict | list) and not _is_simple(of):
                    held = self._variable()
                    self._say(depth, f"{held} = {inner}")
                    inner = held
                self._value(of, inner, depth)
            return
        self._pack(depth)
        if isinstance(schema, list):
            self._union(schema, value, depth)
        elif kind == "array":
            self._array(schema["items"], value, depth)
        elif kind == "enum":
            self._name(schema)
            name = f"symbols_{len(self._scope)}"
            self._scope[name] = {symbol: long(i) for i, symbol in enumerate(schema["symbols"])}
            self._say(depth, f"put({name}[{value}])")
        elif kind in ("string", "long", "int", "bytes"):
            call = {"string": "string", "bytes": "binary"}.get(kind, "long")
            self._say(depth, f"put({call}({value}))")
        elif isinstance(kind, dict | list):
            self._value(kind, value, depth)
        else:
            raise ValueError(f"no writer for the Avro type {kind!r}")

    def _name(self, schema: Any) -> None:
        """Remember a type by the names that may be used for it later."""
        self._named[schema["name"]] = schema
        if "namespace" in schema:
            self._named[f"{schema['namespace']}.{schema['name']}"] = schema

    def _union(self, schema: Any, value: str, depth: int) -> None:
        if len(schema) != 2 or "null" not in schema:
            raise ValueError(f"no writer for the union {schema!r}")
        null = schema.index("null")
        self._say(depth, f"if {value} is None:")
        self._say(depth + 1, f"put({long(null)!r})")
        self._say(depth, "else:")
        self._say(depth + 1, f"put({long(1 - null)!r})")
        self._value(schema[1 - null], value, depth + 1)
        self._pack(depth + 1)

    def _array(self, items: Any, value: str, depth: int) -> None:
        self._say(depth, f"if len({value}):")
        if items == "double":
            self._say(depth + 1, f"put(doubles({value}))")
        else:
            self._say(depth + 1, f"put(long(len({value})))")
            item = self._variable()
            self._say(depth + 1, f"for {item} in {value}:")
            self._value(items, item, depth + 2)
            self._pack(depth + 2)
        self._say(depth, "put(b'\\0')")


def _is_simple(schema: Any) -> bool:
    """Whether one look at the value is enough."""
    return isinstance(schema, dict) and schema["type"] not in ("record", "array")
