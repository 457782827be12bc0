"""The report's pictures: SVG fragments that take their colours from the page.

Drawn with matplotlib and then cut down to what belongs inside a page: text stays text, colours become
the page's CSS variables (so that light and dark both work), ids are unique to the picture, and nothing
depends on the clock.
"""

import io
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from stream_allocator.backtest.run import PortfolioRun, Run
from stream_allocator.backtest.summary import LABELS, Summary
from stream_allocator.events import RegimeLabel

__all__ = [
    "confidence",
    "drawdowns",
    "legend",
    "page_fragment",
    "regimes",
    "time_panels",
    "turnover",
    "wealth",
    "weights",
]

Array = NDArray[np.float64]
Times = NDArray[np.int64]

#: Stand-ins that no other colour uses -> CSS variables of the page.
_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "#010101": "--ink",
        "#020202": "--muted",
        "#030303": "--grid",
        "#040404": "--series-0",
        "#050505": "--series-1",
        "#060606": "--series-2",
        "#070707": "--series-3",
        "#080808": "--calm",
        "#090909": "--normal",
        "#0a0a0a": "--transition",
        "#0b0b0b": "--stressed",
        "#0c0c0c": "--part-0",
        "#0d0d0d": "--part-1",
        "#0e0e0e": "--part-2",
        "#0f0f0f": "--part-3",
        "#111111": "--part-4",
        "#121212": "--part-5",
        "#131313": "--part-6",
        "#141414": "--part-7",
        "#151515": "--cash",
        "#161616": "--series-4",
    }
)
_OF = {variable: colour for colour, variable in _COLOURS.items()}
INK, MUTED, GRID = _OF["--ink"], _OF["--muted"], _OF["--grid"]
SERIES = tuple(_OF[f"--series-{i}"] for i in range(5))
PARTS = tuple(_OF[f"--part-{i}"] for i in range(8))
REGIMES: Mapping[RegimeLabel, str] = MappingProxyType({label: _OF[f"--{label}"] for label in LABELS})
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 3)))

STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.0,
    "axes.titlecolor": INK,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
    "lines.linewidth": 1.2,
    "lines.solid_joinstyle": "round",
}

#: Points across a picture; more cannot be seen.
POINTS = 1200


def wealth(summary: Summary) -> str:
    """Growth of 1, log scale."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = time_panels(1, 3.6)
        for i, row in reversed(list(enumerate(summary.rows))):
            t, y = _thin(summary.times, row.path.wealth, "last")
            _line(axes, t, y, i, f"{row.name} ×{row.path.wealth[-1]:.3g}")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}×"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        low = min(float(r.path.wealth.min()) for r in summary.rows)
        high = max(float(r.path.wealth.max()) for r in summary.rows)
        axes.set_yticks([v for v in _ONE_TWO_FIVE if low * 0.9 <= v <= high * 1.1])
        axes.minorticks_off()
        legend(axes, reverse=True)
        return page_fragment(figure, "wealth")


def drawdowns(summary: Summary) -> str:
    """Fall from the highest wealth so far."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = time_panels(1, 2.6)
        shown = (0, summary.rows.index(summary.reference))
        for i in reversed(shown):
            row = summary.rows[i]
            fall = row.path.wealth / np.maximum.accumulate(row.path.wealth) - 1.0
            t, y = _thin(summary.times, fall, "low")
            if i == 0:
                axes.fill_between(t, y, 0.0, color=SERIES[0], alpha=0.25, linewidth=0)
            axes.plot(t, y, color=SERIES[i], linewidth=1.1 if i == 0 else 0.9, label=row.name)
        percent_axis(axes)
        axes.set_ylim(top=0.0)
        legend(axes, reverse=True, loc="lower left")
        return page_fragment(figure, "drawdown")


