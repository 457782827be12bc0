"""Our worker as a contestant: `Session` polled until the process is killed."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from benchmarks import workload
from benchmarks.stream.bare import BareEngine
from benchmarks.stream.job import Job
from stream_allocator.engine import Engine
from stream_allocator.stream.session import Session
from stream_allocator.telemetry import Telemetry
from stream_allocator.topology import Topology

__all__ = ["place", "run_bare", "run_partitions", "run_prepared", "run_whole", "session"]


def place(
    bootstrap: str, tag: str, inputs: str, *, assets: int = 50, partitions: int = 1, **worker: Any
) -> Topology:
    """A topology with a universe for each partition, topics of its own, but returns from ``inputs``."""
    made = workload.topology(assets, partitions, partitions, bootstrap, tag=tag, **{"group": tag, **worker})
    topics = made.topics.model_copy(update={"returns": inputs})
    return made.model_copy(update={"topics": topics})


def session(topology: Topology, instance: str, engine: type[Engine] = Engine) -> Session:
    """As the worker makes it, without telemetry."""
    return Session(
        topology,
        instance,
        static=False,
        telemetry=Telemetry("none", instance),
        progress=lambda: None,
        engine=engine,
    )


def run_bare(job: Job) -> None:
    """With the kernel in place of the engine."""
    BareEngine.turns = job.turns
    _poll(job, BareEngine)  # type: ignore[arg-type]  # it has what a shard asks of an engine


def run_whole(job: Job) -> None:
    """With the engine."""
    _poll(job, Engine)


def run_prepared(job: Job, assets: int, worker: dict[str, Any]) -> None:
    """With the engine, more assets and other settings of the worker."""
    _poll(job, Engine, assets=assets, **worker)


def run_partitions(job: Job, partitions: int) -> None:
    """With the engine, one of as many workers as there are partitions."""
    _poll(job, Engine, partitions=partitions)


def _poll(job: Job, engine: type[Engine], **where: Any) -> None:
    """Until SIGTERM, after which the group is left without a snapshot, as after a crash."""
    logging.basicConfig(level=logging.WARNING)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    worker = session(place(job.bootstrap, job.tag, job.inputs, **where), f"w{os.getpid()}", engine)
    while not stopped:
        worker.poll()
    worker.close()
