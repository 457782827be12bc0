"""What is written down each second: of each worker what Linux says, of each input topic how far behind."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition

from benchmarks.brokers import LocalKafka
from benchmarks.soak.fleet import Worker
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.stream.record import INPUTS
from stream_allocator.topology import Topology

__all__ = ["LagWatch", "Sample", "Sampler", "Usage", "usage_of"]

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
REQUEST_SECONDS = 1.0
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process has: resident bytes, open descriptors, threads, CPU seconds so far."""

    rss: int
    descriptors: int
    threads: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One second.

    Attributes
    ----------
    time : float
        Seconds since 1970.
    workers : dict
        Worker -> (incarnation, age in seconds, usage), of those that run.
    lag : dict or None
        Input role -> records that are not committed yet; None while the broker does not say.
    broker_rss : int or None
        Resident bytes.
    """

    time: float
    workers: dict[str, tuple[int, float, Usage]]
    lag: dict[str, int] | None
    broker_rss: int | None

    @property
    def total_lag(self) -> int | None:
        """Records of all input topics."""
        return None if self.lag is None else sum(self.lag.values())


def usage_of(pid: int) -> Usage | None:
    """What a process has, or None when it is gone."""
    proc = Path("/proc") / str(pid)
    try:
        rss = int((proc / "statm").read_text().split()[1]) * PAGE
        after_name = (proc / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(after_name[11]) + int(after_name[12])) / TICKS
        return Usage(rss, len(os.listdir(proc / "fd")), len(os.listdir(proc / "task")), cpu)
    except (OSError, IndexError, ValueError):
        return None


class Sampler:
    """Takes a sample each second, in a thread, whatever the others are waiting for."""

    def __init__(self, workers: list[Worker], watch: LagWatch, broker: LocalKafka) -> None:
        self._workers, self._watch, self._broker = workers, watch, broker
        self._end = threading.Event()
        self.samples: list[Sample] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            self.samples.append(self._sample())
            due = max(due + SAMPLE_SECONDS, time.monotonic())

    def _sample(self) -> Sample:
        now, found = time.time(), {}
        for worker in self._workers:
            usage = usage_of(pid) if (pid := worker.pid) is not None else None
            if usage is not None:
                found[worker.name] = (worker.incarnation, now - worker.started, usage)
        broker = usage_of(pid) if (pid := self._broker.pid) is not None else None
        return Sample(now, found, self._watch.lag, None if broker is None else broker.rss)

    def close(self) -> None:
        """End."""
        self._end.set()
        self._thread.join(30)


class LagWatch:
    """Asks, in a thread, how many records of each input topic the group has not committed."""

    def __init__(self, topology: Topology) -> None:
        self._names = topology.topics.names
        self._tps = [
            TopicPartition(self._names[role], p) for role in INPUTS for p in range(topology.topics.partitions)
        ]
        self._roles = {self._names[role]: role for role in INPUTS}
        self._consumer = Consumer(
            consumer_settings(topology, topology.worker.group, overrides={"log_level": 0})
        )
        self._end = threading.Event()
        #: The last answer: role -> records; None when the last question had none.
        self.lag: dict[str, int] | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(0.2):
            try:
                self.lag = self._ask()
            except KafkaException:
                self.lag = None

    def _ask(self) -> dict[str, int]:
        ends = {}
        for tp in self._tps:
            ends[tp.topic, tp.partition] = self._consumer.get_watermark_offsets(tp, timeout=REQUEST_SECONDS)[
                1
            ]
        lag = dict.fromkeys(INPUTS, 0)
        for tp in self._consumer.committed(self._tps, timeout=REQUEST_SECONDS):
            lag[self._roles[tp.topic]] += max(0, ends[tp.topic, tp.partition] - max(0, tp.offset))
        return lag

    def close(self) -> None:
        """End."""
        self._end.set()
        self._thread.join(30)
        self._consumer.close()
