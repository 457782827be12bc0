"""How cost grows with universes and assets, and what a deployment of a given size needs.

Seconds are of CPU, so that what else runs on the machine does not count. Points are measured in processes
of their own, fitted, turned into plans up to 10,000 universes and 10 million asset-ticks a second, and
checked at the largest sizes that fit here, in memory and through Kafka. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import last_line
from benchmarks.page import paste
from benchmarks.scale import bus, report
from benchmarks.scale.bus import BusPoint, BusSize
from benchmarks.scale.capacity import Costs, Needs
from benchmarks.scale.model import Row, check_bus, check_memory, costs_of
from benchmarks.scale.picture import draw
from benchmarks.scale.point import Point, measure

MB, GB = 1e6, 1e9
#: Bars between snapshots where transactions are measured: a snapshot would be counted among what they take.
NEVER = 100_000


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes
    ----------
    points : tuple
        In memory: (assets, universes, warm-up bars, bars). Run lengths are full after 256; at 500 assets they
        are a twentieth of the cost, at 2,000 a fiftieth, and the prior's 60 bars are waited for alone.
    largest : tuple
        The same, for the check.
    bus : tuple of BusSize
    largest_bus : BusSize
    """

    points: tuple[tuple[int, int, int, int], ...]
    largest: tuple[int, int, int, int]
    bus: tuple[BusSize, ...]
    largest_bus: BusSize


FULL = Sizes(
    points=(
        (20, 1, 260, 84),
        (20, 10, 260, 42),
        (20, 200, 260, 21),
        (50, 10, 260, 42),
        (50, 200, 260, 21),
        (200, 10, 260, 42),
        (500, 1, 260, 42),
        (500, 10, 260, 21),
        (2000, 1, 70, 21),
        (2000, 10, 70, 21),
    ),
    largest=(500, 200, 260, 21),
    bus=(
        BusSize(20, 1, 6000, 5397, 250),
        BusSize(50, 8, 1302, 1050, NEVER, steady=True),
        BusSize(50, 200, 302, 42, 100),
        BusSize(500, 10, 302, 42, 100),
    ),
    largest_bus=BusSize(200, 200, 102, 21, 70),
)
QUICK = Sizes(
    points=((20, 1, 70, 21), (20, 10, 70, 21), (50, 10, 70, 21), (200, 8, 70, 21)),
    largest=(200, 25, 70, 21),
    bus=(BusSize(50, 8, 200, 190, NEVER, steady=True), BusSize(50, 4, 300, 290, 90)),
    largest_bus=BusSize(100, 8, 150, 140, 70),
)


def main() -> int:
    """Measure, fit, plan, check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller points: within a minute")
    parser.add_argument("--picture", type=Path, help="where the figure goes, as SVG")
    parser.add_argument("--page", type=Path, help="a page of docs whose tables are replaced")
    chosen = parser.parse_args()
    sizes = QUICK if chosen.quick else FULL
    points = [_in_memory(*size) for size in sizes.points]
    with tempfile.TemporaryDirectory(prefix="scale-") as scratch:
        through = [_through(Path(scratch, str(i)), size) for i, size in enumerate(sizes.bus)]
        largest_bus = _through(Path(scratch, "largest"), sizes.largest_bus)
    largest = _in_memory(*sizes.largest)
    costs = costs_of(points, through)
    memory_rows, bus_rows = check_memory(largest, costs), check_bus(largest_bus, costs)
    plans_table, plans = report.plans_table(costs)
    tables = [
        report.points_table([*points, largest]),
        report.growth_table(points, costs),
        *report.through_tables([*through, largest_bus]),
        report.costs_table(costs),
        plans_table,
        *report.breaks_table(costs),
        report.remedies_table(costs),
        report.check_table(
            sizes.largest[:2],
            "in memory",
            memory_rows,
            f"200 universes of 2,000 assets would need {200 * costs.resident(2000) / GB:.0f} GB, beyond this "
            "machine",
        ),
        report.check_table(
            (sizes.largest_bus.assets, sizes.largest_bus.universes), "through Kafka", bus_rows
        ),
    ]
    for table in tables:
        table.show()
    if chosen.page is not None:
        paste(chosen.page, "measured", tables)
    if chosen.picture is not None:
        draw([*points, largest], costs, chosen.picture)
    last_line(figures(costs, plans, [*through, largest_bus], memory_rows, bus_rows))
    return 0


def figures(
    costs: Costs,
    plans: Sequence[Needs],
    through: Sequence[BusPoint],
    memory_rows: Sequence[Row],
    bus_rows: Sequence[Row],
) -> dict[str, float]:
    """The last line."""
    top = plans[5]
    return {
        "bar_us_n20": 1e6 * costs.bar(20),
        "bar_us_n500": 1e6 * costs.bar(500),
        "bar_us_n2000": 1e6 * costs.bar(2000),
        "bus_us_n50": 1e6 * costs.bus(50),
        "commit_ms": 1e3 * costs.commit,
        "broker_commit_ms": 1e3 * costs.broker_commit,
        "memory_mb_n20": costs.resident(20) / MB,
        "memory_mb_n500": costs.resident(500) / MB,
        "memory_mb_n2000": costs.resident(2000) / MB,
        "snapshot_mb_n500": costs.state(500) / MB,
        "restore_s_a_universe_n500": costs.restore(500),
        "rebalance_s": max(b.rebalance_seconds for b in through),
        "check_cpu_ratio": _ratio(memory_rows[0]),
        "check_memory_ratio": _ratio(memory_rows[1]),
        "check_snapshot_ratio": _ratio(memory_rows[2]),
        "check_bus_cpu_ratio": _ratio(bus_rows[0]),
        "check_restore_ratio": _ratio(bus_rows[3]),
        "workers_10m": top.workers,
        "brokers_10m": top.brokers,
        "snapshot_share_10m": top.snapshots / (top.inward + top.outward + top.snapshots),
    }


def _ratio(row: Row) -> float:
    return row[1] / row[2]


def _in_memory(assets: int, universes: int, warm: int, bars: int) -> Point:
    point = measure(assets, universes, warm, bars)
    print(f"measured {universes} universes of {assets} assets", flush=True)
    return point


def _through(folder: Path, size: BusSize) -> BusPoint:
    point = bus.measure(folder, size)
    print(f"measured {size.universes} universes of {size.assets} assets through Kafka", flush=True)
    return point


if __name__ == "__main__":
    sys.exit(main())
