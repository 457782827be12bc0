"""The plot of docs/soak.svg: memory, lag and latency over the run, and where the faults fell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from benchmarks.pictures import BLUE, GREY, INK, MUTED, ORANGE, STYLE
from benchmarks.soak.faults import KINDS, Fault
from benchmarks.soak.samples import Sample, Usage

__all__ = ["Run", "draw"]

DASH = (0, (4, 1.2))
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
    with mpl.rc_context(STYLE | {"svg.hashsalt": "soak", "axes.grid.axis": "y"}):
        figure = Figure(figsize=(10.4, 8.2))
        memory, descriptors, lag, latency = figure.subplots(
            4, 1, sharex=True, gridspec_kw={"height_ratios": (1.3, 0.8, 1.1, 1.1)}
        )
        figure.subplots_adjust(left=0.075, right=0.985, bottom=0.115, top=0.945, hspace=0.36)
        _of_workers(memory, run, zero, lambda usage: usage.rss / MB)
        memory.set_title("Resident memory, MB", pad=17.0)
        memory.set_ylim(bottom=0)
        memory.legend(loc="lower left", ncols=2, borderaxespad=0.0)
        _of_workers(descriptors, run, zero, lambda usage: usage.descriptors)
        descriptors.set_title("Open file descriptors of each worker")
        descriptors.set_ylim(bottom=0)
        times = [(s.time - zero) / 60 for s in run.samples]
        lags = [np.nan if s.total_lag is None else s.total_lag for s in run.samples]
        lag.plot(times, lags, color=BLUE, linewidth=1.1)
        lag.set_title("Lag: records that wait on the input topics (a gap: the broker is away)")
        seen = _binned(run, zero)
        for row, name, colour, dash in ((1, "p50", BLUE, "-"), (2, "worst p99", ORANGE, DASH)):
            latency.plot(seen[0], seen[row], color=colour, linestyle=dash, linewidth=1.1, label=name)
        latency.set_title("Latency: from produce to a committed record that a reader sees, ms")
        latency.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2, borderaxespad=0.0)
        lag.set_yscale("symlog", linthresh=1.0)
        lag.set_ylim(bottom=0)
        lag.yaxis.set_major_locator(FixedLocator([0, 1, 10, 100, 1_000, 10_000, 100_000]))
        latency.set_yscale("log")
        for axes in (lag, latency):
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.set_minor_locator(NullLocator())
        for axes in (memory, descriptors, lag, latency):
            _mark(axes, run.faults, zero, named=axes is memory)
            axes.set_xlim(0, times[-1])
        latency.set_xlabel("minutes of the soak")
        kinds = list(KINDS)
        words = " · ".join(f"{i + 1} {kind}" for i, kind in enumerate(kinds))
        figure.text(0.075, 0.022, f"Faults, each a grey line: {words}", color=MUTED, fontsize=8.3)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _binned(run: Run, zero: float) -> tuple[list[float], list[float], list[float]]:
    """Minutes, median p50 and worst p99, ms, of a 300th of the run each; NaN where nobody saw a record."""
    span = run.samples[-1].time - zero
    width = max(0.5, span / 300)
    times, middle, worst = list[float](), list[float](), list[float]()
    for i in range(int(span / width)):
        mine = [x for x in run.latencies if i * width <= x["time"] - zero < (i + 1) * width]
        times.append((i + 0.5) * width / 60)
        middle.append(1e3 * float(np.median([x["p50"] for x in mine])) if mine else np.nan)
        worst.append(1e3 * max(x["p99"] for x in mine) if mine else np.nan)
    return times, middle, worst


def _of_workers(axes: Axes, run: Run, zero: float, value: Callable[[Usage], float]) -> None:
    for name, colour, dash, words in (
        (run.steady, BLUE, "-", "a worker that is never ended"),
        (run.victim, ORANGE, DASH, "a worker that is killed, paused and restarted"),
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
            values.append(value(usage))
        axes.plot(times, values, color=colour, linestyle=dash, linewidth=1.4, label=words)


def _mark(axes: Axes, faults: Sequence[Fault], zero: float, *, named: bool) -> None:
    kinds = list(KINDS)
    for fault in faults:
        at = (fault.time - zero) / 60
        axes.axvline(at, color=GREY, linewidth=0.6, alpha=0.7, zorder=0)
        if named:
            axes.annotate(
                str(kinds.index(fault.kind) + 1), (at, 1.0), xycoords=("data", "axes fraction"),
                xytext=(0, 2), textcoords="offset points", ha="center", color=INK, fontsize=8.5,
            )  # fmt: skip
