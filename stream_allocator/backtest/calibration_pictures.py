"""Calibration in pictures, each with its text alternative: fragments for a page, like :mod:`.charts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from stream_allocator.backtest.calibration import SURE, Bin, Penalties
from stream_allocator.backtest.charts import (
    DASHES,
    MUTED,
    PARTS,
    SERIES,
    STYLE,
    date_numbers,
    legend,
    page_fragment,
    percent_axis,
    time_panels,
)
from stream_allocator.backtest.days import day
from stream_allocator.backtest.scores import Histogram

__all__ = ["Picture", "penalties_through_time", "reliability", "transform_histograms"]

Places = NDArray[np.int64]

WIDTH = 10.4


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and what it shows in words.

    Attributes
    ----------
    svg : str
        Fragment of a page, hidden from screen readers.
    text : str
        For ``aria-label``.
    """

    svg: str
    text: str


def reliability(bins: Sequence[Bin]) -> Picture:
    """Predicted and realised risk, and how often the bounds held, by confidence, least sure first.

    Raises
    ------
    ValueError
        Without bins.
    """
    if not bins:
        raise ValueError("no bins to show: too few decisions")
    places = np.arange(len(bins))
    with mpl.rc_context(STYLE):
        figure, (risk, loss, share) = _panels(3, 6.2)
        _pair(risk, places, [b.predicted for b in bins], [b.realised for b in bins], "predicted", "realised")
        _dashed(risk, places, [b.bound for b in bins], "robust bound")
        risk.set_title("Volatility a year, root mean square")
        came = [b.worst_loss for b in bins]
        _pair(loss, places, [b.expected_loss for b in bins], came, "expected", "realised")
        loss.set_title("Deepest fall below the value at the fill, mean")
        promised = np.array([b.promised for b in bins])
        error = 2.0 * np.sqrt(promised * (1.0 - promised) / [b.decisions for b in bins])
        low, high = np.clip((promised - error, promised + error), 0.0, 1.0)
        share.fill_between(places, low, high, color=SERIES[1], alpha=0.2, linewidth=0)
        covered = [b.covered for b in bins]
        _pair(share, places, list(promised), covered, "promised, ± two standard errors", "covered")
        share.plot(
            places, [b.loss_covered for b in bins], "s", color=SERIES[2], label="worst loss within its bound"
        )
        share.axhline(SURE, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        share.set_title(f"Share of decisions within the robust bound; dashed: {SURE:.0%} of the worst losses")
        share.set_ylim(0.0, 1.04)
        for axes, most in (
            (risk, np.nanmax([(b.realised, b.bound, b.predicted) for b in bins])),
            (loss, np.max([(b.worst_loss, b.expected_loss) for b in bins])),
        ):
            axes.set_ylim(0.0, 1.12 * most)
        for axes in (risk, loss, share):
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_xlim(-0.5, len(bins) - 0.5)
            legend(axes, loc="lower left", ncols=3)
        share.set_xticks(places, [f"{b.low:.0%}–{b.high:.0%}" for b in bins])
        share.set_xlabel("confidence of the decisions")
        svg = page_fragment(figure, "reliability")
    worst = max(bins, key=lambda b: abs(np.log(b.realised / b.predicted)))
    text = (
        f"Reliability by confidence in {len(bins)} bins. The least sure decisions predicted a volatility of "
        f"{bins[0].predicted:.1%} and had {bins[0].realised:.1%}; the surest predicted "
        f"{bins[-1].predicted:.1%} and had {bins[-1].realised:.1%}. "
        f"Furthest apart are {worst.predicted:.1%} predicted and "
        f"{worst.realised:.1%} realised, at confidence {worst.low:.0%} to {worst.high:.0%}."
    )
    bounded = [b for b in bins if not np.isnan(b.bound)]
    if bounded:
        text += (
            f" The robust bound held for {_mean(bounded, 'covered'):.0%} of the decisions, where "
            f"{_mean(bounded, 'promised'):.0%} were promised, and the bound on the worst loss for "
            f"{_mean(bounded, 'loss_covered'):.0%}, where it should for {SURE:.0%}."
        )
    return Picture(svg, text)


def transform_histograms(histograms: Mapping[str, Histogram]) -> Picture:
    """Probability integral transforms side by side, each with the band of right forecasts.

    Parameters
    ----------
    histograms : mapping of str to Histogram
        By the name of the forecast distribution.

    Raises
    ------
    ValueError
        Without any.
    """
    if not histograms:
        raise ValueError("no histogram to show")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.0))
        grid = figure.subplots(
            1,
            len(histograms),
            sharey=True,
            squeeze=False,
            gridspec_kw={"left": 0.05, "right": 0.985, "bottom": 0.16, "top": 0.86, "wspace": 0.06},
        )
        for axes, (name, found) in zip(grid[0], histograms.items(), strict=True):
            edges = np.linspace(0.0, 1.0, len(found.counts) + 1)
            axes.bar(
                edges[:-1],
                found.counts / found.expected,
                np.diff(edges),
                align="edge",
                color=SERIES[0],
                alpha=0.6,
            )
            axes.axhspan(found.low / found.expected, found.high / found.expected, color=SERIES[1], alpha=0.3)
            axes.axhline(1.0, color=SERIES[1], linewidth=0.9)
            axes.set_title(
                f"{name}: {found.outside} of {len(found.counts)} outside the {found.level:.0%} band"
            )
            axes.set_xlabel("forecast probability of no more than what came")
            axes.set_xlim(0.0, 1.0)
            axes.grid(False, axis="x")
        grid[0][0].set_ylabel("count over the expected one")
        svg = page_fragment(figure, "transform")
    said = [
        f"By the {name} forecast {found.outside} of {len(found.counts)} bins are outside the "
        f"{found.level:.0%} band; the lowest has {found.counts[0] / found.expected:.2f} times the expected "
        f"count, the highest {found.counts[-1] / found.expected:.2f} times, those in the middle "
        f"{_middle(found.counts) / found.expected:.2f} times."
        for name, found in histograms.items()
    ]
    return Picture(svg, "Histogram of the probability integral transform. " + " ".join(said))


