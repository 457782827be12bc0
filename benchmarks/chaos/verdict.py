"""The verdict on a campaign: the final reader, from the first record on, and what the brokers' files say."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks.chaos.comparison import Log, judge
from benchmarks.chaos.reader import OUTPUT_ROLES, notes
from benchmarks.chaos.segments import Transactions, read_transactions
from benchmarks.chaos.tally import Verdict
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.topology import Topology

__all__ = ["Verdict", "verdict_of"]


def verdict_of(
    topology: Topology,
    concurrent: Path | None = None,
    data: Sequence[Path] = (),
    processes: int = 1,
    partitions: Iterable[int] | None = None,
) -> Verdict:
    """Judge everything that is on a topology's topics, once workers and feeders have ended.

    Parameters
    ----------
    topology : Topology
    concurrent : path, optional
        Notes of the concurrent reader.
    data : sequence of path
        ``log.dirs`` of the brokers: their files tell which records were aborted. Without them it is those
        that a read_uncommitted reader sees and a read_committed one does not.
    processes : int
        Partitions judged at a time; more than one are forked, from a process without a Kafka client.
    partitions : iterable of int, optional
        Which; all where it is left out.
    """
    one = partial(_judge_partition, topology, concurrent, tuple(data))
    judged = range(topology.topics.partitions) if partitions is None else partitions
    if processes == 1:
        return sum(map(one, judged), Verdict())
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
        return sum(pool.imap(one, judged), Verdict())


def _judge_partition(
    topology: Topology, concurrent: Path | None, data: Sequence[Path], partition: int
) -> Verdict:
    with TopicReader(topology) as reader:
        stretches = {(role, partition): reader.bounds(role, partition) for role in (*INPUTS, *OUTPUT_ROLES)}
        log: dict[tuple[str, int], list[Record]] = {where: [] for where in stretches}
        for record in reader.read(stretches):
            log[record.role, record.partition].append(record)
    names = topology.topics.names
    transactions = (
        {role: read_transactions(data, names[role], partition) for role in OUTPUT_ROLES}
        if data
        else _by_two_readers(topology, partition, stretches, log)
    )
    seen = None
    if concurrent is not None:
        found = notes(concurrent)
        seen = found[found["partition"] == partition]
    return judge(topology, log, seen, transactions)


def _by_two_readers(
    topology: Topology, partition: int, stretches: Mapping[tuple[str, int], tuple[int, int]], log: Log
) -> dict[str, Transactions]:
    """What was aborted, by what read_uncommitted sees beside read_committed."""
    roles = {topology.topics.names[role]: role for role in OUTPUT_ROLES}
    ends = {role: stretches[role, partition][1] for role in OUTPUT_ROLES}
    offsets: dict[str, list[int]] = {role: [] for role in OUTPUT_ROLES}
    at = dict.fromkeys(OUTPUT_ROLES, 0)
    consumer = Consumer(
        consumer_settings(
            topology,
            f"{topology.worker.group}-uncommitted",
            read_committed=False,
            overrides={"enable.partition.eof": True},
        )
    )
    consumer.assign(
        [TopicPartition(name, partition, stretches[r, partition][0]) for name, r in roles.items()]
    )
    while any(at[role] < end for role, end in ends.items()):
        for message in consumer.consume(1000, 0.2):
            role, error = roles.get(str(message.topic())), message.error()
            if role is None or message.offset() is None:
                continue
            if error is None:
                offsets[role].append(message.offset())
                at[role] = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                at[role] = max(at[role], message.offset())
    consumer.close()
    found = {}
    for role in OUTPUT_ROLES:
        committed = {r.offset for r in log[role, partition]}
        hidden = [o for o in offsets[role] if o not in committed]
        ranges = np.array([(o, o) for o in hidden], dtype=np.int64).reshape(-1, 2)
        found[role] = Transactions(ranges, len(hidden), 0, 0, 0.0, ends[role])
    return found
