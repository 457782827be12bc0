"""What breaks first as a deployment grows, and what each remedy leaves of the needs.

A limit is a ratio: what a plan asks over what there is. A deployment grows by universes, each with the same
rate; a limit is met at the smallest number of universes where its ratio is one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.scale.capacity import Costs, Load, Needs, Site, needs

__all__ = ["LIMITS", "Crossing", "Limit", "crossings", "remedies", "snapshot_bars_within"]

#: Beyond so many members every rebalance of the classic protocol, which stops all of them, is felt.
MEMBERS = 100
#: A worker that died must be back within so many seconds.
RESTORE_SECONDS = 60.0
#: The smallest cluster; a limit that is about brokers is met when one cause takes half of it.
BROKERS = 3
UNIVERSES = np.unique(np.geomspace(1, 10_000, 400).astype(int))


@dataclass(frozen=True, slots=True)
class Limit:
    """What may break: its name, what a plan asks of it over what there is, and the remedy."""

    name: str
    ratio: Callable[[Needs, Site], float]
    remedy: str


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a limit is met on the way: universes (None: not within 10,000), and the ratio at the end."""

    limit: Limit
    universes: int | None
    at_end: float


LIMITS = (
    Limit(
        "snapshots take half of what three brokers write",
        lambda plan, site: 2 * site.replication * plan.snapshots / (BROKERS * site.broker_bandwidth),
        "fewer snapshots, kept for less long",
    ),
    Limit(
        "transactions take half of three brokers' CPU",
        lambda plan, site: 2 * plan.busy_commits / (BROKERS * site.broker_cores * site.utilisation),
        "longer transactions (batch_seconds)",
    ),
    Limit(
        f"{MEMBERS} workers in one group: a rebalance stops all",
        lambda plan, _: plan.workers / MEMBERS,
        "deployments side by side, each with topics and group of its own",
    ),
    Limit(
        f"a worker is back later than {RESTORE_SECONDS:.0f} s",
        lambda plan, _: plan.restore / RESTORE_SECONDS,
        "more workers, or more snapshots",
    ),
    Limit(
        "one universe needs all that a worker may use",
        lambda plan, site: plan.busiest_universe / site.utilisation,
        "none: a universe is not split; fewer assets or fewer ticks",
    ),
    Limit(
        "partition replicas of three brokers",
        lambda plan, site: 9 * plan.partitions * site.replication / (BROKERS * site.broker_replicas),
        "fewer partitions a worker",
    ),
)


def crossings(assets: int, rate: float, costs: Costs, site: Site) -> list[Crossing]:
    """Where each limit is met, the first first; ``rate`` is asset-ticks a second of each universe."""
    plans = [needs(Load(int(u), assets, rate * u), costs, site) for u in UNIVERSES]
    found = []
    for limit in LIMITS:
        ratios = np.array([limit.ratio(plan, site) for plan in plans])
        met = np.flatnonzero(ratios >= 1.0)
        found.append(Crossing(limit, int(UNIVERSES[met[0]]) if met.size else None, float(ratios[-1])))
    return sorted(found, key=lambda each: (each.universes or np.inf, -each.at_end))


def snapshot_bars_within(load: Load, costs: Costs, site: Site, seconds: float = RESTORE_SECONDS) -> int:
    """The most bars between snapshots, by doubling, with which a worker is still back in time."""
    bars = site.snapshot_bars
    while needs(load, costs, replace(site, snapshot_bars=2 * bars)).restore <= seconds and bars < 100_000:
        bars *= 2
    return bars


def remedies(load: Load, costs: Costs, site: Site) -> list[tuple[str, Site, Needs]]:
    """The needs as shipped, and after one remedy after another."""
    steps = [("as shipped", site)]
    bars = snapshot_bars_within(load, costs, site)
    site = replace(site, snapshot_bars=bars, lag_days=1 / 24)
    steps.append((f"a snapshot every {bars:,} bars, older ones compacted after an hour", site))
    site = replace(site, batch_seconds=0.1)
    steps.append(("and transactions of .1 s (latency grows by as much)", site))
    site = replace(site, days=7.0)
    steps.append(("and topics kept for 7 days, older ones in an archive", site))
    return [(name, each, needs(load, costs, each)) for name, each in steps]
