"""One, two and four workers on as many partitions, a universe on each."""

from __future__ import annotations

import time
import uuid

from benchmarks import workload
from benchmarks.stream import ours
from benchmarks.stream.cluster import STAMPED, Cluster
from benchmarks.stream.contestants import fork
from benchmarks.stream.drain import DrainFailed, rate
from benchmarks.stream.job import Job
from stream_allocator.codec import Codec
from stream_allocator.stream.topics import create

__all__ = ["scaling"]

ASSETS = 50
#: Bars of each partition that are through before the clock runs: workers have joined and compiled by then.
WARM = 100
PATIENCE = 90.0


def scaling(cluster: Cluster, workers: int, bars: int, seed: int) -> float:
    """Asset-ticks a second of all workers together, whole engines, records filled in once all have joined."""
    tag = f"scaling-{uuid.uuid4().hex[:8]}"
    job = Job(cluster.bootstrap, tag, f"returns-{tag}", f"regimes-{tag}")
    cluster.create({job.outputs: STAMPED, job.inputs: {}}, workers)
    made = ours.place(job.bootstrap, job.tag, job.inputs, partitions=workers)
    create(made)
    codec = Codec()
    framed = [[codec.frame(e) for e in workload.cross_sections(u, WARM + bars, seed)] for u in made.universes]
    headers = framed[0][0][1]

    def feed(first: int, last: int) -> None:
        for p, universe in enumerate(made.universes):
            values = [v for v, _ in framed[p][first:last]]
            cluster.fill(job.inputs, values, key=universe.name.encode(), headers=headers, partition=p)

    running = [fork(ours.run_partitions, job, workers) for _ in range(workers)]
    try:
        time.sleep(2.0)
        feed(0, WARM)
        _wait(cluster, job, WARM * workers)
        feed(WARM, WARM + bars)
        _wait(cluster, job, (WARM + bars) * workers)
    finally:
        for each in running:
            each.kill()
    outputs = cluster.read(job.outputs, workers)
    if len(outputs) != (WARM + bars) * workers:
        raise DrainFailed(f"{tag}: {len(outputs)} outputs of {(WARM + bars) * workers}")
    counted = [r for p in range(workers) for r in [o for o in outputs if o.partition == p][WARM:]]
    return rate(sorted(counted, key=lambda r: r.milliseconds), ASSETS)[0]


def _wait(cluster: Cluster, job: Job, records: int) -> None:
    end = time.monotonic() + PATIENCE
    while cluster.committed(job.tag, job.inputs) < records:
        if time.monotonic() > end:
            raise DrainFailed(f"{job.tag} did not commit {records} records in {PATIENCE:g} s")
        time.sleep(0.1)
