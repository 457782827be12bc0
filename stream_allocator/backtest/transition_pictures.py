"""Regime switches in a picture with its text alternative: a fragment for a page, like :mod:`.charts`."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from stream_allocator.backtest.calibration_pictures import Picture
from stream_allocator.backtest.charts import (
    DASHES,
    INK,
    MUTED,
    REGIMES,
    STYLE,
    legend,
    page_fragment,
    percent_axis,
)
from stream_allocator.backtest.run import PortfolioRun
from stream_allocator.backtest.summary import LABELS
from stream_allocator.backtest.transitions import (
    AFTER,
    BEFORE,
    Transition,
    exposure_paths,
    summarise_transitions,
    worst_share,
)

__all__ = ["exposure_round_switches"]

Array = NDArray[np.float64]

#: Shares above this are drawn as this.
TALLEST = 2.0
DASHED: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "linestyle": (0, (4, 3))}


def exposure_round_switches(portfolio: PortfolioRun, found: Sequence[Transition]) -> Picture:
    """Exposure round every regime switch, aligned at it, and how much of its budget each one used."""
    with mpl.rc_context(STYLE):
        figure, exposure, used = _panels()
        _paths(exposure, exposure_paths(portfolio, found), found)
        number, share = np.arange(1, len(found) + 1), [min(t.share, TALLEST) for t in found]
        used.bar(number, share, width=0.6, color=[REGIMES[t.after] for t in found])
        used.axhline(1.0, **DASHED)
        used.set_title("Largest share of its turnover budget that each switch used; dashed: all of it")
        used.xaxis.set_major_locator(MaxNLocator(integer=True))
        used.set_ylim(0, max(1.1, *share, 0.0))
        percent_axis(used)
        svg = page_fragment(figure, "transitions")
    return Picture(svg, _words(found))


def _panels() -> tuple[Figure, Axes, Axes]:
    """Two panels as wide as the report's, each with an axis of its own; sizes in inches."""
    width, height, left, right, foot, head = 10.4, 4.7, 0.5, 0.12, 0.3, 0.65
    figure = Figure(figsize=(width, height))
    spacing = {
        "height_ratios": (1.9, 1.0),
        "left": left / width,
        "right": 1.0 - right / width,
        "bottom": foot / height,
        "top": 1.0 - head / height,
        "hspace": 0.35,
    }
    exposure, used = figure.subplots(2, 1, gridspec_kw=spacing)
    for axes in (exposure, used):
        axes.margins(x=0.005)
        axes.grid(False, axis="x")
    return figure, exposure, used


def _paths(axes: Axes, paths: Array, found: Sequence[Transition]) -> None:
    """One line a switch, by the label that it led to, and the median of all."""
    steps = np.arange(-BEFORE, AFTER + 1)
    for label, dashes in zip(LABELS, DASHES, strict=False):
        own = [path for path, t in zip(paths, found, strict=True) if t.after == label]
        if own:
            names = [f"to {label}", *[None] * (len(own) - 1)]
            axes.plot(steps, np.array(own).T, color=REGIMES[label], linestyle=dashes, label=names)
    if found:
        axes.plot(steps, [_middle(x) for x in paths.T], color=INK, linewidth=1.9, label="median")
        legend(axes, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, borderaxespad=0.2)
    axes.axvline(0, **DASHED)
    axes.set_title("Exposure, share of NAV, by bars from the regime switch", pad=24)
    axes.xaxis.set_major_locator(MultipleLocator(BEFORE))
    axes.set_xlim(-BEFORE, AFTER)
    axes.set_ylim(bottom=0)
    percent_axis(axes)


def _middle(x: Array) -> float:
    """The median of what is known."""
    known = x[np.isfinite(x)]
    return float(np.median(known)) if known.size else float("nan")


def _words(found: Sequence[Transition]) -> str:
    if not found:
        return "Exposure round regime switches: there was none."
    total = summarise_transitions(found)
    before, after = (np.median([getattr(t, name) for t in found]) for name in ("gross_before", "gross_after"))
    lowest = min(found, key=lambda t: t.gross_least)
    return (
        f"Exposure round {len(found)} regime switches: a median of {before:.0%} of the NAV at the bar before "
        f"and {after:.0%} at the bar after; the least that followed one is {lowest.gross_least:.0%}. The "
        f"largest share of its turnover budget that a switch used is {worst_share(found):.0%}; "
        f"{total['above_budget']} were above it."
    )
