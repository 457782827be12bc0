"""The whole engine: through Kafka exactly once, and fed from memory."""

from __future__ import annotations

import time
from multiprocessing.connection import Connection

from benchmarks import workload
from benchmarks.stream import ours
from benchmarks.stream.cluster import Cluster
from benchmarks.stream.contestants import answer, fork
from benchmarks.stream.drain import DrainFailed, drain, fresh
from benchmarks.stream.inputs import Inputs
from stream_allocator.codec import Codec
from stream_allocator.packed import pack
from stream_allocator.stream.decoder import RecordBatch
from stream_allocator.stream.record import Record
from stream_allocator.stream.restore import Manifest
from stream_allocator.stream.shard import Shard
from stream_allocator.stream.topics import create

__all__ = ["from_memory", "through_kafka"]

ASSETS = 50


def from_memory(bars: int, seed: int, *, packed: bool) -> tuple[float, str]:
    """Asset-ticks a second of the engine alone, and the digest of its audit chain.

    The records lie decoded in arrays, as the worker has them; each goes through the engine, and what comes
    out is encoded: ``Shard.step_returns``.
    """
    rate, digest = answer(_memory, bars, seed, packed)
    return rate, digest


def _memory(there: Connection, bars: int, seed: int, packed: bool) -> None:
    made = workload.topology(ASSETS)
    universe, codec, shard = made.universes[0], Codec(), Shard(made, 0)
    records = []
    for offset, event in enumerate(workload.cross_sections(universe, bars, seed)):
        value, headers = codec.frame(pack(event, universe.assets) if packed else event)
        records.append(Record("returns", 0, offset, universe.name.encode(), value, tuple(headers)))
    decoded = shard.decode_returns(RecordBatch(records))
    begun = time.perf_counter()
    for i in range(bars):
        shard.step_returns(decoded, i)
    there.send((bars * ASSETS / (time.perf_counter() - begun), shard.digest()))


def through_kafka(cluster: Cluster, inputs: Inputs, digest: str) -> float:
    """Asset-ticks a second of the worker; its committed digest must be the one from memory.

    Raises
    ------
    DrainFailed
        When it is not.
    """
    job = fresh(cluster, inputs, "whole")
    create(ours.place(job.bootstrap, job.tag, job.inputs))
    drained = drain(cluster, job, lambda j: fork(ours.run_whole, j), inputs, ASSETS)
    committed = Manifest.from_metadata(cluster.metadata(job.tag, job.inputs)).digest
    if committed != digest:
        raise DrainFailed(f"{job.tag}: committed digest {committed[:12]}, from memory {digest[:12]}")
    return drained.rate
