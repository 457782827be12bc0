"""Events to Avro bytes and back.

The payload is Avro binary without any container. What tells a reader the writer's schema travels in one
of two ways:

- ``fingerprint`` (no registry): the record header ``avro-fingerprint`` holds the CRC-64-AVRO fingerprint
  of the schema's parsing canonical form. The schemas themselves are shipped in ``schemas/``; older
  versions that may still be in a topic stand in ``schemas/history/``.
- ``confluent`` (a registry): magic byte 0 and a 4-byte schema id stand before the payload. The ids are
  configured in the topology.

Event times are plain integers here: the logical type ``timestamp-micros`` is for other readers, and
integers keep microseconds exact and time zones out.
"""

import contextlib
import dataclasses
import functools
import hashlib
import io
import json
import re
import struct
import types
import typing
import weakref
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from typing import Any, TypeVar, cast

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from stream_allocator import avro_writer, events
from stream_allocator.errors import CodecError, ConfigurationError

__all__ = [
    "DIGESTED",
    "FINGERPRINT_HEADER",
    "FORMS",
    "OPTIONAL_SCHEMAS",
    "SCHEMA_NAMES",
    "Codec",
    "decode",
    "digest",
    "encode",
    "raw_schema",
    "read_published",
    "unframed",
    "writer_schema",
]

FINGERPRINT_HEADER = "avro-fingerprint"

#: Event class -> name of its schema file.
SCHEMA_NAMES: Mapping[type, str] = {
    events.ReturnEvent: "return_event",
    events.PackedReturnEvent: "packed_return_event",
    events.PositionEvent: "position_event",
    events.ControlEvent: "control_event",
    events.Allocation: "allocation",
    events.Evidence: "evidence",
    events.RegimeUpdate: "regime_update",
    events.AuditEntry: "audit_entry",
    events.DeadLetter: "dead_letter",
    events.Snapshot: "snapshot",
}

#: Event class -> all classes whose records share its topic, told apart by the writer's schema; it comes first
#: and is what a record without that is taken for.
FORMS: Mapping[type, tuple[type, ...]] = {
    events.ReturnEvent: (events.ReturnEvent, events.PackedReturnEvent),
}

#: Events whose digest stands in another: their bytes are asked for twice, for that and to be published.
DIGESTED = (events.Allocation, events.Evidence)

#: Schemas that a registry need not have, because nobody must publish them.
OPTIONAL_SCHEMAS = frozenset({"packed_return_event"})

Event = TypeVar("Event")
Headers = Iterable[tuple[str, bytes | None]]


def raw_schema(name: str) -> Any:
    """The schema ``schemas/<name>.avsc`` as JSON data, logical types included."""
    return json.loads((files("stream_allocator") / "schemas" / f"{name}.avsc").read_text("utf-8"))


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _without_logical_types(v) for k, v in node.items() if k != "logicalType"}
    if isinstance(node, list):
        return [_without_logical_types(v) for v in node]
    return node


def _fingerprint(raw: Any) -> bytes:
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO"))


def _history(name: str) -> list[Any]:
    folder = files("stream_allocator") / "schemas" / "history" / name
    if not folder.is_dir():
        return []
    paths = sorted((p for p in folder.iterdir() if p.name.endswith(".avsc")), key=lambda p: p.name)
    return [json.loads(p.read_text("utf-8")) for p in paths]


@dataclasses.dataclass(frozen=True, slots=True)
class _Schema:
    """One event class's reader schema, its fingerprint, and every writer schema it can read."""

    parsed: Any
    fingerprint: bytes
    writers: Mapping[bytes, Any]


@functools.cache
def _schema(name: str) -> _Schema:
    raw = raw_schema(name)
    parsed = fastavro.parse_schema(_without_logical_types(raw), named_schemas={})
    writers = {
        _fingerprint(old): fastavro.parse_schema(_without_logical_types(old), named_schemas={})
        for old in _history(name)
    }
    current = _fingerprint(raw)
    return _Schema(parsed, current, {**writers, current: parsed})


@functools.cache
def _encoder(cls: Any) -> Callable[[Any], bytes]:
    write = avro_writer.writer(_without_logical_types(raw_schema(SCHEMA_NAMES[cls])))
    return _while_it_lives(write) if cls in DIGESTED else write


