"""The order of a partition's replicas, whose first is its preferred leader: one request of Kafka's protocol.

librdkafka has no AlterPartitionReassignments (API key 45), so version 0 of it is written out here
(https://kafka.apache.org/protocol#The_Messages_AlterPartitionReassignments).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["reorder_replicas"]

API_KEY, VERSION = 45, 0
NO_TAGS = b"\0"


def reorder_replicas(
    address: tuple[str, int], orders: Mapping[tuple[str, int], Sequence[int]], timeout: float = 15.0
) -> None:
    """Ask a broker to give partitions their replicas in these orders.

    Parameters
    ----------
    address
        Host and port of any broker; it forwards to the controller.
    orders
        (topic, partition) -> nodes.

    Raises
    ------
    RuntimeError
        With the error code that the controller gives.
    """
    topics: dict[str, dict[int, Sequence[int]]] = {}
    for (topic, partition), nodes in orders.items():
        topics.setdefault(topic, {})[partition] = nodes
    body = struct.pack(">i", round(timeout * 1000)) + _array(
        _text(topic)
        + _array(
            struct.pack(">i", partition) + _array(struct.pack(">i", node) for node in nodes) + NO_TAGS
            for partition, nodes in partitions.items()
        )
        + NO_TAGS
        for topic, partitions in topics.items()
    )
    header = struct.pack(">hhih", API_KEY, VERSION, 1, -1) + NO_TAGS
    request = header + body + NO_TAGS
    with socket.create_connection(address, timeout=timeout) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        (size,) = struct.unpack(">i", answer.read(4))
        # correlation id, its header's tags, throttle time, then what we want: the error code of the whole
        code = struct.unpack_from(">h", answer.read(size), 4 + 1 + 4)[0]
    if code:
        raise RuntimeError(f"the replicas of {len(orders)} partitions were not reordered: error code {code}")


def _array(items: Iterable[bytes]) -> bytes:
    listed = list(items)
    return _unsigned(len(listed) + 1) + b"".join(listed)


def _text(word: str) -> bytes:
    return _unsigned(len(word) + 1) + word.encode()


def _unsigned(number: int) -> bytes:
    """A varint."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
