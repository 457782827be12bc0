"""The tables of a run, for the terminal and for docs/scale.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.page import Table
from benchmarks.scale.bus import BusPoint
from benchmarks.scale.capacity import Costs, Load, Needs, Site, needs
from benchmarks.scale.growth import Growth
from benchmarks.scale.limits import crossings, remedies
from benchmarks.scale.model import Row
from benchmarks.scale.point import Point

__all__ = [
    "LOADS",
    "breaks_table",
    "check_table",
    "costs_table",
    "growth_table",
    "plans_table",
    "points_table",
    "remedies_table",
    "through_tables",
]

MB, GB, TB = 1e6, 1e9, 1e12
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
#: Assets and asset-ticks a second of each universe, on the way to 10,000 of them.
WAYS = ((50, 1000.0), (500, 1000.0))


def points_table(points: Sequence[Point]) -> Table:
    """What was measured in memory."""
    rows = [
        [
            *(p.assets, p.universes, 1e6 * p.bar_seconds, 1e3 * p.decision_seconds, p.resident_bytes / MB),
            *(p.state_bytes / MB, 1e3 * p.snapshot_seconds, 1e3 * p.restore_seconds, 1e6 * p.digest_seconds),
        ]
        for p in points
    ]
    columns = ("assets", "universes", "bar, µs", "decision adds, ms", "memory, MB", "snapshot, MB")
    columns += ("taken, ms", "restored, ms", "digest, µs")
    note = "Bar, decision, snapshot and restore: CPU; memory and snapshot: of one universe; digest: of all"
    return Table("One worker's part in memory", columns, rows, note)


def growth_table(points: Sequence[Point], costs: Costs) -> Table:
    """How each cost grows: with universes as measured, with assets as fitted."""
    rows: list[list[object]] = []
    for n in sorted({p.assets for p in points}):
        mine = sorted((p for p in points if p.assets == n), key=lambda p: p.universes)
        for p in mine[1:]:
            what = f"bar of {n} assets: {mine[0].universes} to {p.universes} universes"
            rows.append([what, p.universes / mine[0].universes, p.bar_seconds / mine[0].bar_seconds])
    for what, growth in (
        ("bar", costs.bar),
        ("decision", costs.decision),
        ("memory", costs.resident),
        ("snapshot", costs.state),
    ):
        for a, b in ((20, 500), (500, 2000)):
            rows.append([f"{what}: {a} to {b} assets", b / a, growth(b) / growth(a)])
    exponents = [[*row, float(np.log(float(row[2])) / np.log(float(row[1])))] for row in rows]  # type: ignore[arg-type]
    columns = ("", "size grows by", "cost by", "exponent")
    return Table("How cost grows", columns, exponents, "Exponent 0: not at all, 1: in proportion, 2: squared")


def through_tables(through: Sequence[BusPoint]) -> list[Table]:
    """What was measured through Kafka: of a cross-section, and of all."""
    each = [
        [
            *(b.size.assets, b.size.universes, 1e6 * b.worker_seconds, 1e6 * b.broker_seconds),
            *(b.wall_rate, b.returns_bytes, b.output_bytes, b.snapshot_bytes),
        ]
        for b in through
    ]
    columns = ("assets", "universes", "worker CPU, µs", "broker CPU, µs", "asset-ticks/s, wall")
    columns += ("returns, B", "outputs, B", "snapshots, B")
    note = "A backlog; decisions and snapshots included; bytes on the broker's disk, of one replica"
    whole = [
        [
            *(b.size.assets, b.size.universes, b.resident_bytes / MB, b.restore_seconds, b.restore_replayed),
            b.rebalance_seconds,
        ]
        for b in through
    ]
    names = ("assets", "universes", "worker, MB", "restore after SIGKILL, s", "records replayed")
    names += ("rebalance when a second joins, s",)
    tables = [
        Table("Through Kafka, one worker, four partitions: a cross-section", columns, each, note),
        Table("The same workers: memory, restore, rebalance", names, whole),
    ]
    steady = [
        [
            *(b.size.assets, b.size.universes, t.rate, 1e3 * t.worker_seconds, 1e3 * t.broker_seconds),
        ]
        for b in through
        if (t := b.transactions) is not None
    ]
    columns = ("assets", "universes", "transactions/s", "worker CPU, ms", "broker CPU, ms")
    tables.append(Table("Transactions over four partitions at a steady rate", columns, steady))
    return tables


def costs_table(costs: Costs) -> Table:
    """The fitted parts of each cost."""
    seconds = ("bar", "decision", "snapshot", "restore", "bus", "broker")
    sizes = ("resident", "state", "returns", "outputs", "decisions")
    rows: list[list[object]] = []
    for name in (*seconds, *sizes):
        growth: Growth = getattr(costs, name)
        unit, factor = ("µs", 1e6) if name in seconds else ("B", 1.0)
        parts = (growth.constant, growth.linear, growth.quadratic, growth.cubic)
        rows.append([f"{name}, {unit}", *(factor * part for part in parts), 100 * growth.worst])
    rows.append(["process, B", costs.process, 0.0, 0.0, 0.0, 0.0])
    columns = ("", "constant", "x n", "x n²", "x n³", "worst error at a point, %")
    note = "Least squares of relative errors, no part negative; n: assets, for broker: bytes written"
    return Table("The model's costs", columns, rows, note)


def plans_table(costs: Costs) -> tuple[Table, list[Needs]]:
    """What deployments need."""
    rows, plans, site = [], [], Site()
    for universes, assets, ticks in LOADS:
        plan = needs(Load(universes, assets, ticks), costs, site)
        plans.append(plan)
        rows.append([universes, assets, f"{ticks / 1e6:g} M", *_needs(plan)])
    columns = ("univ.", "assets", "ticks/s", *NEEDS)
    note = (
        "GB: a worker's; parts: partitions; in, out, snaps: MB/s; TB: all replicas; k$: a month. "
        "Back: seconds until a worker that died is. "
        f"A decision every {site.every} bars, a snapshot every {site.snapshot_bars}; "
        f"workers (a core each) and brokers {100 * site.utilisation:.0f}% busy; "
        f"{site.replication} replicas, {site.days:.0f} days kept"
    )
    return Table("What a deployment needs", columns, rows, note), plans


NEEDS = ("workers", "GB", "parts", "brokers", "in", "out", "snaps", "TB", "back, s", "k$")


def _needs(plan: Needs) -> list[object]:
    return [
        *(plan.workers, plan.memory / GB, plan.partitions, plan.brokers),
        *(plan.inward / MB, plan.outward / MB, plan.snapshots / MB, plan.disk / TB, plan.restore),
        plan.month / 1e3,
    ]


def breaks_table(costs: Costs) -> list[Table]:
    """What breaks first on each way to 10,000 universes."""
    tables = []
    for assets, rate in WAYS:
        rows = [
            [
                i,
                each.limit.name,
                "not within 10,000" if each.universes is None else f"{each.universes:,}",
                "-" if each.universes is None else f"{each.universes * rate / 1e6:.3g} M",
                each.at_end,
                each.limit.remedy,
            ]
            for i, each in enumerate(crossings(assets, rate, costs, Site()), 1)
        ]
        columns = ("", "limit", "universes", "ticks/s", "ratio at 10,000", "remedy")
        title = f"What breaks first: universes of {assets} assets, {rate:,.0f} asset-ticks a second each"
        tables.append(Table(title, columns, rows, "Ratio: what is asked over what there is"))
    return tables


def remedies_table(costs: Costs) -> Table:
    """The largest load after one remedy after another."""
    universes, assets, ticks = LOADS[5]
    load = Load(universes, assets, ticks)
    rows = [[name, *_needs(plan)] for name, _, plan in remedies(load, costs, Site())]
    title = (
        f"{universes:,} universes of {assets} assets, {ticks:,.0f} asset-ticks a second: what remedies leave"
    )
    return Table(title, ("", *NEEDS), rows, "In, out and snaps: MB/s; k$: a month")


def check_table(size: tuple[int, int], where: str, rows: Sequence[Row], note: str = "") -> Table:
    """The model beside a measurement that it was not fitted to."""
    assets, universes = size
    said = [[what, predicted, seen, predicted / seen] for what, predicted, seen in rows]
    title = f"The model {where}, {universes} universes of {assets} assets, which it was not fitted to"
    return Table(title, ("", "predicted", "measured", "ratio"), said, note)
