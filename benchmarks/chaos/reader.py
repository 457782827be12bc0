"""The concurrent reader: read_committed, from the first record on, while everything around it is struck.

It notes where each record stood and a digest of what it held, in the order in which it saw them. A reader
that is started again goes on from its notes.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from benchmarks.chaos.child import Child
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.topology import Topology

__all__ = ["NOTE", "OUTPUT_ROLES", "Reader", "note_of", "notes"]

#: Everything that a worker publishes and somebody reads; snapshots are for workers alone.
OUTPUT_ROLES = ("allocations", "evidence", "regimes", "audit", "dead_letters")
#: What is noted of a record: an index into OUTPUT_ROLES, partition, offset, and 16 bytes of SHA-256.
NOTE = np.dtype([("role", "u1"), ("partition", "u2"), ("offset", "<i8"), ("digest", "S16")])
DRAIN_SECONDS = 60.0
REQUEST_SECONDS = 15.0


def note_of(key: bytes | None, value: bytes | None) -> bytes:
    """Digest of a record's key and value, 16 bytes."""
    key, value = key or b"", value or b""
    return hashlib.sha256(len(key).to_bytes(4, "big") + key + value).digest()[:16]


def notes(file: Path) -> np.ndarray:
    """All whole notes of a file, in order."""
    raw = file.read_bytes() if file.exists() else b""
    whole = len(raw) // NOTE.itemsize * NOTE.itemsize
    return np.frombuffer(raw[:whole], dtype=NOTE)


class Reader:
    """The reader as a process.

    Parameters
    ----------
    topology : Topology
    file : path
        Of its notes.
    """

    def __init__(self, topology: Topology, file: Path) -> None:
        self._file = file
        self._log = file.with_suffix(".log")
        self._child = Child(partial(_read, topology, file), self._log)

    @property
    def seen(self) -> int:
        """Records noted so far."""
        return self._file.stat().st_size // NOTE.itemsize if self._file.exists() else 0

    def check(self) -> None:
        """Raise `RuntimeError` when it has ended by itself."""
        if self._child.poll() is not None:
            raise RuntimeError(f"the reader ended with status {self._child.poll()}; see {self._log}")

    def stop(self) -> None:
        """Let it read to where the topics end, and end."""
        self._child.send(signal.SIGTERM)
        if self._child.wait(DRAIN_SECONDS + 30) != 0:
            raise RuntimeError(f"the reader did not come to the end; see {self._log}")


def _read(topology: Topology, file: Path) -> int:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    names = topology.topics.names
    roles = {names[role]: i for i, role in enumerate(OUTPUT_ROLES)}
    earlier = notes(file)
    positions = {
        (role, partition): 0
        for role in range(len(OUTPUT_ROLES))
        for partition in range(topology.topics.partitions)
    }
    for role, partition in positions:
        mine = earlier[(earlier["role"] == role) & (earlier["partition"] == partition)]
        if len(mine):
            positions[role, partition] = int(mine["offset"][-1]) + 1
    consumer = Consumer(
        consumer_settings(
            topology,
            f"{topology.worker.group}-concurrent",
            overrides={"enable.partition.eof": True, "auto.offset.reset": "error"},
        )
    )
    consumer.assign(
        [TopicPartition(names[OUTPUT_ROLES[r]], p, offset) for (r, p), offset in positions.items()]
    )
    ends: dict[tuple[int, int], int] | None = None
    deadline = float("inf")
    with open(file, "r+b" if file.exists() else "wb") as out:
        out.truncate(len(earlier) * NOTE.itemsize)
        out.seek(0, os.SEEK_END)
        while ends is None or any(positions[where] < end for where, end in ends.items()):
            if told and ends is None:
                ends, deadline = _ends(consumer, topology), time.monotonic() + DRAIN_SECONDS
            if time.monotonic() > deadline:
                print(f"not reached: { {w: e for w, e in (ends or {}).items() if positions[w] < e} }")
                return 1
            taken = []
            for message in consumer.consume(1000, 0.05):
                error, offset = message.error(), message.offset()
                if error is not None and message.topic() not in roles:
                    print(error.str(), flush=True)  # of a broker
                    continue
                where = (roles[message.topic()], message.partition())
                if error is None:
                    taken.append((*where, offset, note_of(message.key(), message.value())))
                    positions[where] = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    positions[where] = max(positions[where], offset)
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    raise KafkaException(error)
                else:
                    print(error.str(), flush=True)
            if taken:
                out.write(np.array(taken, dtype=NOTE).tobytes())
                out.flush()
    consumer.close()
    return 0


def _ends(consumer: Consumer, topology: Topology) -> dict[tuple[int, int], int]:
    ends = {}
    for i, role in enumerate(OUTPUT_ROLES):
        for partition in range(topology.topics.partitions):
            tp = TopicPartition(topology.topics.names[role], partition)
            ends[i, partition] = consumer.get_watermark_offsets(tp, timeout=REQUEST_SECONDS)[1]
    return ends
