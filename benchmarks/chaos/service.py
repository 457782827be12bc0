"""The service under fire: workers, a feeder that never rests, and the concurrent reader."""

from __future__ import annotations

import math
import re
import resource
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from benchmarks.chaos.reader import OUTPUT_ROLES, Reader, notes
from benchmarks.chaos.worker import start_worker
from benchmarks.chaos.world import Feeder, World

__all__ = ["Service", "resident_mb"]

PATIENCE_SECONDS = 300.0
BEAT_SECONDS = 0.1
REGIMES = OUTPUT_ROLES.index("regimes")
WORDS = {
    "sessions_lost": "session lost",
    "restores": "restored partition",
    "kept": "kept partition",
    "aborts": "transaction attempt",
}


class Service:
    """Everything but the brokers, running until `end`.

    Parameters
    ----------
    folder : path
        For logs and notes.
    world : World
        As workers and reader see it.
    direct : World
        As the feeder sees it: it may reach the brokers another way.
    instances : sequence of str or None
        Of each worker: a static member's name, or None for a dynamic one.
    rate : float
        Bars a second that every universe is fed, whatever happens.
    most : float
        Bars that every universe is fed altogether.
    """

    def __init__(
        self,
        folder: Path,
        world: World,
        direct: World,
        instances: Sequence[str | None],
        rate: float,
        most: float = math.inf,
    ) -> None:
        self._rate, self.most = rate, most
        self._notes = folder / "seen.notes"
        self._log = folder / "workers.log"
        self._universes = np.bincount(
            [world.partition(u) for u in range(len(world.topology.universes))],
            minlength=world.topology.topics.partitions,
        )
        self.workers = [start_worker(world.topology, instance, None, folder) for instance in instances]
        self.reader = Reader(world.topology, self._notes)
        self.feeder = Feeder(direct, folder)
        self.feeder.start()
        self.bars = 0
        #: Time (monotonic) and megabytes of the worker that has most.
        self.resident: list[tuple[float, float]] = [(time.monotonic(), 0.0)]
        self._ended = threading.Event()
        self._pulse = threading.Thread(target=self._pace, daemon=True)
        self._pulse.start()

    def _pace(self) -> None:
        """Feed at a steady rate, whatever happens; watch over the processes."""
        begun = time.monotonic()
        while not self._ended.wait(BEAT_SECONDS):
            now = time.monotonic()
            self.bars = int(min(self._rate * (now - begun), self.most))
            self.feeder.feed(self.bars)
            self.resident.append((now, max(resident_mb(w.pid) for w in self.workers)))

    def most_mb(self, since: float = 0.0) -> float:
        """Most memory that a worker has had since then."""
        return max(mb for then, mb in self.resident if then >= since)

    def check(self) -> None:
        """Raise `RuntimeError` when a process has ended that should not."""
        self.reader.check()
        self.feeder.check()
        for worker in self.workers:
            if (code := worker.poll()) is not None:
                tail = self._log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"a worker ended with status {code}\n{tail}")

    def behind(self, bars: int) -> list[int]:
        """Partitions of which the concurrent reader has not yet seen so many bars of every universe."""
        seen = notes(self._notes)
        regimes = seen["partition"][seen["role"] == REGIMES]
        have = np.bincount(regimes, minlength=len(self._universes))
        return [int(p) for p in np.flatnonzero(have < bars * self._universes)]

    def wait_until_decided(self, bars: int, timeout: float = PATIENCE_SECONDS) -> None:
        """Wait until all of so many bars is decided and visible to the concurrent reader."""
        deadline = time.monotonic() + timeout
        while behind := self.behind(bars):
            self.check()
            if time.monotonic() > deadline:
                tail = self._log.read_text(errors="replace")[-3000:]
                raise RuntimeError(
                    f"partitions {behind} have not come to bar {bars} in {timeout:g} s\n{tail}"
                )
            time.sleep(0.05)

    def end(self) -> None:
        """Let everything come to its end: feeder, then workers, then reader."""
        self._ended.set()
        self._pulse.join()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.feeder.fed < self.bars:
            self.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the feeder is at bar {self.feeder.fed} of {self.bars}")
            time.sleep(0.05)
        self.wait_until_decided(self.bars)
        self.feeder.kill()
        for worker in self.workers:
            worker.send(signal.SIGTERM)
        for worker in self.workers:
            if (code := worker.wait(60)) != 0:
                raise RuntimeError(f"a worker ended with status {code}; see {self._log}")
        self.reader.stop()

    def kill(self) -> None:
        """End every process at once."""
        self._ended.set()
        for child in self.workers:
            child.kill()
        self.feeder.kill()
        with suppress(RuntimeError, TimeoutError):
            self.reader.stop()

    def counts(self) -> dict[str, int]:
        """What the workers' log speaks of, how often."""
        text = self._log.read_text(errors="replace")
        return {name: len(re.findall(words, text)) for name, words in WORDS.items()}


def resident_mb(pid: int) -> float:
    """Memory of a process, 0 once it has ended."""
    with suppress(OSError, IndexError):
        words = Path(f"/proc/{pid}/statm").read_text().split()
        return int(words[1]) * resource.getpagesize() / 1e6
    return 0.0
