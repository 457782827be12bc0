"""What a deployment needs: workers, partitions, brokers, bandwidth, disk and money.

For U universes of n assets each and T asset-ticks a second, X = T/n cross-sections a second arrive. One takes

    c(n) = bar(n) + decision(n)/every + snapshot(n)/snapshot_bars + bus(n)        seconds of CPU

of a worker, which is one process and one core. It also commits k transactions a second, each worth ``commit``
seconds, so that (utilisation - k commit) of the core are left. Workers are the larger of X c(n) over that,
times what the busiest has above the mean, and of what memory asks. Keys fall on partitions by hash, so of U
universes on W workers the busiest has about 1 + sqrt(2 ln(W) W/U) times the mean (the largest of W Poisson
counts).

Brokers are the largest of three: what bandwidth asks, what CPU asks (cross-sections and transactions, once
for each replica), and what partition replicas ask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.scale.growth import Growth

__all__ = ["Costs", "Load", "Needs", "Site", "busiest", "needs"]

DAY, MONTH = 86_400.0, 30 * 86_400.0
MB, GB, TB = 1e6, 1e9, 1e12
TOPICS = 9


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, by the number of assets.

    Attributes
    ----------
    bar, decision, snapshot, restore : Growth
        Seconds of CPU: a cross-section, a decision beyond it, a universe's snapshot and its restore.
    bus : Growth
        Seconds of CPU of a worker for a cross-section that come and go through Kafka.
    broker : Growth
        Seconds of CPU of the broker for one, by the bytes that it leads to on disk, snapshots included.
    resident, state : Growth
        Bytes of a universe: in a worker's memory, and as snapshot.
    returns, outputs, decisions : Growth
        Bytes on disk and wire: a cross-section, what each leads to, what a decision adds.
    process : float
        Bytes of a worker without universes.
    commit, broker_commit : float
        Seconds of CPU of worker and broker for a transaction over four partitions.
    commit_wait : float
        Seconds that a transaction lasts beyond ``batch_seconds``.
    """

    bar: Growth
    decision: Growth
    snapshot: Growth
    restore: Growth
    bus: Growth
    broker: Growth
    resident: Growth
    state: Growth
    returns: Growth
    outputs: Growth
    decisions: Growth
    process: float
    commit: float = 0.0
    broker_commit: float = 0.0
    commit_wait: float = 0.0

    def cross_section(self, assets: int, site: Site) -> float:
        """Seconds of a worker's CPU for one cross-section, all in."""
        return (
            self.bar(assets)
            + self.decision(assets) / site.every
            + self.snapshot(assets) / site.snapshot_bars
            + self.bus(assets)
        )

    def written(self, assets: int, site: Site) -> tuple[float, float]:
        """Bytes written for one cross-section: what is kept, and snapshots."""
        kept = self.returns(assets) + self.outputs(assets) + self.decisions(assets) / site.every
        return kept, self.state(assets) / site.snapshot_bars


@dataclass(frozen=True, slots=True)
class Load:
    """Universes, assets of each, and asset-ticks a second of all."""

    universes: int
    assets: int
    asset_ticks: float

    @property
    def cross_sections(self) -> float:
        """A second, of all universes."""
        return self.asset_ticks / self.assets


@dataclass(frozen=True, slots=True)
class Site:
    """What is assumed of the place; everything here is a choice or a price, nothing is measured.

    Attributes
    ----------
    every : int
        Bars between decisions.
    snapshot_bars : int
    batch_seconds : float
        How long a transaction gathers records.
    utilisation : float
        Share of a core that a worker or broker may use: half, so that it catches up after a fault.
    worker_memory : float
        Bytes of a pod.
    replication : int
    readers : int
        Consumers of the outputs beside the workers' own input.
    days : float
        Retention of inputs and outputs.
    lag_days : float
        ``min.compaction.lag.ms`` of the snapshots topic: so long all of them are kept.
    broker_bandwidth : float
        Bytes a second that one broker takes in, and as many that it gives out.
    broker_cores : int
    broker_replicas : int
        Partition replicas of one broker.
    core_hour, memory_gb_hour, broker_hour, disk_gb_month : float
        US dollars.
    """

    every: int = 21
    snapshot_bars: int = 250
    batch_seconds: float = 0.01
    utilisation: float = 0.5
    worker_memory: float = 8 * GB
    replication: int = 3
    readers: int = 2
    days: float = 30.0
    lag_days: float = 7.0
    broker_bandwidth: float = 150 * MB
    broker_cores: int = 8
    broker_replicas: int = 4000
    core_hour: float = 0.04
    memory_gb_hour: float = 0.005
    broker_hour: float = 0.40
    disk_gb_month: float = 0.08


