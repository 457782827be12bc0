"""Where the time of a record goes, by timing hooks around the worker's own methods in the measured process.

A stage's time is its own: what it calls that is a stage too is taken off. The hooks cost about half a
microsecond a call; the production code knows nothing of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import stream_allocator.engine
from benchmarks.stream import ours
from benchmarks.stream.cluster import Cluster
from benchmarks.stream.contestants import answer
from benchmarks.stream.drain import fresh
from benchmarks.stream.inputs import Inputs
from stream_allocator.codec import Codec
from stream_allocator.market import Market
from stream_allocator.moments import CovarianceMixture, SegmentWindow
from stream_allocator.regime import UniverseRegime
from stream_allocator.stream.inbox import Inbox
from stream_allocator.stream.session import Session
from stream_allocator.stream.shard import Shard
from stream_allocator.stream.topics import create

__all__ = ["STAGES", "stages"]

#: Stage -> what is timed for it, as owner and name.
STAGES: dict[str, list[tuple[Any, str]]] = {
    "consume": [(Inbox, "fill")],
    "decode": [(Shard, "decode"), (Shard, "decode_returns")],
    "regime, assets": [(Market, "tick")],
    "regime, universe": [(UniverseRegime, "update")],
    "moments": [(CovarianceMixture, "update"), (SegmentWindow, "append")],
    "view of the bar": [(Market, "close")],
    "solve": [(stream_allocator.engine, "decide")],
    "encode": [(Codec, "frame")],
    "transaction": [(Session, "_publish")],
    "the rest": [(Session, "poll")],
}


class Clock:
    """Exclusive seconds of nested calls."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self._inner = [0.0]

    def around(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, timed."""
        inner, seconds, now = self._inner, self.seconds, time.perf_counter

        def timed(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            begun = now()
            try:
                result = call(*args, **kwargs)
                return list(result) if stage == "solve" else result  # a generator would run outside
            finally:
                taken = now() - begun
                seconds[stage] += taken - inner.pop()
                inner[-1] += taken

        return timed


def stages(cluster: Cluster, inputs: Inputs) -> dict[str, float]:
    """Microseconds a record of each stage, and their sum under ``total``."""
    job = fresh(cluster, inputs, "stages")
    create(ours.place(job.bootstrap, job.tag, job.inputs))
    seconds = answer(_work, job, inputs.records)
    each = {stage: value / inputs.records * 1e6 for stage, value in seconds.items()}
    return {**each, "total": sum(each.values())}


def _work(there: Connection, job: Any, records: int) -> None:
    clock = Clock()
    worker = ours.session(ours.place(job.bootstrap, job.tag, job.inputs), "w")
    for stage, places in STAGES.items():
        for owner, name in places:
            setattr(owner, name, clock.around(stage, getattr(owner, name)))
    done = 0
    while done < records:
        took = worker.poll()
        if done == 0 and took == 0:  # joining and restoring is no record's time
            clock.seconds.update(dict.fromkeys(STAGES, 0.0))
        done += took
    there.send(clock.seconds)
