"""One drain: a full topic, a contestant that empties it, exactly once, and the check that it did.

A rate is that of the steady state, on the broker's clock: from the last output of the first 20 ms to the last
output, by the append times of the log. Start-up and the first batch are outside, the last commit too (a few
milliseconds of seconds).
"""

from __future__ import annotations

import hashlib
import io
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import fastavro

from benchmarks.stream.cluster import COMPACTED, STAMPED, Cluster, Record
from benchmarks.stream.contestants import Running
from benchmarks.stream.inputs import Inputs
from benchmarks.stream.job import Job
from benchmarks.stream.wire import schema

__all__ = ["DrainFailed", "Drained", "drain", "fresh"]

SETTLED = 20
PATIENCE = 120.0
WATCH = 0.1
MARKER_SECONDS = 5.0


class DrainFailed(RuntimeError):
    """The contestant ended, stood still, or its outputs are not what they must be."""


@dataclass(frozen=True, slots=True)
class Drained:
    """Asset-ticks a second, the seconds that it is taken from, and a digest of all outputs."""

    rate: float
    seconds: float
    digest: str


def fresh(cluster: Cluster, inputs: Inputs, name: str, *, turns: int = 0, folder: str = "") -> Job:
    """A job with names of its own, its output and state topics made."""
    tag = f"{name}-{uuid.uuid4().hex[:8]}"
    job = Job(
        bootstrap=cluster.bootstrap,
        tag=tag,
        inputs=inputs.topic,
        outputs=f"regimes-{tag}",
        state=f"state-{tag}",
        turns=turns,
        packed=inputs.packed,
        folder=f"{folder}/{tag}" if folder else "",
    )
    cluster.create({job.outputs: STAMPED, job.state: COMPACTED})
    return job


def drain(
    cluster: Cluster, job: Job, start: Callable[[Job], Running], inputs: Inputs, assets: int
) -> Drained:
    """Run a contestant over a full topic, and kill it as soon as all offsets are committed.

    Raises
    ------
    DrainFailed
        Outputs are missing, doubled or out of order, or offsets are not committed to the end.
    """
    running = start(job)
    try:
        wait(cluster, job, running, inputs.records)
    finally:
        running.kill()
    outputs = visible(cluster, job, inputs.bars)
    check(job, outputs, inputs.bars)
    return Drained(*rate(outputs, assets), digest([r.value for r in outputs]))


def visible(cluster: Cluster, job: Job, bars: int) -> list[Record]:
    """What is committed on the output topic: the marker on it may come a moment after that on the offsets."""
    end = time.monotonic() + MARKER_SECONDS
    while len(outputs := cluster.read(job.outputs)) < bars and time.monotonic() < end:
        time.sleep(WATCH)
    return outputs


def wait(cluster: Cluster, job: Job, running: Running, records: int, patience: float = PATIENCE) -> None:
    """Until everything is committed."""
    end, before = time.monotonic() + patience, -1
    while (now := cluster.committed(job.tag, job.inputs)) < records:
        if not running.alive():
            raise DrainFailed(f"{job.tag} ended after {now} of {records} records: {running.last_words()}")
        if time.monotonic() > end:
            raise DrainFailed(f"{job.tag} stands at {now} of {records} records: {running.last_words()}")
        if now != before:
            end, before = time.monotonic() + patience, now
        time.sleep(WATCH)


def check(job: Job, outputs: list[Record], bars: int) -> None:
    """Every bar once, in order."""
    read, update = fastavro.schemaless_reader, schema("regime_update")
    found = [read(io.BytesIO(r.value), update, None)["bar"] for r in outputs]
    if found != list(range(bars)):
        lost = sorted(set(range(bars)) - set(found))
        raise DrainFailed(
            f"{job.tag}: {len(found)} outputs where {bars} bars were to come, once each in order; "
            f"{len(lost)} are missing" + (f", from {lost[0]} to {lost[-1]}" if lost else "")
        )


def rate(outputs: list[Record], assets: int) -> tuple[float, float]:
    """Asset-ticks a second of the steady state, and how long it was."""
    times = [r.milliseconds for r in outputs]
    first = sum(t <= times[0] + SETTLED for t in times) - 1
    seconds = (times[-1] - times[first]) / 1e3
    if seconds <= 0.0:
        raise DrainFailed("too few records: everything came out at once")
    return (len(times) - 1 - first) * assets / seconds, seconds


def digest(values: list[bytes]) -> str:
    """Of all outputs, in order."""
    total = hashlib.sha256()
    for value in values:
        total.update(value)
    return total.hexdigest()
