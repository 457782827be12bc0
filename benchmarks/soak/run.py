"""The processes of a soak, and what happens to them in which order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.brokers import LocalKafka
from benchmarks.chaos.child import Child
from benchmarks.chaos.reader import Reader
from benchmarks.soak.faults import Deployment, Fault
from benchmarks.soak.feeder import FeederProcess
from benchmarks.soak.fleet import Worker
from benchmarks.soak.observer import ObserverProcess
from benchmarks.soak.samples import LagWatch, Sampler
from benchmarks.soak.world import UNIVERSES, compile_all, make_times, make_topology
from stream_allocator.stream.topics import create
from stream_allocator.topology import Topology

__all__ = ["STEADY", "VICTIM", "Size", "Soak"]

MB = 1e6
SHARE = 0.5
#: Records that a measurement of the maximum begins with: run lengths and windows are full after 256 bars.
WARM_BARS = 300
STEADY, VICTIM = "steady", "struck"
#: What a worker logs before it replaces its process, because a call of the client library never returned.
BEGINS_AGAIN = "the process begins again"


@dataclass(frozen=True)
class Size:
    """How long everything takes, seconds; ``snapshot_bars`` of each universe; ``judged`` partitions."""

    soak: float
    every: float
    first: float
    drain: float
    pause: float
    snapshot_bars: int
    judged: int
    patience: float


class Soak:
    """The processes and what was seen of them.

    Parameters
    ----------
    folder : path
    size : Size
    """

    def __init__(self, folder: Path, size: Size) -> None:
        self._folder, self.size, self._begun = folder, size, time.monotonic()
        self.faults: list[Fault] = []
        self.maximum = self.rate = 0.0
        self.fed_between = self.begun_again = 0

    def note(self, words: str) -> None:
        """Tell how far things are."""
        print(f"{time.monotonic() - self._begun:7.1f} s  {words}", flush=True)

    @property
    def fed_rate(self) -> float:
        """Cross-sections a second that were fed, bursts included."""
        return self.fed_between / (self.ended - self.started)

    @contextmanager
    def running(self, broker: LocalKafka) -> Iterator[None]:
        """Topics, reader, observer, feeder and workers, until the block ends."""
        path, self.topology = make_topology(self._folder, broker.bootstrap_servers, self.size.snapshot_bars)
        # whatever is forked is forked before this process has a Kafka client of its own
        made = Child(partial(_create, self.topology), self._folder / "topics.log")
        if made.wait(60) != 0:
            raise RuntimeError(f"the topics could not be created; see {self._folder / 'topics.log'}")
        self.reader = Reader(self.topology, self._folder / "seen.notes")
        times = self._folder / "fed.times"
        make_times(times, 4_000_000)
        self.broker = broker
        self.observer = ObserverProcess(path, times, self._folder)
        self.feeder = FeederProcess(path, times, self._folder)
        self.steady, self.victim = (Worker(name, path, self._folder) for name in (STEADY, VICTIM))
        self.watch = LagWatch(self.topology)
        self.sampler = Sampler([self.steady, self.victim], self.watch, broker)
        try:
            yield
        finally:
            self.sampler.close()
            self.watch.close()
            for worker in (self.steady, self.victim):
                worker.kill()
            self.feeder.kill()
            self.observer.kill()

    def measure_maximum(self) -> None:
        """Drain a backlog: cross-sections a second, everything else running as in the soak."""
        compile_all(self.topology)
        for worker in (self.steady, self.victim):
            worker.start()
        self.feeder.tell(f"burst {UNIVERSES * WARM_BARS}")
        self._until_seen(UNIVERSES * WARM_BARS // 3)
        first, then = self.observer.look(), time.monotonic()
        self._until_seen(UNIVERSES * WARM_BARS)
        guess = (UNIVERSES * WARM_BARS - first) / max(time.monotonic() - then, 0.1)
        fed = UNIVERSES * WARM_BARS + round(guess * self.size.drain)
        mark = len(self.observer.lines)
        self.feeder.tell(f"burst {fed - UNIVERSES * WARM_BARS}")
        self._until_seen(fed)
        lines = self.observer.lines[max(0, mark - 1) :]
        begun = next(i for i, line in enumerate(lines) if line["count"] > lines[0]["count"])
        time_of = [(line["time"], line["count"]) for line in lines[begun:]]
        self.maximum = (time_of[-1][1] - time_of[0][1]) / (time_of[-1][0] - time_of[0][0])
        self.rate = SHARE * self.maximum

    def _until_seen(self, count: int) -> None:
        deadline = time.monotonic() + self.size.patience
        while self.observer.look() < count:
            self._check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.observer.look()} of {count} bars after {self.size.patience:g} s")
            time.sleep(0.05)

    def soak(self) -> None:
        """The steady rate, and the faults."""
        size = self.size
        deployment = Deployment(self.broker, self.victim, self.feeder, self.rate, size.pause)
        fed = self.feeder.state()["cross_sections"]
        self.feeder.tell(f"rate {self.rate}")
        self.started = time.time()
        end, due, said = time.monotonic() + size.soak, time.monotonic() + size.first, time.monotonic()
        while (now := time.monotonic()) < end:
            self._check()
            if now >= due and due < end - size.every / 2:
                self.faults.append(deployment.strike(len(self.faults)))
                due = max(due + size.every, time.monotonic())
            if now - said > 60:
                said = now
                self.note(self._say())
            time.sleep(0.05)
        self.ended = time.time()
        self.fed_between = self.feeder.state()["cross_sections"] - fed
        self.feeder.tell("rate 0")

    def _say(self) -> str:
        last = self.sampler.samples[-1]
        rss = ", ".join(f"{name} {usage.rss / MB:.0f} MB" for name, (_, _, usage) in last.workers.items())
        return f"{len(self.faults)} faults, lag {last.total_lag}, {rss}"

    def _check(self) -> None:
        for worker in (self.steady, self.victim):
            worker.check()

    def finish(self) -> dict[str, int]:
        """Let everything drain and end; what was fed."""
        fed = self.feeder.stop()
        self._until_seen(fed["cross_sections"])
        deadline = time.monotonic() + 30
        while self.watch.lag is None or sum(self.watch.lag.values()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"lag is {self.watch.lag} though all bars are there")
            time.sleep(0.1)
        time.sleep(1.0)  # what is there twice comes late
        self.observer.stop()
        for worker in (self.steady, self.victim):
            worker.stop()
        self.reader.stop()
        self.begun_again = self.steady.log.read_text(errors="replace").count(BEGINS_AGAIN)
        return fed


def _create(topology: Topology) -> int:
    create(topology)
    return 0
