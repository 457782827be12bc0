"""The raw loop: a careful confluent-kafka program, exactly once, without anything that a framework adds.

It reads up to 1,000 messages a call, decodes with fastavro, steps the kernel, produces one update a bar, and
commits outputs, state (one record a transaction, in a compacted topic) and offsets together. Client settings
are those of docs/operations.md.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.stream.job import Job
from benchmarks.stream.kernel import spin, step
from benchmarks.stream.wire import SIDE, decode, decode_packed, encode_update

__all__ = ["run"]

BATCH = 1000
SECONDS = 30.0


def run(job: Job) -> None:
    """Until it is killed."""
    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": job.tag,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.min.messages": 100_000,
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 1,
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": job.bootstrap,
            "transactional.id": job.tag,
            "acks": "all",
            "linger.ms": job.linger_milliseconds,
            "compression.type": "lz4",
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 1,
        }
    )
    producer.init_transactions(SECONDS)
    consumer.subscribe([job.inputs])
    state, positions = np.zeros(SIDE), {f"A{i:04d}": i for i in range(SIDE)}
    every = np.arange(SIDE)
    order = hashlib.sha256("".join(f"{asset}\n" for asset in positions).encode()).digest()[:8]
    bar = seen = pending = 0
    total = begun = 0.0
    last: Any = None
    while True:
        messages = consumer.consume(BATCH, 0.02) if job.commit_seconds else _waiting(consumer)
        if messages and not pending:
            producer.begin_transaction()
            begun = time.monotonic()
        for message in messages:
            if message.error() is not None:
                raise SystemExit(f"raw loop: {message.error()}")
            if job.packed:
                event = decode_packed(message.value())
                if event["asset_order"] != order:
                    raise SystemExit("raw loop: returns in another order")
                total += spin(state, every, np.frombuffer(event["returns"]).copy(), job.turns)
                seen = SIDE
            else:
                event = decode(message.value())
                total += step(state, positions, event["assets"], event["returns"], job.turns)
                seen += len(event["assets"])
            if seen == SIDE:
                update = encode_update(event, bar, total)
                producer.produce(job.outputs, update, key=message.key(), partition=message.partition())
                bar, seen, total = bar + 1, 0, 0.0
            last = message
        pending += len(messages)
        full = pending >= job.commit_records or time.monotonic() - begun >= job.commit_seconds
        if pending and (full or not messages):
            producer.produce(job.state, state.tobytes(), key=last.key(), partition=last.partition())
            ends = [TopicPartition(last.topic(), last.partition(), last.offset() + 1)]
            producer.send_offsets_to_transaction(ends, consumer.consumer_group_metadata(), SECONDS)
            producer.commit_transaction(SECONDS)
            pending = 0


def _waiting(consumer: Consumer) -> list:
    """One message as soon as there is one, and what waits behind it."""
    first = consumer.poll(0.05)
    return [] if first is None else [first, *consumer.consume(BATCH - 1, 0)]
