"""From points to costs, and the model's word beside what was measured where it was not fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.scale.bus import BusPoint
from benchmarks.scale.capacity import Costs
from benchmarks.scale.growth import Growth, fit
from benchmarks.scale.point import EVERY, Point

__all__ = ["check_bus", "check_memory", "costs_of"]

MB = 1e6
#: The first decision of a universe comes with this bar, when the prior is there.
FIRST_DECISION = 60
Row = tuple[str, float, float]


def costs_of(points: Sequence[Point], through: Sequence[BusPoint]) -> Costs:
    """Fit every cost to the points."""
    n = [p.assets for p in points]

    def of(name: str, degree: int = 2) -> Growth:
        return fit(n, [getattr(p, name) for p in points], degree)

    wide = [b.size.assets for b in through]
    resident, state = of("resident_bytes"), of("state_bytes")
    rest = [b.worker_seconds - _in_memory(b, points) for b in through]
    bare = [b.resident_bytes - b.size.universes * resident(b.size.assets) for b in through]
    steady = [b.transactions for b in through if b.transactions is not None]
    return Costs(
        bar=of("bar_seconds"),
        decision=of("decision_seconds", 3),  # it factors a matrix
        snapshot=of("snapshot_seconds"),
        restore=of("restore_seconds"),
        # a difference of two measurements may come out below nothing; then nothing is seen of it
        bus=fit(wide, [max(seconds, 1e-6) for seconds in rest]),
        broker=fit([_written(b) for b in through], [b.broker_seconds for b in through], 1),
        resident=resident,
        state=state,
        returns=fit(wide, [b.returns_bytes for b in through]),
        outputs=of("output_bytes"),
        decisions=of("decision_bytes"),
        process=float(np.median(np.maximum(bare, 0.0))),
        commit=float(np.mean([t.worker_seconds for t in steady])),
        broker_commit=float(np.mean([t.broker_seconds for t in steady])),
        commit_wait=max(0.0, float(np.mean([1.0 / t.rate for t in steady])) - 0.01),
    )


def _written(b: BusPoint) -> float:
    """Bytes on the broker's disk for a cross-section."""
    return b.returns_bytes + b.output_bytes + b.snapshot_bytes


def _in_memory(b: BusPoint, points: Sequence[Point]) -> float:
    """What the engine's part of a point through Kafka takes: as in memory, with as many assets."""
    alike = [p for p in points if p.assets == b.size.assets]
    if not alike:
        raise ValueError(f"no point in memory has the {b.size.assets} assets of one through Kafka")
    p = min(alike, key=lambda each: abs(np.log(each.universes / b.size.universes)))
    return p.bar_seconds + _decided(b) * p.decision_seconds + _saved(b, p.state_bytes) * p.snapshot_seconds


def _decided(b: BusPoint) -> float:
    """Decisions of a counted cross-section."""

    def until(bars: int) -> int:
        return max(0, 1 + (bars - FIRST_DECISION) // EVERY)

    return (until(b.size.bars) - until(b.size.bars - b.size.counted)) / b.size.counted


def _saved(b: BusPoint, state: float) -> float:
    """Snapshots of a cross-section: a busy worker takes fewer than it was told."""
    return b.snapshot_bytes / state


def check_memory(p: Point, costs: Costs) -> list[Row]:
    """What, predicted, measured: of a point in memory."""
    share = p.decisions / (p.bars * p.universes)
    extra = 0.0 if np.isnan(p.decision_seconds) else share * p.decision_seconds
    return [
        (
            "CPU of a cross-section, ms",
            1e3 * (costs.bar(p.assets) + share * costs.decision(p.assets)),
            1e3 * (p.bar_seconds + extra),
        ),
        (
            "memory of all universes, MB",
            p.universes * costs.resident(p.assets) / MB,
            p.universes * p.resident_bytes / MB,
        ),
        (
            "one snapshot of all, MB",
            p.universes * costs.state(p.assets) / MB,
            p.universes * p.state_bytes / MB,
        ),
    ]


def check_bus(b: BusPoint, costs: Costs) -> list[Row]:
    """What, predicted, measured: of a point through Kafka."""
    n, universes = b.size.assets, b.size.universes
    saved = _saved(b, costs.state(n))
    work = costs.bar(n) + _decided(b) * costs.decision(n)
    return [
        (
            "CPU of a worker for a cross-section, ms",
            1e3 * (work + saved * costs.snapshot(n) + costs.bus(n)),
            1e3 * b.worker_seconds,
        ),
        ("CPU of the broker for it, ms", 1e3 * costs.broker(_written(b)), 1e3 * b.broker_seconds),
        (
            "memory of the worker, MB",
            (costs.process + universes * costs.resident(n)) / MB,
            b.resident_bytes / MB,
        ),
        (
            "all partitions restored after SIGKILL, s",
            universes * costs.restore(n) + b.restore_replayed * (costs.bar(n) + costs.decision(n) / EVERY),
            b.restore_seconds,
        ),
    ]
