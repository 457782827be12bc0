"""What a stage of a campaign comes to, and when its workers are through with what was fed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.chaos.tally import Verdict
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.topology import Topology

__all__ = ["Outcome", "caught_up"]

REQUEST_SECONDS = 15.0
STALL_SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """Of one stage.

    Attributes
    ----------
    verdict : Verdict
    holds : bool
        The verdict does, and nothing else happened that should not have.
    kills : int
    broker_faults : int
    """

    verdict: Verdict
    holds: bool
    kills: int = 0
    broker_faults: int = 0


def caught_up(topology: Topology) -> int:
    """Wait until the workers' group has committed all that is on the input topics; 1 when it stalls."""
    names = topology.topics.names
    wanted = [
        TopicPartition(names[role], partition)
        for role in ("returns", "positions", "control")
        for partition in range(topology.topics.partitions)
    ]
    consumer = Consumer(consumer_settings(topology, topology.worker.group))
    moved, last = time.monotonic(), -1
    while time.monotonic() - moved < STALL_SECONDS:
        try:
            found = consumer.committed(wanted, timeout=REQUEST_SECONDS)
            ends = [consumer.get_watermark_offsets(tp, timeout=REQUEST_SECONDS)[1] for tp in wanted]
        except KafkaException as error:
            print(error, flush=True)
            continue
        committed = [max(0, tp.offset) for tp in found]
        if all(at >= end for at, end in zip(committed, ends, strict=True)):
            return 0
        if sum(committed) != last:
            moved, last = time.monotonic(), sum(committed)
        time.sleep(0.05)
    print(f"stalled at {committed} of {ends}", flush=True)
    return 1
