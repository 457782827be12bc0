"""What a broker's own log files say of transactions: which records were committed, which aborted.

A consumer's word that it saw no aborted record is worth as much as its filter. The segment files hold the
truth: every record batch names its producer, and a control batch says how that producer's transaction
ended (Kafka protocol, record batch format 2, and control records).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Transactions", "read_transactions"]

#: baseOffset, batchLength, partitionLeaderEpoch, magic, crc, attributes, lastOffsetDelta, baseTimestamp,
#: maxTimestamp, producerId, producerEpoch, baseSequence, recordsCount
HEADER = struct.Struct(">qiibIhiqqqhii")
LENGTH_AFTER = 12
"""The batch's length does not count the offset and itself."""
TRANSACTIONAL, CONTROL = 0x10, 0x20
ABORT, COMMIT = 0, 1
#: In a marker: lengths and deltas that take one byte each, then the key, 4 bytes long (zigzag: 8).
MARKER = struct.Struct(">bbbbbhh")
KEY_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Transactions:
    """How the transactions of one partition ended.

    Attributes
    ----------
    aborted : array of shape (k, 2)
        First and last offset of the batches that were aborted, or never ended.
    aborted_records : int
    transactions : int
        Committed ones.
    aborted_transactions : int
    slowest_commit : float
        Seconds from a transaction's first record, by the producer's clock, to its commit marker, by the
        broker's: the largest of all. A worker that slept through its time-out and still committed would
        show here.
    end : int
        Offset after the last batch.
    """

    aborted: np.ndarray
    aborted_records: int
    transactions: int
    aborted_transactions: int
    slowest_commit: float
    end: int

    def holds_aborted(self, offsets: np.ndarray) -> np.ndarray:
        """For each offset whether its record was aborted."""
        if not len(self.aborted):
            return np.zeros(len(offsets), dtype=bool)
        at = np.searchsorted(self.aborted[:, 0], offsets, side="right") - 1
        inside: np.ndarray = (at >= 0) & (offsets <= self.aborted[np.maximum(at, 0), 1])
        return inside


def read_transactions(data: Sequence[Path], topic: str, partition: int) -> Transactions:
    """The transactions of one partition, by the files of whichever replica has most of it.

    Parameters
    ----------
    data : sequence of path
        ``log.dirs`` of the brokers.
    topic : str
    partition : int

    Raises
    ------
    FileNotFoundError
        When no broker has the partition.
    """
    folders = [d / f"{topic}-{partition}" for d in data if (d / f"{topic}-{partition}").is_dir()]
    if not folders:
        raise FileNotFoundError(f"no broker's data holds {topic} [{partition}]")
    return max((_read(folder) for folder in folders), key=lambda found: found.end)


def _read(folder: Path) -> Transactions:
    opened: dict[int, list[tuple[int, int, int, int]]] = {}  # producer -> (first, last, count, time)
    aborted: list[tuple[int, int]] = []
    aborted_records = transactions = aborted_transactions = end = slowest = 0
    for segment in sorted(folder.glob("*.log")):
        file = os.open(segment, os.O_RDONLY)
        try:
            size, at = os.fstat(file).st_size, 0
            while at + HEADER.size <= size:
                fields = HEADER.unpack(os.pread(file, HEADER.size, at))
                first, length, attributes, producer = fields[0], fields[1], fields[5], fields[9]
                if length <= 0 or at + LENGTH_AFTER + length > size:
                    break  # it is being written, or a crash cut it short
                end = first + fields[6] + 1
                if attributes & CONTROL:
                    kind = _kind(os.pread(file, MARKER.size, at + HEADER.size), segment, at)
                    batches = opened.pop(producer, [])
                    if kind == COMMIT and batches:
                        transactions += 1
                        slowest = max(slowest, fields[8] - batches[0][3])
                    elif kind == ABORT:
                        aborted_transactions += bool(batches)
                        aborted += [(a, b) for a, b, _, _ in batches]
                        aborted_records += sum(count for _, _, count, _ in batches)
                elif attributes & TRANSACTIONAL:
                    opened.setdefault(producer, []).append((first, end - 1, fields[12], fields[7]))
                at += LENGTH_AFTER + length
        finally:
            os.close(file)
    for batches in opened.values():  # nobody committed them
        aborted += [(a, b) for a, b, _, _ in batches]
        aborted_records += sum(count for _, _, count, _ in batches)
    ranges = np.array(sorted(aborted), dtype=np.int64).reshape(-1, 2)
    return Transactions(ranges, aborted_records, transactions, aborted_transactions, slowest / 1000.0, end)


def _kind(marker: bytes, segment: Path, at: int) -> int:
    *_, key_length, version, kind = MARKER.unpack(marker)
    if key_length != KEY_LENGTH or version != 0:
        raise ValueError(f"{segment}: no transaction marker at byte {at}: {marker.hex()}")
    return int(kind)