def penalties_through_time(found: Penalties) -> Picture:
    """What uncertainty cost each decision, and the radius of the ball.

    Raises
    ------
    ValueError
        Without decisions.
    """
    if found.times.size == 0:
        raise ValueError("no penalties to show: no executable decision")
    days = date_numbers(found.times)
    basis = 1e4
    split = bool((found.mean + found.covariance).any())
    with mpl.rc_context(STYLE):
        figure, (price, ball, size) = time_panels(3, 5.6, (1.3, 1.0, 1.0), head=0.35)
        if split:
            parts = {"for the mean": found.mean, "for the covariance": found.covariance}
        else:
            parts = {"for one ball": found.total}
        below = np.zeros_like(found.total)
        for colour, (name, part) in zip(PARTS, parts.items(), strict=False):
            above = below + part * basis
            price.fill_between(days, below, above, step="post", color=colour, linewidth=0, label=name)
            below = above
        price.set_title("Price of uncertainty in the objective, basis points a year")
        price.set_ylim(bottom=0.0)
        legend(price, loc="lower left", bbox_to_anchor=(0.62, 1.0), ncols=2)
        ball.plot(days, np.sqrt(found.radius), color=SERIES[0], drawstyle="steps-post", linewidth=0.9)
        ball.set_title("Root of the ball's squared radius, volatility a year")
        ball.set_ylim(bottom=0.0)
        percent_axis(ball)
        size.plot(days, found.effective_sample_size, color=SERIES[2], drawstyle="steps-post", linewidth=0.9)
        size.set_title("Effective sample size of the present segment, bars")
        size.set_ylim(bottom=0.0)
        svg = page_fragment(figure, "penalties")
    middle, most = np.median(found.total) * basis, int(np.argmax(found.total))
    text = (
        f"Penalties for uncertainty through time, {found.times.size} decisions: {middle:.0f} basis points a "
        f"year in the median, at most {found.total[most] * basis:.0f} on {day(found.times[most])}, "
        f"when the effective sample size was {found.effective_sample_size[most]:.0f} bars."
    )
    if split:
        share = found.mean.sum() / found.total.sum() if found.total.any() else 0.0
        text += f" The mean's part is {share:.0%} of all."
    return Picture(svg, text)


def _panels(rows: int, height: float) -> tuple[Figure, list[Axes]]:
    """Panels over one axis of places."""
    figure = Figure(figsize=(WIDTH, height))
    spacing = {"left": 0.05, "right": 0.995, "bottom": 0.09, "top": 0.95, "hspace": 0.32}
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw=spacing)
    axes = [row[0] for row in grid]
    for ax in axes:
        ax.grid(False, axis="x")
        ax.tick_params(axis="x", length=0)
    return figure, axes


def _pair(axes: Axes, places: Places, said: list[float], came: list[float], name: str, realised: str) -> None:
    """What was said as a line, what came as points that any printer shows."""
    axes.plot(places, said, color=SERIES[1], linestyle=DASHES[0], label=name)
    axes.plot(places, came, "o", color=SERIES[0], label=realised)


def _dashed(axes: Axes, places: Places, values: list[float], name: str) -> None:
    axes.plot(places, values, color=SERIES[3], linestyle=DASHES[1], label=name)


def _mean(bins: Sequence[Bin], name: str) -> float:
    """Over all decisions."""
    counts = [b.decisions for b in bins]
    return float(np.average([getattr(b, name) for b in bins], weights=counts))


def _middle(counts: Places) -> float:
    """Mean of the middle half."""
    quarter = len(counts) // 4
    return float(counts[quarter : len(counts) - quarter].mean())
