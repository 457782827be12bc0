"""A tree of plain values and arrays to bytes and back, bit for bit.

Layout: 8-byte little-endian length of the header, the header (JSON, sorted keys), then the arrays'
bytes one after another. Equal trees give equal bytes; floats keep every bit (JSON writes the shortest
text that reads back as the same double; arrays are copied raw, NaN payloads included).
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream_allocator.errors import SnapshotError

__all__ = ["Tree", "pack", "unpack"]

Tree = Mapping[str, Any]

_ARRAY = "$array"


def pack(tree: Tree) -> bytes:
    """The bytes of a tree of dicts, lists, strings, numbers, booleans, None and NumPy arrays."""
    buffers: list[bytes] = []

    def plain(node: Any) -> Any:
        if isinstance(node, np.ndarray):
            little = np.ascontiguousarray(node).astype(node.dtype.newbyteorder("<"), copy=False)
            buffers.append(little.tobytes())
            return {_ARRAY: [little.dtype.str, list(node.shape)]}
        if isinstance(node, Mapping):
            return {str(k): plain(node[k]) for k in sorted(node)}
        if isinstance(node, list | tuple):
            return [plain(v) for v in node]
        if isinstance(node, np.generic):
            return node.item()
        return node

    header = json.dumps(plain(tree), sort_keys=True, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + b"".join(buffers)


def unpack(data: bytes) -> dict[str, Any]:
    """The tree that :func:`pack` wrote; arrays are fresh and writable.

    Raises
    ------
    SnapshotError
        For bytes that are truncated, too long or not such a tree.
    """
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
    except (struct.error, ValueError) as error:
        raise SnapshotError(f"not a state: {error}") from error
    position = 8 + length

    def rich(node: Any) -> Any:
        nonlocal position
        if isinstance(node, dict):
            if _ARRAY in node:
                dtype, shape = np.dtype(node[_ARRAY][0]), tuple(node[_ARRAY][1])
                size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
                if position + size > len(data):
                    raise SnapshotError(
                        f"not a state: {len(data)} bytes, but an array ends at {position + size}"
                    )
                array = np.frombuffer(data, dtype, count=size // dtype.itemsize, offset=position)
                position += size
                return array.reshape(shape).copy()
            return {k: rich(v) for k, v in node.items()}
        if isinstance(node, list):
            return [rich(v) for v in node]
        return node

    tree = rich(header)
    if not isinstance(tree, dict) or position != len(data):
        raise SnapshotError(f"not a state: {len(data) - position} bytes left over")
    return tree
