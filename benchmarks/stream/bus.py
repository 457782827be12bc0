"""The bus alone: the same records and kernel through our worker, a raw loop, Quix Streams and Faust."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.stream import ours, raw_loop
from benchmarks.stream.cluster import Cluster
from benchmarks.stream.contestants import Running, fork, peer
from benchmarks.stream.drain import Drained, DrainFailed, drain, fresh
from benchmarks.stream.inputs import Inputs
from benchmarks.stream.job import Job
from stream_allocator.stream.topics import create

__all__ = ["CONTESTANTS", "Ladder", "race"]

#: Name -> how it is started. The first two are ours and what it is compared with.
CONTESTANTS: Mapping[str, Callable[[Job], Running]] = {
    "raw loop": lambda job: fork(raw_loop.run, job),
    "stream_allocator": lambda job: _ours(job),
    "Quix Streams": lambda job: peer("quix_app", job),
    "Faust": lambda job: peer("faust_app", job),
}


def _ours(job: Job) -> Running:
    create(ours.place(job.bootstrap, job.tag, job.inputs))
    return fork(ours.run_bare, job)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Rates of the contestants on one topic: median, least and greatest of the repeats."""

    rates: dict[str, list[float]]
    failed: dict[str, str]

    def median(self, name: str) -> float | None:
        """Asset-ticks a second; None where it did not run or failed."""
        return statistics.median(self.rates[name]) if self.rates.get(name) else None

    def ratio(self, one: str, other: str) -> float | None:
        """Of the medians."""
        above, below = self.median(one), self.median(other)
        return None if above is None or below is None else above / below


def race(
    cluster: Cluster,
    inputs: Inputs,
    names: list[str],
    *,
    turns: int,
    repeats: int,
    folder: str,
    assets: int = 50,
) -> Ladder:
    """Each contestant drains the topic in every round, in turn; outputs must be equal, byte for byte.

    Raises
    ------
    DrainFailed
        When the raw loop or ours fails; a peer's failure is kept beside the rates.
    """
    ladder = Ladder({name: [] for name in names}, {})
    agreed: Drained | None = None
    for _ in range(repeats):
        for name in names:
            if name in ladder.failed:
                continue
            job = fresh(
                cluster, inputs, name.lower().replace(" ", "-").replace("_", "-"), turns=turns, folder=folder
            )
            try:
                drained = drain(cluster, job, CONTESTANTS[name], inputs, assets)
            except DrainFailed as failure:
                if name in ("raw loop", "stream_allocator"):
                    raise
                ladder.failed[name] = str(failure)
                continue
            agreed = agreed or drained
            if drained.digest != agreed.digest:
                raise DrainFailed(f"{name} published other bytes than the first contestant did")
            ladder.rates[name].append(drained.rate)
    return ladder
