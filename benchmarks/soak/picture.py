"""The plot of docs/soak.svg: memory, lag and latency over the run, and where the faults fell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.soak.faults import KINDS, Fault
from benchmarks.soak.samples import Sample

__all__ = ["Run", "draw"]

INK, MUTED, GRID = "#1b2733", "#5a6672", "#dde2e7"
BLUE, ORANGE, GREY = "#0b5cad", "#c2410c", "#7a8794"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "soak",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titlecolor": INK,
    "figure.facecolor": "white",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
}
MB = 1e6


@dataclass(frozen=True)
class Run:
    """What the plot shows; times are seconds since 1970.

    Attributes
    ----------
    samples : sequence of Sample
    latencies : sequence of dict
        The observer's lines.
    faults : sequence of Fault
    steady, victim : str
        Names of the worker that is never ended and of the one that is.
    """

    samples: Sequence[Sample]
    latencies: Sequence[dict[str, float]]
    faults: Sequence[Fault]
    steady: str
    victim: str


def draw(run: Run, path: Path) -> None:
    """Write the plot as SVG; the same run gives the same bytes."""
    zero = run.samples[0].time
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10.4, 8.2))
        memory, descriptors, lag, latency = figure.subplots(
            4, 1, sharex=True, gridspec_kw={"height_ratios": (1.3, 0.8, 1.1, 1.1)}
        )
        figure.subplots_adjust(left=0.07, right=0.985, bottom=0.125, top=0.955, hspace=0.28)
        _of_workers(memory, run, zero, lambda usage: usage.rss / MB)
        memory.set_title("resident memory of each worker, MB")
        memory.set_ylim(bottom=0)
        memory.legend(loc="lower right", ncols=2)
        _of_workers(descriptors, run, zero, lambda usage: usage.descriptors)
        descriptors.set_title("open descriptors of each worker")
        descriptors.set_ylim(bottom=0)
        times = [(s.time - zero) / 60 for s in run.samples]
        lags = [np.nan if s.total_lag is None else max(s.total_lag, 0.7) for s in run.samples]
        lag.plot(times, lags, color=BLUE, linewidth=1.1)
        lag.set_title("records that wait on the input topics (a gap: the broker is away)")
        seen = [((line["time"] - zero) / 60, line) for line in run.latencies]
        seen = [(t, line) for t, line in seen if t >= 0]
        for name, colour, dash in (("p50", BLUE, "-"), ("p99", ORANGE, (0, (4, 1.5)))):
            latency.plot(
                [t for t, _ in seen],
                [1e3 * line[name] for _, line in seen],
                color=colour, linestyle=dash, linewidth=1.0, label=name,
            )  # fmt: skip
        latency.set_title("from produce to a committed record that a reader sees, ms")
        latency.legend(loc="upper right", ncols=2)
        for axes in (lag, latency):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        for axes in (memory, descriptors, lag, latency):
            _mark(axes, run.faults, zero, named=axes is memory)
            axes.set_xlim(0, times[-1])
        latency.set_xlabel("minutes")
        kinds = list(KINDS)
        words = "   ".join(f"{i + 1} {kind}" for i, kind in enumerate(kinds))
        figure.text(0.07, 0.022, f"faults:  {words}", color=MUTED, fontsize=8.6)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _of_workers(axes: Axes, run: Run, zero: float, value: object) -> None:
    for name, colour, dash, words in (
        (run.steady, BLUE, "-", "a worker that is never ended"),
        (run.victim, ORANGE, (0, (4, 1.2)), "a worker that is killed and restarted"),
    ):
        times, values, last = list[float](), list[float](), None
        for each in run.samples:
            if name not in each.workers:
                continue
            incarnation, _, usage = each.workers[name]
            if last is not None and incarnation != last:  # the line is broken where it was started again
                times.append((each.time - zero) / 60)
                values.append(np.nan)
            last = incarnation
            times.append((each.time - zero) / 60)
            values.append(value(usage))  # type: ignore[operator]
        axes.plot(times, values, color=colour, linestyle=dash, linewidth=1.4, label=words)


def _mark(axes: Axes, faults: Sequence[Fault], zero: float, *, named: bool) -> None:
    kinds = list(KINDS)
    for fault in faults:
        at = (fault.time - zero) / 60
        axes.axvline(at, color=GREY, linewidth=0.6, alpha=0.7, zorder=0)
        if named:
            axes.annotate(
                str(kinds.index(fault.kind) + 1), (at, 1.0), xycoords=("data", "axes fraction"),
                xytext=(1.5, -2), textcoords="offset points", va="top", color=MUTED, fontsize=8.0,
            )  # fmt: skip
