"""The records' Avro in plain fastavro, for everybody who is not ours: nothing of the package is imported.

Logical types are left out of the schemas, as in the package: timestamps stay integers, which fastavro reads
half as fast again.
"""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import Any

import fastavro

__all__ = ["SIDE", "decode", "decode_packed", "encode_update", "schema"]

SCHEMAS = Path(__file__).resolve().parents[2] / "stream_allocator" / "schemas"
#: Assets of a cross-section.
SIDE = 50


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {k: _plain(v) for k, v in node.items() if k not in ("logicalType", "doc")}
    return [_plain(v) for v in node] if isinstance(node, list) else node


@functools.cache
def schema(name: str) -> Any:
    """A parsed schema of `stream_allocator/schemas`."""
    return fastavro.parse_schema(_plain(json.loads((SCHEMAS / f"{name}.avsc").read_text("utf-8"))))


_RETURNS = schema("return_event")
_PACKED = schema("packed_return_event")
_UPDATE = schema("regime_update")
_read, _write = fastavro.schemaless_reader, fastavro.schemaless_writer


def decode(value: bytes) -> dict[str, Any]:
    """A return event as a dictionary."""
    return _read(io.BytesIO(value), _RETURNS, None)


def decode_packed(value: bytes) -> dict[str, Any]:
    """A packed return event as a dictionary."""
    return _read(io.BytesIO(value), _PACKED, None)


def encode_update(event: dict[str, Any], bar: int, total: float) -> bytes:
    """The output of a bar: a regime update whose expected run length holds the kernel's sum."""
    out = io.BytesIO()
    _write(
        out,
        _UPDATE,
        {
            "universe": event["universe"],
            "event_time": event["event_time"],
            "bar": bar,
            "label": "normal",
            "switched": False,
            "switch_probability": 0.0,
            "map_run_length": 0,
            "expected_run_length": total,
            "effective_sample_size": 0.0,
            "segment_volatility": 0.0,
            "reference_volatility": 0.0,
            "confidence": 0.0,
            "assets": [],
            "decisions": [],
            "data_quality": {"duplicates": 0, "late": 0, "gaps": 0, "missing": []},
            "returns_offset": event["sequence"],
        },
    )
    return out.getvalue()
