"""The picture of docs/detection.md: delay against false alarms for each likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.pictures import BLUE, GREEN, GREY, ORANGE, STYLE

__all__ = ["SHOWN", "draw"]

#: The changes that are drawn: a column each.
SHOWN = ("shift 1 sigma", "volatility x2", "volatility /2")
ROWS = {"gaussian": "Gaussian data", "t4": "t4 data"}
COLOURS = (GREY, BLUE, ORANGE, GREEN, "#a21caf", "#a16207")
DASHES = ("-", "-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 3)))

Curves = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # likelihood -> (ARL0, delay)


def draw(curves: Mapping[tuple[str, str], Curves], path: Path) -> None:
    """Write the picture.

    Parameters
    ----------
    curves : mapping
        (noise, change) -> likelihood -> (ARL0s, delays).  The second likelihood is the package's default and
        is drawn heavier than the others.
    path : Path
        Where the SVG goes; the same curves give the same bytes.
    """
    with mpl.rc_context(STYLE | {"svg.hashsalt": "detection"}):
        figure = Figure(figsize=(10.4, 6.4))
        grid = figure.subplots(len(ROWS), len(SHOWN), sharex=True, sharey=True)
        figure.subplots_adjust(left=0.055, right=0.99, bottom=0.135, top=0.955, hspace=0.2, wspace=0.08)
        for row, (kind, title) in zip(grid, ROWS.items(), strict=True):
            for axes, change in zip(row, SHOWN, strict=True):
                _panel(axes, curves[kind, change], f"{title}, {change.replace(' sigma', 'σ')}")
            row[0].set_ylabel("mean delay, steps")
        for axes in grid[-1]:
            axes.set_xlabel("ARL0 on the same data, steps")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=len(labels), handlelength=2.4)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _panel(axes: Axes, curves: Curves, title: str) -> None:
    for i, (name, (arl0, delay)) in enumerate(curves.items()):
        width = 2.6 if i == 1 else 1.3
        axes.plot(
            arl0,
            delay,
            color=COLOURS[i],
            linestyle=DASHES[i],
            linewidth=width,
            label=name,
            zorder=4 - (i != 1),
        )
    axes.set_title(title)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(4.0, 220.0)
    for axis, ticks in (
        (axes.xaxis, (100, 200, 500, 1000, 2000, 5000)),
        (axes.yaxis, (5, 10, 20, 50, 100, 200)),
    ):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
        low, high = axis.get_view_interval()
        axis.set_ticks([t for t in ticks if low <= t <= high])
