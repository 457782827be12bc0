"""The writers made for the schemas: the bytes of fastavro for any event; another schema is refused."""

import dataclasses
import io
import math
from typing import Any

import fastavro
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.avro_writer import long, writer
from stream_allocator.codec import SCHEMA_NAMES, encode, raw_schema
from stream_allocator.events import NamedValue


def plain(value: Any) -> Any:
    """What fastavro writes for a value of an event."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return [plain(v) for v in value] if isinstance(value, tuple) else value


def without_logical_types(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: without_logical_types(v) for k, v in node.items() if k != "logicalType"}
    return [without_logical_types(v) for v in node] if isinstance(node, list) else node


def by_fastavro(event: Any) -> bytes:
    schema = without_logical_types(raw_schema(SCHEMA_NAMES[type(event)]))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named_schemas={}), plain(event))
    return out.getvalue()


@pytest.mark.parametrize("cls", SCHEMA_NAMES, ids=lambda c: c.__name__)
def test_the_bytes_of_any_event_are_fastavros(cls):
    @given(strategies.events(cls))
    def check(event):
        assert encode(event) == by_fastavro(event)

    check()


@pytest.mark.parametrize(
    "n", [0, 63, 64, -64, -65, 2047, 2048, -2048, -2049, 8191, 8192, 2**31, 2**63 - 1, -(2**63)]
)
def test_integers_are_fastavros_at_the_ends_of_each_length(n):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", n)
    assert long(n) == out.getvalue()


@pytest.mark.parametrize("n", [2**63, -(2**63) - 1, 2**70])
def test_an_integer_of_more_than_64_bits_is_refused(n):
    with pytest.raises(OverflowError, match="64 bits"):
        long(n)


FIELD = {"name": "name", "type": "string"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 5e-324])
def test_numbers_keep_every_bit(value):
    schema = {"type": "record", "name": "NamedValue", "fields": [FIELD, {"name": "value", "type": "double"}]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, {"name": "x", "value": value})
    assert writer(schema)(NamedValue("x", value)) == out.getvalue()


@pytest.mark.parametrize(
    "schema",
    ["fixed", {"type": "map", "values": "long"}, ["string", "long"], ["null", "string", "long"], "Unknown"],
)
def test_a_schema_that_it_cannot_write_is_refused(schema):
    with pytest.raises(ValueError, match="no writer"):
        writer({"type": "record", "name": "R", "fields": [{"name": "x", "type": schema}]})


@given(st.text(max_size=300))
def test_text_is_fastavros(text):
    schema = {"type": "record", "name": "R", "fields": [FIELD]}
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, {"name": text})
    assert writer(schema)(NamedValue(text, 0.0)) == out.getvalue()
