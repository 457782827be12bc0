"""From produce to a committed record that a read_committed reader of another process sees."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from confluent_kafka import Producer

from benchmarks import workload
from benchmarks.stream.cluster import Cluster, Record
from benchmarks.stream.contestants import Running
from benchmarks.stream.drain import DrainFailed, check, fresh
from benchmarks.stream.inputs import fill
from benchmarks.stream.job import Job
from stream_allocator.codec import Codec

__all__ = ["Latency", "latency"]

RATE = 50.0
#: Bars before the clock runs: the worker has joined, compiled and decided by then.
WARM = 150
PATIENCE = 60.0
ASSETS = 50


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of every cross-section of the run."""

    milliseconds: np.ndarray

    def at(self, percent: float) -> float:
        """A percentile."""
        return float(np.percentile(self.milliseconds, percent))


def latency(
    cluster: Cluster,
    name: str,
    start: Callable[[Job], Running],
    bars: int,
    seed: int,
    *,
    turns: int = 0,
    folder: str = "",
) -> Latency:
    """Cross-sections of 50 assets at 50 a second; none is left out.

    Raises
    ------
    DrainFailed
        When an output is missing, doubled or out of order.
    """
    universe = workload.universe(ASSETS)
    events = list(workload.cross_sections(universe, WARM + bars, seed))
    inputs = fill(cluster, "paced", events[:WARM], WARM)
    job = replace(
        fresh(cluster, inputs, name, turns=turns, folder=folder), commit_seconds=0.0, linger_milliseconds=0
    )
    codec = Codec()
    framed = [codec.frame(event) for event in events]
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 0, "acks": "all"})
    producer.list_topics(inputs.topic, timeout=PATIENCE)
    running = start(job)
    reading = _Reading(cluster, job, WARM + bars)
    try:
        reading.until(WARM, running)
        sent = np.zeros(bars)
        begun = time.perf_counter()
        for i in range(bars):
            time.sleep(max(0.0, begun + i / RATE - time.perf_counter()))
            value, headers = framed[WARM + i]
            sent[i] = time.perf_counter()
            producer.produce(inputs.topic, value, key=b"u0", headers=headers, partition=0)
            producer.poll(0)
        producer.flush(PATIENCE)
        reading.until(WARM + bars, running)
    finally:
        running.kill()
        reading.stop()
    check(job, reading.records, WARM + bars)
    return Latency((np.array(reading.seen[WARM:]) - sent) * 1e3)


class _Reading:
    """A reader in a thread of its own: records, and when each was seen."""

    def __init__(self, cluster: Cluster, job: Job, expected: int) -> None:
        self.records: list[Record] = []
        self.seen: list[float] = []
        self._ended = threading.Event()
        self._expected = expected
        self._consumer = cluster.reader()
        self._consumer.subscribe([job.outputs])
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            self.seen.append(time.perf_counter())
            self.records.append(Record(message.partition(), message.offset(), message.value(), 0))

    def until(self, count: int, running: Running) -> None:
        """Wait for so many records."""
        end = time.monotonic() + PATIENCE
        while len(self.seen) < count:
            if not running.alive() or time.monotonic() > end:
                raise DrainFailed(f"{len(self.seen)} of {count} outputs came")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the thread and close the consumer."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()