@dataclass(frozen=True, slots=True)
class Needs:
    """What a load needs at a site.

    Attributes
    ----------
    fits : bool
        False where one universe alone asks more than a core: it cannot be split.
    busiest_universe : float
        Share of a core that one universe takes.
    workers, partitions, brokers : int
    commits : float
        Transactions a second, of all workers.
    busy : float
        Cores that all brokers together spend on cross-sections, and on transactions ``busy_commits``.
    busy_commits : float
    memory : float
        Bytes of a worker.
    inward, outward, snapshots : float
        Bytes a second: returns, all that is published, and the snapshots beside.
    disk : float
        Bytes, all replicas.
    restore : float
        Seconds until a worker that died is back: its universes' states, and half of a snapshot's distance
        replayed for each.
    month : float
        US dollars.
    """

    fits: bool
    busiest_universe: float
    workers: int
    partitions: int
    brokers: int
    commits: float
    busy: float
    busy_commits: float
    memory: float
    inward: float
    outward: float
    snapshots: float
    disk: float
    restore: float
    month: float


def busiest(universes: int, workers: int) -> float:
    """How far the worker with the most universes is above the mean, as a factor."""
    return 1.0 if workers <= 1 else 1.0 + math.sqrt(2.0 * math.log(workers) * workers / universes)


def needs(load: Load, costs: Costs, site: Site = Site()) -> Needs:
    """What a load needs."""
    n, rate = load.assets, load.cross_sections
    each = costs.cross_section(n, site)
    often = 1.0 / (site.batch_seconds + costs.commit_wait)
    # a worker in need commits less often, with more in each: half of what it may use is always for the work
    cores = rate * each / max(site.utilisation - often * costs.commit, site.utilisation / 2)
    resident = load.universes * costs.resident(n)
    room = site.worker_memory - costs.process
    workers = max(1, math.ceil(cores), math.ceil(resident / room))
    while (
        workers < load.universes and busiest(load.universes, workers) * max(cores, resident / room) > workers
    ):
        workers = math.ceil(workers * 1.02)
    workers = min(workers, load.universes)
    partitions = min(load.universes, 4 * workers)
    kept, saved = costs.written(n, site)
    returns = rate * costs.returns(n)
    outputs, snapshots = rate * kept - returns, rate * saved
    written = returns + outputs + snapshots
    served = returns + site.readers * outputs + (site.replication - 1) * written
    commits = min(workers * often, rate)
    busy = site.replication * rate * costs.broker(kept + saved)
    busy_commits = site.replication * commits * costs.broker_commit
    brokers = max(
        site.replication,
        math.ceil(max(site.replication * written, served) / site.broker_bandwidth),
        math.ceil((busy + busy_commits) / site.utilisation / site.broker_cores),
        math.ceil(TOPICS * partitions * site.replication / site.broker_replicas),
    )
    disk = site.replication * (
        (returns + outputs) * site.days * DAY
        + snapshots * site.lag_days * DAY
        + load.universes * costs.state(n)
    )
    mine = load.universes / workers * busiest(load.universes, workers)
    tail = site.snapshot_bars / 2 * (costs.bar(n) + costs.decision(n) / site.every)
    memory = costs.process + mine * costs.resident(n)
    hours = MONTH / 3600.0
    month = hours * (
        workers * (site.core_hour + memory / GB * site.memory_gb_hour) + brokers * site.broker_hour
    )
    return Needs(
        fits=rate / load.universes * each <= 1.0,
        busiest_universe=rate / load.universes * each,
        workers=workers,
        partitions=partitions,
        brokers=brokers,
        commits=commits,
        busy=busy,
        busy_commits=busy_commits,
        memory=memory,
        inward=returns,
        outward=outputs,
        snapshots=snapshots,
        disk=disk,
        restore=mine * (costs.restore(n) + tail),
        month=month + disk / GB * site.disk_gb_month,
    )
