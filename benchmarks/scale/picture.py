"""The figure of docs/scale.svg: what a cross-section costs, what a universe holds, and what a plan needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.pictures import BLUE, GREEN, MUTED, ORANGE, STYLE
from benchmarks.scale.capacity import Costs, Load, Site, needs
from benchmarks.scale.point import Point

__all__ = ["draw"]

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
MARKS = ("o", "s", "^")
MB = 1e6


def draw(points: Sequence[Point], costs: Costs, path: Path) -> None:
    """Write the figure as SVG: marks are measured, lines are the model's."""
    site = Site()
    with mpl.rc_context(STYLE | {"svg.hashsalt": "scale"}):
        figure = Figure(figsize=(10.4, 7.0))
        (time, room), (many, plan) = figure.subplots(2, 2)
        figure.subplots_adjust(left=0.065, right=0.985, bottom=0.075, top=0.955, hspace=0.34, wspace=0.17)
        n = np.geomspace(20, 2000, 60)
        single = [
            p for p in points if p.universes == min(q.universes for q in points if q.assets == p.assets)
        ]
        time.set_title("CPU of one cross-section, ms (marks: measured, lines: the model)")
        _lines(
            time, n, single,
            (
                ("without a decision", costs.bar, lambda p: 1e3 * p.bar_seconds, 1e3),
                ("what a decision adds", costs.decision, lambda p: 1e3 * p.decision_seconds, 1e3),
            ),
        )  # fmt: skip
        room.set_title("One universe, MB")
        several = [p for p in points if p.universes > 1]
        _lines(
            room, n, several,
            (
                ("in memory", costs.resident, lambda p: p.resident_bytes / MB, 1 / MB),
                ("as snapshot", costs.state, lambda p: p.state_bytes / MB, 1 / MB),
            ),
        )  # fmt: skip
        for axes in (time, room):
            axes.set_xlabel("assets of a universe")
            _log(axes, (20, 50, 100, 200, 500, 1000, 2000))
        _by_universes(many, points)
        _plan(plan, costs, site)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _lines(
    axes: Axes,
    n: np.ndarray,
    points: Sequence[Point],
    curves: Sequence[tuple[str, Callable[[float], float], Callable[[Point], float], float]],
) -> None:
    for (name, curve, of, unit), colour, dash, mark in zip(
        curves, (BLUE, ORANGE), DASHES, MARKS, strict=False
    ):
        axes.plot(n, [unit * curve(x) for x in n], color=colour, linestyle=dash, linewidth=1.5, label=name)
        axes.plot([p.assets for p in points], [of(p) for p in points], mark, color=colour, markersize=5)
    axes.legend(loc="upper left")


def _by_universes(axes: Axes, points: Sequence[Point]) -> None:
    axes.set_title("CPU of one cross-section by the number of universes, ms")
    widths = sorted({p.assets for p in points})
    widths = [n for n in widths if sum(p.assets == n for p in points) > 1]
    shown = [n for n in widths if n in (20, 500, 2000)]  # of 50 assets there is not room for a line
    for n, colour, dash, mark in zip(shown, (BLUE, ORANGE, GREEN), DASHES, MARKS, strict=False):
        mine = sorted((p.universes, 1e3 * p.bar_seconds) for p in points if p.assets == n)
        axes.plot(*zip(*mine, strict=True), color=colour, linestyle=dash, marker=mark, label=f"{n} assets")
    axes.set_xlabel("universes of one worker")
    _log(axes, sorted({p.universes for p in points}))
    axes.legend(loc="best")


def _plan(axes: Axes, costs: Costs, site: Site) -> None:
    axes.set_title("10,000 universes of 50 assets, by the model")
    ticks = np.geomspace(1e5, 1e7, 30)
    plans = [needs(Load(10_000, 50, t), costs, site) for t in ticks]
    for name, values, colour, dash in (
        ("workers", [p.workers for p in plans], BLUE, DASHES[0]),
        ("brokers", [p.brokers for p in plans], ORANGE, DASHES[1]),
        ("snapshots, MB/s", [p.snapshots / MB for p in plans], GREEN, DASHES[2]),
    ):
        axes.plot(ticks, values, color=colour, linestyle=dash, linewidth=1.5, label=name)
    axes.set_xlabel("asset-ticks a second")
    _log(axes, (1e5, 1e6, 1e7))
    axes.legend(loc="upper left")


def _log(axes: Axes, ticks: Sequence[float]) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value / 1e6:g} M")
        )
        axis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks)
    axes.tick_params(colors=MUTED)