def _while_it_lives(write: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """Write an event once, and keep its bytes for as long as it lives."""
    known: dict[int, tuple[bytes, weakref.ref[Any]]] = {}

    def written(event: Any) -> bytes:
        identity = id(event)
        if identity not in known:
            known[identity] = write(event), weakref.ref(event, lambda _: known.pop(identity))
        return known[identity][0]

    return written


@functools.cache
def _from_plain(hint: Any) -> Callable[[Any], Any] | None:
    """A function from what fastavro reads to a field's value, or None where they are the same.

    Arrays become tuples.
    """
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        fields = [(f.name, _from_plain(hints[f.name])) for f in dataclasses.fields(hint)]
        build = cast(Callable[..., Any], hint)

        def record(data: Any) -> Any:
            return build(*[data[n] if to is None else to(data[n]) for n, to in fields])

        return record
    if typing.get_origin(hint) is tuple:
        item = _from_plain(typing.get_args(hint)[0])
        return tuple if item is None else lambda values: tuple([item(v) for v in values])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [_from_plain(h) for h in typing.get_args(hint) if h is not type(None)]
        some = next((f for f in inner if f is not None), None)
        return None if some is None else lambda value: None if value is None else some(value)
    return None


def encode(event: events.WireEvent) -> bytes:
    """The Avro bytes of an event; equal events give equal bytes."""
    return _encoder(cast(Any, type(event)))(event)


def decode(cls: type[Event], data: bytes, *, writer: bytes | None = None) -> Event:
    """The event that ``data`` holds.

    Parameters
    ----------
    cls : type
        One of the classes of :mod:`stream_allocator.events` with a schema.
    data : bytes
        Avro bytes without framing.
    writer : bytes, optional
        Fingerprint of the schema they were written with; the current one when not given.

    Raises
    ------
    CodecError
        ``unknown_schema`` for a fingerprint that is not shipped, ``malformed`` for bytes that do not
        parse or have something left over.
    """
    schema = _schema(SCHEMA_NAMES[cls])
    written = schema.parsed if writer is None else schema.writers.get(writer)
    if written is None:
        raise CodecError(
            "unknown_schema",
            f"{SCHEMA_NAMES[cls]}: no schema with fingerprint {writer.hex() if writer else ''} is shipped in "
            f"schemas/ or schemas/history/; the current one is {schema.fingerprint.hex()}",
        )
    return _decode(cls, data, written)


def writer_schema(raw: Any) -> Any:
    """A schema as :class:`Codec` reads with it: without logical types, parsed."""
    return fastavro.parse_schema(_without_logical_types(raw), named_schemas={})


def _decode(cls: type[Event], data: bytes, written: Any) -> Event:
    stream, schema = io.BytesIO(data), _schema(SCHEMA_NAMES[cls])
    try:
        plain = fastavro.schemaless_reader(stream, written, schema.parsed)
        rest = len(data) - stream.tell()
        from_plain = _from_plain(cast(Any, cls))
        assert from_plain is not None
        event = from_plain(plain)
    except Exception as error:  # fastavro raises whatever the bytes lead it into
        # a reason goes into a dead letter, whose bytes must not depend on where an object lay in memory
        why = re.sub(r" from <[^>]*>", "", f"{type(error).__name__}: {error}")
        raise CodecError("malformed", f"not a {SCHEMA_NAMES[cls]}: {why}") from error
    if rest:
        raise CodecError("malformed", f"not a {SCHEMA_NAMES[cls]}: {rest} bytes left over")
    return cast(Event, event)


def digest(data: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def unframed(value: bytes) -> bytes:
    """A record's Avro bytes, without Confluent framing where it has any.

    That is known by its zero byte: events whose first field is a name, which is never empty, have none there.
    """
    return value[5:] if value[:1] == b"\0" else value


def read_published(
    cls: type[Event], value: bytes | None, headers: Headers | None = None
) -> tuple[Event, bytes]:
    """A record for someone who has neither the topology nor a registry: a consumer, an auditor years later.

    The header names the schema of the record; without it, the newest published one under which the bytes
    parse to their end is taken.

    Parameters
    ----------
    cls : type
        One of the classes of :mod:`stream_allocator.events` whose first field is a name.
    value : bytes or None
        Of the record, as it was read.
    headers : iterable of (str, bytes), optional

    Returns
    -------
    event : cls
    body : bytes
        Its Avro bytes as they were published, without framing: what a digest is taken of.

    Raises
    ------
    CodecError
        As :func:`decode`.
    """
    name = SCHEMA_NAMES[cls]
    if value is None:
        raise CodecError("malformed", f"not a {name}: the record has no value")
    body = unframed(value)
    writer = _writer(headers)
    if writer is not None:
        return decode(cls, body, writer=writer), body
    newest_first = reversed(list(_schema(name).writers))
    try:
        return decode(cls, body, writer=next(newest_first)), body
    except CodecError:
        for older in newest_first:
            with contextlib.suppress(CodecError):
                return decode(cls, body, writer=older), body
        raise


def _writer(headers: Headers | None) -> bytes | None:
    """Fingerprint of the schema that a record was written with, where a header holds it."""
    return next((v for k, v in headers or () if k == FINGERPRINT_HEADER), None)


class Codec:
    """Framing on top of :func:`encode` and :func:`decode`.

    Parameters
    ----------
    schema_ids : mapping of str to int, optional
        Schema name -> id in the registry. Given, records carry Confluent framing; otherwise the
        fingerprint header. Where it has a method ``writer_of``, as ids that come from a registry do, others
        are looked up by it.
    """

    def __init__(self, schema_ids: Mapping[str, int] | None = None) -> None:
        self._ids = dict(schema_ids) if schema_ids else None
        self._writer_of: Callable[[int], tuple[str, Any]] | None = getattr(schema_ids, "writer_of", None)

    def frame(self, event: events.WireEvent) -> tuple[bytes, list[tuple[str, bytes]]]:
        """The record's value and headers."""
        body, name = encode(event), SCHEMA_NAMES[type(event)]
        if self._ids is None:
            return body, [(FINGERPRINT_HEADER, _schema(name).fingerprint)]
        if name not in self._ids:
            raise ConfigurationError(f"wire.schema_ids has no id for {name}; register its schema first")
        return struct.pack(">bI", 0, self._ids[name]) + body, []

    def marks(self, cls: type) -> tuple[bytes, list[tuple[str, bytes]] | None] | None:
        """What :meth:`frame` puts before the body of such an event, and its headers; None where it has no id.

        With Confluent framing headers say nothing, and are None.
        """
        name = SCHEMA_NAMES[cls]
        if self._ids is None:
            return b"", [(FINGERPRINT_HEADER, _schema(name).fingerprint)]
        return (struct.pack(">bI", 0, self._ids[name]), None) if name in self._ids else None

    def unframe_form(self, cls: type, value: bytes | None, headers: Headers | None) -> Any:
        """As :meth:`unframe`, of whichever of the :data:`FORMS` of ``cls`` the writer's schema names."""
        forms = FORMS.get(cls, (cls,))
        return self.unframe(self._form(forms, value, headers) if len(forms) > 1 else cls, value, headers)

    def _form(self, forms: tuple[type, ...], value: bytes | None, headers: Headers | None) -> type:
        if self._ids is None:
            writer = _writer(headers)
            return next((c for c in forms if writer in _schema(SCHEMA_NAMES[c]).writers), forms[0])
        found = int.from_bytes((value or b"")[1:5], "big")
        known = next((c for c in forms if self._ids.get(SCHEMA_NAMES[c]) == found), None)
        if known is not None or self._writer_of is None or len(value or b"") < 5 or value[:1] != b"\0":  # type: ignore[index]
            return known or forms[0]
        name, _ = self._writer_of(found)
        return next((c for c in forms if SCHEMA_NAMES[c] == name), forms[0])

    def unframe(self, cls: type[Event], value: bytes | None, headers: Headers | None) -> Event:
        """The event of a record.

        Raises
        ------
        CodecError
            As :func:`decode`, and ``malformed`` for a missing value or wrong framing.
        """
        if value is None:
            raise CodecError("malformed", f"not a {SCHEMA_NAMES[cls]}: the record has no value")
        if self._ids is None:
            return decode(cls, value, writer=_writer(headers))
        if len(value) < 5 or value[0] != 0:
            raise CodecError(
                "malformed", f"not a {SCHEMA_NAMES[cls]}: no Confluent framing (magic byte 0, 4-byte id)"
            )
        expected = self._ids.get(SCHEMA_NAMES[cls])
        (found,) = struct.unpack(">I", value[1:5])
        if found != expected and self._writer_of is not None:
            name, written = self._writer_of(found)
            if name != SCHEMA_NAMES[cls]:
                raise CodecError(
                    "unknown_schema", f"{SCHEMA_NAMES[cls]}: schema id {found} is that of {name}"
                )
            return _decode(cls, value[5:], written)
        if found != expected:
            raise CodecError(
                "unknown_schema",
                f"{SCHEMA_NAMES[cls]}: schema id {found}, but wire.schema_ids says {expected}",
            )
        return decode(cls, value[5:])
