"""One point through Kafka: a worker process, its broker, and what both take for the same records."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from confluent_kafka import Producer

from benchmarks import workload
from benchmarks.brokers import LocalKafka
from benchmarks.soak.fleet import Worker
from benchmarks.soak.samples import LagWatch, Usage, usage_of
from stream_allocator.codec import Codec
from stream_allocator.events import PackedReturnEvent
from stream_allocator.packed import asset_order
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.topics import create
from stream_allocator.topology import Topology

__all__ = ["BusPoint", "BusSize", "Transactions", "measure"]

PARTITIONS = 4
SECONDS = 600.0
IDLE_SECONDS, WARM_SECONDS, STEADY_SECONDS, STEADY_RATE = 2.0, 3.0, 5.0, 400.0
MOVE = re.compile(r"^(\S+ \S+) INFO \S+ (restored|kept|revoked) partition=(\d+)")
RESTORED = re.compile(r"restored partition=\d+ bars=(\d+) replayed=(\d+) digest=\S+ seconds=(\S+)")
OUTPUTS = ("regimes", "allocations", "evidence", "audit")


@dataclass(frozen=True, slots=True)
class BusSize:
    """What is measured: so many bars wait, the last ``counted`` of each universe count.

    ``steady``: whether transactions are measured too, at a steady rate after the backlog.
    """

    assets: int
    universes: int
    bars: int
    counted: int
    snapshot_bars: int
    steady: bool = False


@dataclass(frozen=True, slots=True)
class Transactions:
    """What transactions take at a steady rate, beyond what their records do.

    Attributes
    ----------
    rate : float
        Of one worker, a second.
    worker_seconds, broker_seconds : float
        CPU of one that touches all four partitions.
    """

    rate: float
    worker_seconds: float
    broker_seconds: float


@dataclass(frozen=True, slots=True)
class BusPoint:
    """What was measured, through a worker with four partitions.

    Attributes
    ----------
    size : BusSize
    worker_seconds, broker_seconds : float
        CPU of a cross-section, over a backlog.
    wall_rate : float
        Asset-ticks a second, wall time: whatever else ran on the machine is in it.
    resident_bytes : float
        Of the worker, after the backlog.
    returns_bytes, output_bytes, snapshot_bytes : float
        On the broker's disk, a cross-section; snapshots as they were taken.
    restore_seconds : float
        Wall time of restoring all partitions after SIGKILL; ``restore_replayed`` records were replayed.
    restore_replayed : int
    rebalance_seconds : float
        Wall time from the first revocation to the last partition taken up, when a second worker joins.
    transactions : Transactions or None
    """

    size: BusSize
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
    transactions: Transactions | None


class _Feed:
    """Packed cross-sections of every universe in turn, dealt out to the partitions.

    Each universe's are a multiple of the same, or brokers would compress them to nothing.
    """

    def __init__(self, topology: Topology, bars: int) -> None:
        self._topic, self._names = topology.topics.returns, [u.name for u in topology.universes]
        self._producer, codec = (
            Producer(producer_settings(topology) | {"log_level": 0}),
            Codec(topology.wire.schema_ids),
        )
        assets = topology.universes[0].assets
        self._records = self._frame(codec, asset_order(assets), workload.returns(len(assets), bars, 1))

    def _frame(
        self, codec: Codec, order: bytes, returns: Iterator[workload.Array]
    ) -> Iterator[tuple[int, str, bytes, list[tuple[str, bytes]]]]:
        for bar, x in enumerate(returns):
            when = workload.START + bar * workload.DAY
            for i, name in enumerate(self._names):
                packed = (x * (0.8 + 0.4 * i / len(self._names))).astype("<f8").tobytes()
                yield i, name, *codec.frame(PackedReturnEvent(name, "feed", bar, when, order, packed))

    def send(self, records: int, rate: float = 0.0) -> None:
        """The next so many, so many a second (0: at once); all are delivered when it returns."""
        begun = time.monotonic()
        for sent in range(records):
            i, name, value, headers = next(self._records)
            while True:
                try:
                    self._producer.produce(
                        self._topic, value, key=name, headers=headers, partition=i % PARTITIONS
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            if rate:
                time.sleep(max(0.0, begun + (sent + 1) / rate - time.monotonic()))
                self._producer.poll(0)
        if self._producer.flush(120):
            raise RuntimeError("what was fed was not delivered in time")


def measure(folder: Path, size: BusSize) -> BusPoint:
    """A point on a broker of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with LocalKafka(folder / "broker") as broker:
        topology = workload.topology(
            size.assets,
            size.universes,
            PARTITIONS,
            broker.bootstrap_servers,
            tag=f"{size.universes}x{size.assets}",
            snapshot_bars=size.snapshot_bars,
            max_ahead_seconds=None,
        )
        path = workload.save(topology, folder)
        create(topology)
        more = round(STEADY_RATE * (WARM_SECONDS + STEADY_SECONDS))
        feed = _Feed(topology, size.bars + (-(-more // size.universes) if size.steady else 0))
        feed.send(size.bars * size.universes)
        workers = [Worker(name, path, folder) for name in ("first", "second")]
        watch = LagWatch(topology)
        try:
            return _measure(broker, topology, workers, watch, feed, size)
        finally:
            watch.close()
            for worker in workers:
                worker.kill()


def _measure(
    broker: LocalKafka,
    topology: Topology,
    workers: list[Worker],
    watch: LagWatch,
    feed: _Feed,
    size: BusSize,
) -> BusPoint:
    first, second = workers
    records = size.universes * size.bars

    def lag() -> int:
        first.check()
        return records if watch.lag is None else sum(watch.lag.values())

    first.start()
    _until(lambda: lag() <= size.counted * size.universes)
    begun, left = time.monotonic(), lag()
    worker_before, broker_before = _usage(first.pid), _usage(broker.pid)
    _until(lambda: lag() == 0)
    wall = time.monotonic() - begun
    if not left:
        raise RuntimeError("the backlog was gone before its measurement began: let more of it count")
    usage, broker_usage = _usage(first.pid), _usage(broker.pid)
    each = (usage.cpu_seconds - worker_before.cpu_seconds) / left
    broker_each = (broker_usage.cpu_seconds - broker_before.cpu_seconds) / left
    sizes = _sizes(broker.directory / "data", topology)
    transactions = None
    if size.steady:
        transactions = _steady(topology, feed, lag, (first.pid, broker.pid), (each, broker_each))
    first.kill()
    seen = first.log.stat().st_size
    first.start()
    _until(lambda: first.check() is None and len(RESTORED.findall(_after(first.log, seen))) >= PARTITIONS)
    back = RESTORED.findall(_after(first.log, seen))
    mark = first.log.stat().st_size
    second.start()

    def moves() -> list[tuple[datetime, str, int]]:
        first.check(), second.check()
        return _moves(_after(first.log, mark)) + _moves(_after(second.log, 0))

    _until(lambda: {p for _, what, p in moves() if what != "revoked"} == set(range(PARTITIONS)))
    moments = [when for when, *_ in moves()]
    return BusPoint(
        size=size,
        worker_seconds=each,
        broker_seconds=broker_each,
        wall_rate=left * size.assets / wall,
        resident_bytes=float(usage.rss),
        returns_bytes=sizes["returns"] / records,
        output_bytes=sum(sizes[role] for role in OUTPUTS) / records,
        snapshot_bytes=sizes["snapshots"] / records,
        restore_seconds=sum(float(seconds) for _, _, seconds in back),
        restore_replayed=sum(int(replayed) for _, replayed, _ in back),
        rebalance_seconds=(max(moments) - min(moments)).total_seconds(),
        transactions=transactions,
    )


def _steady(
    topology: Topology,
    feed: _Feed,
    lag: Callable[[], int],
    pids: tuple[int | None, int | None],
    each: tuple[float, float],
) -> Transactions:
    """Cross-sections at a steady rate: the CPU beyond that of idling and of as many from a backlog."""

    def cpu() -> tuple[float, float]:
        return _usage(pids[0]).cpu_seconds, _usage(pids[1]).cpu_seconds

    def spent(act: Callable[[], object]) -> tuple[float, list[float]]:
        begun, before = time.monotonic(), cpu()
        act()
        return time.monotonic() - begun, [b - a for a, b in zip(before, cpu(), strict=True)]

    feed.send(round(STEADY_RATE * WARM_SECONDS), STEADY_RATE)  # the broker's code is compiled as it is used
    _until(lambda: lag() == 0)
    records = round(STEADY_RATE * STEADY_SECONDS)
    idle_wall, idle = spent(lambda: time.sleep(IDLE_SECONDS))
    before = _ends(topology)
    wall, taken = spent(lambda: (feed.send(records, STEADY_RATE), _until(lambda: lag() == 0)))
    # every transaction leaves one record of the broker's own, its marker, in each partition that it touches
    markers = sum(_ends(topology)) - sum(before) - records
    count = max(1.0, markers / PARTITIONS)
    beyond = [t - wall / idle_wall * i - records * e for t, i, e in zip(taken, idle, each, strict=True)]
    return Transactions(count / wall, *(max(seconds, 0.0) / count for seconds in beyond))


def _ends(topology: Topology) -> list[int]:
    """The end of each partition of regime updates, of which each cross-section leads to one."""
    with TopicReader(topology) as reader:
        return [reader.bounds("regimes", p)[1] for p in range(PARTITIONS)]


def _sizes(data: Path, topology: Topology) -> dict[str, int]:
    """Bytes of each role's log segments, all partitions."""
    return {
        role: sum(f.stat().st_size for f in data.glob(f"{name}-[0-9]*/*.log"))
        for role, name in topology.topics.names.items()
    }


def _usage(pid: int | None) -> Usage:
    usage = usage_of(pid or 0)
    if usage is None:
        raise RuntimeError("a process that is measured has ended")
    return usage


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
