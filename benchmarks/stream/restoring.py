"""Seconds until a fresh worker has its state back: 500 assets, two years of days and a day of minutes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import workload
from benchmarks.stream import ours
from benchmarks.stream.cluster import Cluster
from benchmarks.stream.contestants import ROOT, fork
from benchmarks.stream.drain import DrainFailed, fresh, wait
from benchmarks.stream.inputs import fill
from stream_allocator.events import ReturnEvent
from stream_allocator.stream.topics import create
from stream_allocator.topology import Worker

__all__ = ["BARS", "Restore", "default_tail", "restore"]

ASSETS = 500
DAILY, MINUTES = 504, 390
BARS = DAILY + MINUTES
MINUTE = 60_000_000
PATIENCE = 120.0
RESTORED = re.compile(r"restored partition=0 bars=(\d+) replayed=(\d+) .*seconds=([\d.]+)")


@dataclass(frozen=True, slots=True)
class Restore:
    """What the fresh worker's log says, and how long the state took to build in the first place."""

    bars: int
    replayed: int
    seconds: float
    building: float


def default_tail() -> int:
    """Bars between snapshots by default: the longest tail is one less, and what a batch adds."""
    return int(Worker().snapshot_bars)


def events(seed: int, bars: int) -> Iterator[ReturnEvent]:
    """Days, then minutes of the day after the last."""
    last = 0
    for bar, event in enumerate(workload.cross_sections(workload.universe(ASSETS), bars, seed)):
        if bar < DAILY:
            last = event.event_time
            yield event
        else:
            yield replace(event, event_time=last + workload.DAY // 2 + (bar - DAILY) * MINUTE)


def restore(cluster: Cluster, seed: int, snapshot_bars: int, bars: int) -> Restore:
    """Build the state with a snapshot after so many bars, end the worker as a crash would, start a fresh one.

    The fresh worker is ``stream-allocator run``; the seconds are those of its log line: commit metadata,
    snapshot, tail and digest, the compiled code's loading with it.
    """
    inputs = fill(cluster, "restore", events(seed, bars), bars)
    job = fresh(cluster, inputs, "restore")
    made = ours.place(job.bootstrap, job.tag, job.inputs, assets=ASSETS)
    create(made)
    begun = time.monotonic()
    running = fork(ours.run_prepared, job, ASSETS, {"snapshot_bars": snapshot_bars})
    try:
        wait(cluster, job, running, inputs.records)
    finally:
        running.stop()
    building = time.monotonic() - begun
    with tempfile.TemporaryDirectory() as folder:
        found = _fresh_worker(workload.save(made, Path(folder)))
    if int(found[1]) != bars:
        raise DrainFailed(f"{job.tag}: {found[1]} bars came back of {bars}")
    return Restore(int(found[1]), int(found[2]), float(found[3]), building)


def _fresh_worker(topology: Path) -> re.Match[str]:
    command = [sys.executable, "-m", "stream_allocator.cli", "run", "--topology", str(topology)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("STREAM_ALLOCATOR_")}
    log = topology.with_suffix(".log")
    with log.open("wb") as file:
        worker = subprocess.Popen(command, cwd=ROOT, env=env, stdout=file, stderr=file)
    try:
        end = time.monotonic() + PATIENCE
        while (found := RESTORED.search(log.read_text())) is None:
            if worker.poll() is not None or time.monotonic() > end:
                raise DrainFailed(f"no restore: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        return found
    finally:
        worker.kill()
        worker.wait()
