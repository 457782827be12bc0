"""Record batches and markers of a broker's files, written here byte by byte as the protocol says."""

import struct

import numpy as np
import pytest

from benchmarks.chaos.segments import read_transactions

TRANSACTIONAL, CONTROL = 0x10, 0x20


def batch(first, count, producer, *, attributes=TRANSACTIONAL, time=0, body=b"records"):
    """One batch: count records from an offset on."""
    after = struct.pack(">ibIhiqqqhii", 0, 2, 0, attributes, count - 1, time, time, producer, 0, 0, count)
    return struct.pack(">qi", first, len(after) + len(body)) + after + body


def marker(at, producer, *, commit, time=0):
    """A control batch that ends a producer's transaction."""
    record = struct.pack(">bbbbhh", 0, 0, 0, 8, 0, int(commit)) + b"value"
    body = struct.pack(">b", 2 * len(record)) + record
    return batch(at, 1, producer, attributes=TRANSACTIONAL | CONTROL, time=time, body=body)


@pytest.fixture
def partition(tmp_path):
    folder = tmp_path / "data" / "topic-3"
    folder.mkdir(parents=True)

    def write(*segments):
        for i, batches in enumerate(segments):
            (folder / f"{i:020}.log").write_bytes(b"".join(batches))
        return read_transactions([tmp_path / "absent", tmp_path / "data"], "topic", 3)

    return write


def test_what_is_committed_aborted_and_left_open_is_told_apart(partition):
    found = partition(
        [
            batch(0, 3, 7, time=1000),
            batch(3, 2, 8),  # another producer's, between
            batch(5, 1, 7, time=1500),
            marker(6, 7, commit=True, time=1700),
        ],
        [marker(7, 8, commit=False), batch(8, 4, 9), batch(12, 1, -1, attributes=0)],
    )
    assert (found.transactions, found.aborted_transactions, found.aborted_records) == (1, 1, 6)
    assert found.slowest_commit == 0.7
    assert found.end == 13
    offsets = np.arange(14)
    assert list(offsets[found.holds_aborted(offsets)]) == [3, 4, 8, 9, 10, 11]


def test_a_batch_that_is_cut_short_ends_the_file(partition):
    found = partition([batch(0, 1, 7), marker(1, 7, commit=True), batch(2, 5, 7)[:-3]])
    assert (found.transactions, found.aborted_records, found.end) == (1, 0, 2)
    assert not found.holds_aborted(np.arange(5)).any()


def test_a_producer_that_goes_on_after_an_abort_is_judged_by_each_transaction(partition):
    found = partition(
        [
            batch(0, 1, 7),
            marker(1, 7, commit=False),
            batch(2, 1, 7),
            marker(3, 7, commit=True),
            marker(4, 7, commit=False),
        ]
    )
    offsets = np.arange(5)
    assert list(offsets[found.holds_aborted(offsets)]) == [0]
    assert (found.transactions, found.aborted_transactions) == (1, 1)


def test_the_replica_that_has_most_is_read(tmp_path):
    for name, batches in (("a", [batch(0, 1, 7)]), ("b", [batch(0, 1, 7), marker(1, 7, commit=True)])):
        (tmp_path / name / "t-0").mkdir(parents=True)
        (tmp_path / name / "t-0" / "0.log").write_bytes(b"".join(batches))
    found = read_transactions([tmp_path / "a", tmp_path / "b"], "t", 0)
    assert (found.transactions, found.aborted_records) == (1, 0)
    with pytest.raises(FileNotFoundError, match="no broker's data holds t"):
        read_transactions([tmp_path / "a"], "t", 1)


def test_a_marker_of_another_format_is_an_error(partition):
    bad = bytearray(marker(1, 7, commit=True))
    bad[61 + 4] = 10
    with pytest.raises(ValueError, match="no transaction marker at byte"):
        partition([batch(0, 1, 7), bytes(bad)])
