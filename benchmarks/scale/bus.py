"""One point through Kafka: a worker process, its broker, and what both take for the same records."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from confluent_kafka import Producer

from benchmarks import workload
from benchmarks.brokers import LocalKafka
from benchmarks.soak.fleet import Worker
from benchmarks.soak.samples import LagWatch, usage_of
from stream_allocator.codec import Codec
from stream_allocator.events import PackedReturnEvent
from stream_allocator.packed import asset_order
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.topics import create
from stream_allocator.topology import Topology

__all__ = ["BusPoint", "measure"]

PARTITIONS = 4
SECONDS = 600.0
MOVE = re.compile(r"^(\S+ \S+) INFO \S+ (restored|kept|revoked) partition=(\d+)")
RESTORED = re.compile(r"restored partition=\d+ bars=(\d+) replayed=(\d+) digest=\S+ seconds=(\S+)")


@dataclass(frozen=True, slots=True)
class BusPoint:
    """What was measured, through a worker with four partitions.

    Attributes
    ----------
    assets, universes, bars, snapshot_bars : int
    worker_seconds, broker_seconds : float
        CPU of a cross-section, over a backlog.
    wall_rate : float
        Asset-ticks a second, wall time: whatever else ran on the machine is in it.
    resident_bytes : float
        Of the worker, at the end.
    returns_bytes, output_bytes, snapshot_bytes : float
        On the broker's disk, a cross-section; snapshots as they were taken.
    restore_seconds : float
        Wall time of restoring all partitions after SIGKILL; ``restore_replayed`` records were replayed.
    rebalance_seconds : float
        Wall time from the first revocation to the last partition taken up, when a second worker joins.
    """

    assets: int
    universes: int
    bars: int
    snapshot_bars: int
    worker_seconds: float
    broker_seconds: float
    wall_rate: float
    resident_bytes: float
    returns_bytes: float
    output_bytes: float
    snapshot_bytes: float
    restore_seconds: float
    restore_replayed: int
    rebalance_seconds: float


def measure(folder: Path, assets: int, universes: int, bars: int, snapshot_bars: int) -> BusPoint:
    """A point on a broker of its own; the first tenth of the backlog is not counted."""
    folder.mkdir(parents=True, exist_ok=True)
    with LocalKafka(folder / "broker") as broker:
        topology = workload.topology(
            assets,
            universes,
            PARTITIONS,
            broker.bootstrap_servers,
            tag=f"{universes}x{assets}",
            snapshot_bars=snapshot_bars,
            max_ahead_seconds=None,
        )
        path = workload.save(topology, folder)
        create(topology)
        _fill(topology, bars)
        workers = [Worker(name, path, folder) for name in ("first", "second")]
        watch = LagWatch(topology)
        try:
            return _measure(broker, topology, workers, watch, bars)
        finally:
            watch.close()
            for worker in workers:
                worker.kill()


def _measure(
    broker: LocalKafka, topology: Topology, workers: list[Worker], watch: LagWatch, bars: int
) -> BusPoint:
    first, second = workers
    universes, assets = len(topology.universes), len(topology.universes[0].assets)
    records = universes * bars

    def lag() -> int:
        first.check()
        return records if watch.lag is None else sum(watch.lag.values())

    first.start()
    _until(lambda: lag() < 0.9 * records)
    begun, left = time.monotonic(), lag()
    before, broker_before = _cpu(first.pid), _cpu(broker.pid)
    _until(lambda: lag() == 0)
    wall, worker_cpu = time.monotonic() - begun, _cpu(first.pid) - before
    broker_cpu = _cpu(broker.pid) - broker_before
    usage = usage_of(first.pid or 0)
    sizes = _sizes(broker.directory / "data", topology)
    first.kill()
    seen = first.log.stat().st_size
    first.start()
    _until(lambda: len(RESTORED.findall(_after(first.log, seen))) >= PARTITIONS)
    back = RESTORED.findall(_after(first.log, seen))
    mark = first.log.stat().st_size
    second.start()

    def moves() -> list[tuple[datetime, str, int]]:
        first.check(), second.check()
        return _moves(_after(first.log, mark)) + _moves(_after(second.log, 0))

    _until(lambda: {p for _, what, p in moves() if what != "revoked"} == set(range(PARTITIONS)))
    moments = [when for when, *_ in moves()]
    return BusPoint(
        assets=assets,
        universes=universes,
        bars=bars,
        snapshot_bars=topology.worker.snapshot_bars,
        worker_seconds=worker_cpu / left,
        broker_seconds=broker_cpu / left,
        wall_rate=left * assets / wall,
        resident_bytes=float(usage.rss) if usage else np.nan,
        returns_bytes=sizes["returns"] / records,
        output_bytes=sum(sizes[r] for r in ("regimes", "allocations", "evidence", "audit")) / records,
        snapshot_bytes=sizes["snapshots"] / records,
        restore_seconds=sum(float(seconds) for _, _, seconds in back),
        restore_replayed=sum(int(replayed) for _, replayed, _ in back),
        rebalance_seconds=(max(moments) - min(moments)).total_seconds(),
    )


def _fill(topology: Topology, bars: int) -> None:
    """The backlog: packed cross-sections of every universe in turn, dealt out to the partitions."""
    producer, codec = Producer(producer_settings(topology)), Codec(topology.wire.schema_ids)
    order = asset_order(topology.universes[0].assets)
    names = [u.name for u in topology.universes]
    for bar, x in enumerate(workload.returns(len(topology.universes[0].assets), bars, 1)):
        when, packed = workload.START + bar * workload.DAY, x.astype("<f8").tobytes()
        for i, name in enumerate(names):
            event = PackedReturnEvent(name, "feed", bar, when, order, packed)
            value, headers = codec.frame(event)
            while True:
                try:
                    producer.produce(
                        topology.topics.returns, value, key=name, headers=headers, partition=i % PARTITIONS
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("the backlog was not delivered in time")


def _sizes(data: Path, topology: Topology) -> dict[str, int]:
    """Bytes of each role's log segments, all partitions."""
    return {
        role: sum(f.stat().st_size for f in data.glob(f"{name}-[0-9]*/*.log"))
        for role, name in topology.topics.names.items()
    }


def _cpu(pid: int | None) -> float:
    usage = usage_of(pid or 0)
    if usage is None:
        raise RuntimeError("a process that is measured has ended")
    return usage.cpu_seconds


def _after(log: Path, mark: int) -> str:
    with log.open("rb") as file:
        file.seek(mark)
        return file.read().decode(errors="replace")


def _moves(log: str) -> list[tuple[datetime, str, int]]:
    """When a partition was revoked, restored or kept, as a worker's log tells."""
    found = [m.groups() for line in log.splitlines() if (m := MOVE.match(line))]
    return [(datetime.fromisoformat(when.replace(",", ".")), what, int(p)) for when, what, p in found]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {SECONDS:g} s")
        time.sleep(0.05)