def regimes(run: Run) -> str:
    """Labels, the probability of a recent change, and the present segment's volatility."""
    r = run.regimes
    with mpl.rc_context(STYLE):
        figure, (ribbon, chance, risk) = time_panels(3, 4.6, (0.5, 1.2, 1.5), head=0.35)
        days = date_numbers(run.times)
        for label in LABELS:
            spans = label_spans(np.array([x == label for x in r.label]), days)
            ribbon.broken_barh(
                spans, (0, 1), facecolors=REGIMES[label], linewidth=0, label=label, rasterized=False
            )
        switched = days[r.switched]
        ribbon.vlines(switched, 1.05, 1.45, color=INK, linewidth=0.8, label="regime switch")
        ribbon.set_ylim(0, 1.5)
        ribbon.set_yticks([])
        ribbon.grid(False)
        ribbon.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=5, borderaxespad=0.2, handlelength=1.2)
        t, y = _thin(run.times, r.switch_probability, "high")
        chance.fill_between(t, y, 0.0, color=SERIES[0], alpha=0.35, linewidth=0)
        chance.plot(t, y, color=SERIES[0], linewidth=0.8)
        threshold = run.portfolios[0].policy.regime.threshold
        chance.axhline(threshold, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        chance.set_ylim(0, 1.02)
        chance.set_title("Probability that the market has changed lately; dashed: threshold of a switch")
        percent_axis(chance)
        t, y = _thin(run.times, r.segment_volatility, "high")
        risk.plot(t, y, color=SERIES[0], label="present segment")
        t, y = _thin(run.times, r.reference_volatility, "last")
        risk.plot(t, y, color=MUTED, linestyle=DASHES[1], label="long run")
        risk.set_title("Market volatility a year")
        percent_axis(risk)
        risk.set_ylim(bottom=0)
        legend(risk)
        return page_fragment(figure, "regimes")


def weights(run: Run, portfolio: PortfolioRun) -> str:
    """What was held, by group and cash."""
    names, parts = _parts(run, portfolio)
    with mpl.rc_context(STYLE):
        figure, (axes,) = time_panels(1, 3.5, head=0.35)
        chosen = _last(len(run.times))
        days = date_numbers(run.times)[chosen]
        cash = np.maximum(0.0, 1.0 - portfolio.held.sum(axis=1))
        stack = [*(p[chosen] for p in parts), cash[chosen]]
        colours = [PARTS[i % len(PARTS)] for i in range(len(parts))] + [_OF["--cash"]]
        axes.stackplot(days, *stack, labels=[*names, "cash"], colors=colours, linewidth=0)
        axes.set_ylim(0, 1)
        axes.grid(False)
        percent_axis(axes)
        legend(axes, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(stack))
        return page_fragment(figure, "weights")


def turnover(run: Run, portfolio: PortfolioRun) -> str:
    """Turnover of each decision against its grant, and the budget that is left."""
    decisions = [d for d in portfolio.decisions if d.executable]
    days = date_numbers(np.array([d.event_time for d in decisions], dtype=np.int64))
    traded = np.array([d.turnover.traded for d in decisions])
    granted = np.array([d.turnover.granted for d in decisions])
    with mpl.rc_context(STYLE):
        figure, (each, budget) = time_panels(2, 4.2, (1.4, 1.0), head=0.35)
        each.vlines(days, 0, traded, color=SERIES[0], linewidth=0.9, label="traded")
        each.plot(days, granted, color=SERIES[1], linewidth=0.9, drawstyle="steps-mid", label="granted")
        each.set_title("Turnover of each decision, share of NAV")
        top = float(np.sort(granted)[-2]) if len(granted) > 1 else float(granted[0])
        each.set_ylim(0, 1.15 * max(top, float(np.median(granted))))
        if granted[0] > each.get_ylim()[1]:
            each.annotate(
                f"first decision: {traded[0]:.0%} traded of {granted[0]:.0%} granted",
                (days[0], each.get_ylim()[1]),
                xytext=(6, -3),
                textcoords="offset points",
                va="top",
                color=MUTED,
                fontsize=9,
            )
        percent_axis(each)
        legend(each, loc="lower left", bbox_to_anchor=(0.62, 1.0), ncols=2)
        level = np.array([d.turnover.bucket for d in decisions])
        policy = portfolio.policy.turnover
        budget.fill_between(days, level, 0, step="post", color=SERIES[2], alpha=0.3, linewidth=0)
        budget.plot(days, level, color=SERIES[2], drawstyle="steps-post", label="left in the bucket")
        budget.axhline(policy.capacity, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        budget.set_title(
            f"Turnover budget left after each decision; refills by {policy.refill_per_year:.0%} a year up to "
            f"{policy.capacity:.0%} (dashed)"
        )
        budget.set_ylim(0, 1.08 * policy.capacity)
        percent_axis(budget)
        return page_fragment(figure, "turnover")


def confidence(run: Run) -> str:
    """Confidence after each bar, and the evidence in the present segment."""
    r = run.regimes
    with mpl.rc_context(STYLE):
        figure, (sure, evidence) = time_panels(2, 3.6, (1.0, 1.0), head=0.3)
        t, y = _thin(run.times, r.confidence, "last")
        sure.plot(t, y, color=SERIES[0])
        sure.set_ylim(0, 1.02)
        sure.set_title("Confidence")
        percent_axis(sure)
        t, y = _thin(run.times, r.effective_sample_size, "last")
        evidence.plot(t, y, color=SERIES[2])
        evidence.set_title("Effective sample size of the present segment, bars")
        evidence.set_ylim(bottom=0)
        return page_fragment(figure, "confidence")


_ONE_TWO_FIVE = [m * 10.0**e for e in range(-3, 6) for m in (1, 2, 5)]


def time_panels(
    rows: int, height: float, ratios: Sequence[float] = (1.0,), *, head: float = 0.1, gap: float = 0.32
) -> tuple[Figure, list[Axes]]:
    """Panels over one time axis that stands at the same place in every picture; sizes in inches."""
    width, left, right, foot = 10.4, 0.5, 0.05, 0.3
    figure = Figure(figsize=(width, height))
    mean_panel = (height - head - foot - gap * (rows - 1)) / rows
    spacing = {
        "height_ratios": ratios,
        "left": left / width,
        "right": 1.0 - right / width,
        "bottom": foot / height,
        "top": 1.0 - head / height,
        "hspace": gap / mean_panel,
    }
    grid = figure.subplots(rows, 1, sharex=True, squeeze=False, gridspec_kw=spacing)
    axes = [row[0] for row in grid]
    locator = AutoDateLocator(minticks=5, maxticks=12)
    axes[-1].xaxis.set_major_locator(locator)
    axes[-1].xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    for ax in axes:
        ax.margins(x=0.005)
        ax.grid(False, axis="x")
        ax.spines["bottom"].set_visible(ax is axes[-1])
        ax.tick_params(axis="x", length=3 if ax is axes[-1] else 0)
    return figure, axes


def _line(axes: Axes, t: Array, y: Array, i: int, label: str) -> None:
    axes.plot(t, y, color=SERIES[i], linewidth=1.9 if i == 0 else 1.1, linestyle=DASHES[i], label=label)


def legend(axes: Axes, *, reverse: bool = False, **where: object) -> None:
    handles, labels = axes.get_legend_handles_labels()
    step = -1 if reverse else 1
    axes.legend(handles[::step], labels[::step], **({"loc": "upper left", "handlelength": 2.6} | where))


def percent_axis(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def date_numbers(times: Times) -> Array:
    """Matplotlib's dates: days since 1970."""
    return times / 86_400e6


def _buckets(n: int) -> NDArray[np.int64]:
    """Edges of at most POINTS buckets over n bars."""
    return np.unique(np.linspace(0, n, min(n, POINTS) + 1).astype(np.int64))


def _last(n: int) -> NDArray[np.int64]:
    return _buckets(n)[1:] - 1


def _thin(times: Times, y: Array, keep: str) -> tuple[Array, Array]:
    """At most POINTS points; ``keep`` says which of a bucket's bars stands for it: last, low or high."""
    edges = _buckets(len(y))
    if keep == "last":
        thinned = y[edges[1:] - 1]
    else:
        thinned = (np.minimum if keep == "low" else np.maximum).reduceat(y, edges[:-1])
    return date_numbers(times[edges[1:] - 1]), thinned


def label_spans(mask: NDArray[np.bool_], days: Array) -> list[tuple[float, float]]:
    """Runs of True as (start, width) in days; a run lasts until the next bar begins."""
    change = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    ends = np.append(days, days[-1] + 1.0)
    return [
        (float(days[a]), float(ends[b] - days[a])) for a, b in zip(change[::2], change[1::2], strict=True)
    ]


def _parts(run: Run, portfolio: PortfolioRun) -> tuple[list[str], list[Array]]:
    """Held weight by group; by the largest assets where groups overlap or are missing."""
    groups = {name: [run.universe.assets.index(a) for a in m] for name, m in run.universe.groups.items()}
    members = [i for group in groups.values() for i in group]
    if not groups or len(set(members)) < len(members) or len(groups) >= len(PARTS):
        largest = np.argsort(-portfolio.held.mean(axis=0), kind="stable")[: len(PARTS) - 1]
        groups = {run.universe.assets[i]: [int(i)] for i in sorted(largest)}
        members = [i for group in groups.values() for i in group]
    rest = [i for i in range(len(run.universe.assets)) if i not in members]
    if rest:
        groups[run.universe.assets[rest[0]] if len(rest) == 1 else "other"] = rest
    return list(groups), [portfolio.held[:, i].sum(axis=1) for i in groups.values()]


def page_fragment(figure: Figure, name: str) -> str:
    """The figure as a fragment for an HTML page."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"font: [^;\"]*?([\d.]+)px [^;\"]+", r"font-size: \1px", text)
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'class="chart" aria-hidden="true"', text, count=1)
    return re.sub(r"\n\s*", "\n", text)
