"""How cost grows with universes and assets, and what a deployment of a given size needs.

Seconds are of CPU, so that what else runs on the machine does not count. Points are measured in processes
of their own, fitted, turned into plans up to 10,000 universes and 10 million asset-ticks a second, and
checked at the largest size that fits here. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import last_line, show
from benchmarks.scale import bus
from benchmarks.scale.bus import BusPoint
from benchmarks.scale.capacity import Costs, Load, Needs, Site, needs
from benchmarks.scale.growth import Growth, fit
from benchmarks.scale.picture import draw
from benchmarks.scale.point import EVERY, Point, measure

MB, GB, TB = 1e6, 1e9, 1e12
#: (assets, universes, warm-up bars, bars). Run lengths are full after 256; at 2,000 assets they are a
#: fiftieth of the cost, and the prior's 60 bars are waited for alone.
POINTS = (
    (20, 1, 260, 42),
    (20, 10, 260, 42),
    (20, 200, 260, 21),
    (100, 1, 260, 42),
    (100, 10, 260, 42),
    (500, 1, 260, 42),
    (500, 10, 260, 21),
    (2000, 1, 70, 21),
    (2000, 3, 70, 21),
)
LARGEST = (500, 200, 260, 21)
#: (assets, universes, bars, bars between snapshots)
BUS = ((20, 1, 6000, 250), (50, 200, 300, 100), (500, 10, 300, 100))
QUICK_POINTS = ((20, 1, 70, 21), (20, 10, 70, 21), (100, 8, 70, 21), (200, 8, 70, 21))
QUICK_LARGEST = (200, 25, 70, 21)
QUICK_BUS = ((50, 8, 80, 50),)
#: (universes, assets, asset-ticks a second)
LOADS = (
    (10, 500, 5_000.0),
    (100, 50, 100_000.0),
    (200, 500, 100_000.0),
    (1_000, 50, 1_000_000.0),
    (10_000, 50, 1_000_000.0),
    (10_000, 50, 10_000_000.0),
    (10_000, 500, 10_000_000.0),
)


@dataclass(frozen=True)
class Check:
    """The largest size: what the model says, and what was measured."""

    point: Point
    costs: Costs

    def rows(self) -> list[tuple[str, float, float]]:
        """What, predicted, measured: asset-ticks a CPU second, MB of a universe, MB of its snapshot."""
        p, costs = self.point, self.costs
        share = p.decisions / (p.bars * p.universes)
        predicted = p.assets / (costs.bar(p.assets) + share * costs.decision(p.assets))
        extra = 0.0 if np.isnan(p.decision_seconds) else p.decision_seconds
        return [
            ("asset-ticks a second of CPU", predicted, p.assets / (p.bar_seconds + share * extra)),
            ("memory of all universes, MB", p.universes * costs.resident(p.assets) / MB, self._memory()),
            (
                "one snapshot of all, MB",
                p.universes * costs.state(p.assets) / MB,
                p.universes * p.state_bytes / MB,
            ),
        ]

    def _memory(self) -> float:
        return self.point.universes * self.point.resident_bytes / MB


def costs_of(points: Sequence[Point], through: Sequence[BusPoint]) -> Costs:
    """Fit every cost to the points."""
    n = [p.assets for p in points]

    def of(name: str) -> Growth:
        return fit(n, [getattr(p, name) for p in points])

    bar, decision, snapshot = of("bar_seconds"), of("decision_seconds"), of("snapshot_seconds")
    wide = [b.assets for b in through]
    rest = [b.worker_seconds - _in_memory(b, bar, decision, snapshot) for b in through]
    resident = of("resident_bytes")
    bare = [b.resident_bytes - b.universes * resident(b.assets) for b in through]
    return Costs(
        bar=bar,
        decision=decision,
        snapshot=snapshot,
        restore=of("restore_seconds"),
        # a difference of two measurements may come out below nothing; then nothing is seen of it
        bus=fit(wide, [max(seconds, 1e-6) for seconds in rest]),
        broker=fit(wide, [b.broker_seconds for b in through]),
        resident=resident,
        state=of("state_bytes"),
        returns=fit(wide, [b.returns_bytes for b in through]),
        outputs=of("output_bytes"),
        decisions=of("decision_bytes"),
        process=float(np.median(np.maximum(bare, 0.0))),
    )


def _in_memory(b: BusPoint, bar: Growth, decision: Growth, snapshot: Growth) -> float:
    """What the engine's part of a point through Kafka takes, by the fits."""
    decided = max(0, 1 + (b.bars - 60) // EVERY) / b.bars
    saved = (b.bars // b.snapshot_bars) / b.bars
    return bar(b.assets) + decided * decision(b.assets) + saved * snapshot(b.assets)


def main() -> int:
    """Measure, fit, plan, check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller points: within a minute")
    parser.add_argument("--picture", type=Path, help="where the figure goes, as SVG")
    chosen = parser.parse_args()
    quick = chosen.quick
    points = []
    for size in QUICK_POINTS if quick else POINTS:
        points.append(measure(*size))
        print(f"measured {size[1]} universes of {size[0]} assets", flush=True)
    through = []
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        for i, point in enumerate(QUICK_BUS if quick else BUS):
            through.append(bus.measure(Path(scratch, str(i)), *point))
            print(f"measured {point[1]} universes of {point[0]} assets through Kafka", flush=True)
    costs = costs_of(points, through)
    _show_points(points)
    _show_bus(through)
    _show_costs(costs)
    plans = _show_plans(costs)
    check = Check(measure(*(QUICK_LARGEST if quick else LARGEST)), costs)
    rows = [[what, said, seen, said / seen] for what, said, seen in check.rows()]
    p = check.point
    show(
        f"The model at {p.universes} universes of {p.assets} assets, which it was not fitted to",
        ("", "predicted", "measured", "ratio"),
        rows,
        note="200 universes of 2,000 assets would need "
        f"{200 * costs.resident(2000) / GB:.0f} GB: beyond this machine, and so said by the model alone",
    )
    if chosen.picture is not None:
        draw([*points, check.point], costs, chosen.picture)
    largest = through[-1] if quick else through[1]
    site = Site()
    last_line(
        {
            "bar_us_n20": 1e6 * costs.bar(20),
            "bar_us_n500": 1e6 * costs.bar(500),
            "bar_us_n2000": 1e6 * costs.bar(2000),
            "bus_us_n50": 1e6 * costs.bus(50),
            "memory_mb_n20": costs.resident(20) / MB,
            "memory_mb_n500": costs.resident(500) / MB,
            "memory_mb_n2000": costs.resident(2000) / MB,
            "snapshot_mb_n500": costs.state(500) / MB,
            "restore_s_a_universe_n500": costs.restore(500),
            "rebalance_s": largest.rebalance_seconds,
            "check_throughput_ratio": rows[0][3],
            "check_memory_ratio": rows[1][3],
            "check_snapshot_ratio": rows[2][3],
            "workers_10m": plans[5].workers,
            "brokers_10m": plans[5].brokers,
            "snapshot_share_10m": plans[5].snapshots
            / (plans[5].inward + plans[5].outward + plans[5].snapshots),
            "snapshot_bars": site.snapshot_bars,
        }
    )
    return 0


def _show_points(points: Sequence[Point]) -> None:
    rows = [
        [
            *(p.assets, p.universes, 1e6 * p.bar_seconds, 1e6 * p.decision_seconds, p.resident_bytes / MB),
            *(p.state_bytes / MB, 1e3 * p.snapshot_seconds, 1e3 * p.restore_seconds, 1e6 * p.digest_seconds),
        ]
        for p in points
    ]
    columns = ("assets", "universes", "bar, us", "decision adds, us", "memory, MB")
    columns += ("snapshot, MB", "taken in, ms", "restored in, ms", "digest, us")
    show("In memory: CPU, and bytes of a universe", columns, rows)


def _show_bus(through: Sequence[BusPoint]) -> None:
    rows = [
        [
            *(b.assets, b.universes, 1e6 * b.worker_seconds, 1e6 * b.broker_seconds, b.wall_rate),
            *(b.returns_bytes, b.output_bytes, b.snapshot_bytes, b.resident_bytes / MB),
            *(b.restore_seconds, b.restore_replayed, b.rebalance_seconds),
        ]
        for b in through
    ]
    columns = ("assets", "univ.", "worker CPU, us", "broker CPU, us", "asset-ticks/s, wall")
    columns += ("returns, B", "outputs, B", "snapshots, B", "worker, MB")
    columns += ("restore, s", "replayed", "rebalance, s")
    show("Through Kafka, one worker: of each cross-section, decisions and snapshots included", columns, rows)


def _show_costs(costs: Costs) -> None:
    names = ("bar", "decision", "snapshot", "restore", "bus", "broker", "resident", "state")
    rows: list[list[object]] = []
    for name in (*names, "returns", "outputs", "decisions"):
        growth: Growth = getattr(costs, name)
        rows.append([name, growth.constant, growth.linear, growth.quadratic, 100 * growth.worst])
    rows.append(["process", costs.process, 0.0, 0.0, 0.0])
    columns = ("", "constant", "x n", "x n^2", "worst error, %")
    show("The model: seconds of CPU, and bytes", columns, rows)


def _show_plans(costs: Costs) -> list[Needs]:
    rows, plans = [], []
    for universes, assets, ticks in LOADS:
        plan = needs(Load(universes, assets, ticks), costs)
        plans.append(plan)
        rows.append(
            [
                *(universes, assets, ticks, plan.workers, plan.memory / GB, plan.partitions, plan.brokers),
                *(plan.inward / MB, plan.outward / MB, plan.snapshots / MB, plan.disk / TB, plan.restore),
                round(plan.month),
            ]
        )
    columns = ("universes", "assets", "ticks/s", "workers", "GB each", "partitions", "brokers", "in")
    columns += ("out", "snaps", "disk, TB", "back in, s", "$ a month")
    site = Site()
    note = (
        f"in, out, snapshots in MB/s; a decision every {site.every} bars, a snapshot every "
        f"{site.snapshot_bars}, workers half busy, {site.replication} replicas, {site.days:.0f} days kept"
    )
    show("What a deployment needs", columns, rows, note=note)
    return plans


if __name__ == "__main__":
    sys.exit(main())
