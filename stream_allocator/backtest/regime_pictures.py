"""One picture of a regime record: what the posterior believed, what it was called, what was done about it.

A file to stand alone, on white: the report's pictures are page fragments that take the page's colours.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from stream_allocator.backtest.charts import (
    DASHES,
    GRID,
    INK,
    MUTED,
    SERIES,
    STYLE,
    date_numbers,
    label_spans,
    percent_axis,
    time_panels,
)
from stream_allocator.backtest.regime_record import RegimeRecord
from stream_allocator.backtest.summary import LABELS
from stream_allocator.events import Trigger

__all__ = ["Event", "draw"]

Array = NDArray[np.float64]

#: The report's palette on white.
LIGHT: Mapping[str, str] = MappingProxyType(
    {INK: "#1b1d1f", MUTED: "#5c6166", GRID: "#dcdcd8"}
    | dict(zip(SERIES, ("#0072b2", "#c77700", "#00805f", "#8a4a77", "#70757a"), strict=True))
)
LABEL_COLOURS: Mapping[str, str] = MappingProxyType(
    {"calm": "#7cc0ea", "normal": "#d3d5d2", "transition": "#e8cf4d", "stressed": "#d55e00"}
)
CAUSE_DASHES: Mapping[str, object] = MappingProxyType({"alarm": "-", "label": (0, (4, 2))})
TRIGGERS: Mapping[Trigger, str] = MappingProxyType(
    {
        "regime_switch": "#d55e00",
        "drift": LIGHT[SERIES[1]],
        "schedule": LIGHT[SERIES[0]],
        "control": LIGHT[SERIES[3]],
        "start": LIGHT[SERIES[4]],
    }
)
SHADES = LinearSegmentedColormap.from_list(
    "run length", ["#eef5fb", "#cfe3f3", "#79b0d9", "#23649e", "#0a2342"], N=24
)
MAP_COLOUR = "#d55e00"
PALE = ("#b8d6e8", "#b8d9ce")

#: Probabilities below are white.
FAINTEST = 1e-4

#: Height of the row of all runs of at least ``max_run`` bars, which one bar's height would hide.
OLDEST_HEIGHT = 10.0

#: Of the heat map and the filled areas; the rest is not raster.
DOTS_PER_INCH = 110


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened outside; event time in microseconds since the epoch."""

    time: int
    name: str


def draw(record: RegimeRecord, events: Sequence[Event] = ()) -> str:
    """Draw a record as an SVG file; the same record gives the same text.

    Parameters
    ----------
    record : RegimeRecord
    events : sequence of Event
        To be marked; within the record's bars.
    """
    style: dict[str, Any] = {key: LIGHT.get(str(value), value) for key, value in STYLE.items()} | {
        "figure.facecolor": "white",
        "svg.hashsalt": "regimes",
        "savefig.dpi": DOTS_PER_INCH,
    }
    with mpl.rc_context(style):
        ratios = (0.9, 2.6, 0.9, 1.1, 0.28, 0.9, 1.0)
        figure, panels = time_panels(len(ratios), 12.0, ratios, head=0.62)
        growth, runs, chance, risk, ribbon, invested, trades = panels
        days = date_numbers(record.run.times[record.first : record.stop])
        _growth(growth, record, days)
        _run_lengths(figure, runs, record, days)
        _chance(chance, record, days)
        _risk(risk, record, days)
        _ribbon(ribbon, record, days)
        _invested(invested, record, days)
        _trades(trades, record)
        _marks(panels, record, events)
        for panel in panels:
            panel.set_xlim(days[0], days[-1] + 1.0)
        out = io.StringIO()
        figure.savefig(
            out, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight", pad_inches=0.1
        )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _growth(axes: Axes, record: RegimeRecord, days: Array) -> None:
    axes.plot(days, record.market(), color=LIGHT[SERIES[4]], label="mean of the assets")
    axes.plot(days, record.wealth(), color=LIGHT[SERIES[0]], label="portfolio, net of costs")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}×"))
    axes.set_title("Growth of 1")
    _key(axes)


def _run_lengths(figure: Figure, axes: Axes, record: RegimeRecord, days: Array) -> None:
    """The heat map: a column a bar, a row a run length; what is darker is more probable."""
    longest = record.probabilities.shape[1] - 1
    edges = np.append(np.arange(longest + 1) - 0.5, longest - 0.5 + OLDEST_HEIGHT)
    shown = np.ma.masked_less(record.probabilities.T, FAINTEST)
    heat = axes.pcolormesh(
        np.append(days, days[-1] + 1.0),
        edges,
        shown,
        cmap=SHADES,
        norm=LogNorm(FAINTEST, 1.0),
        rasterized=True,
    )
    oldest = longest + 0.5 * (OLDEST_HEIGHT - 1.0)
    line = np.where(record.map_run_length < longest, record.map_run_length, oldest)
    axes.plot(days, line, color=MAP_COLOUR, linewidth=1.0, drawstyle="steps-post", label="most probable")
    for cause, dashes in CAUSE_DASHES.items():
        axes.plot([], [], color=LIGHT[INK], linewidth=0.9, linestyle=dashes, label=f"switch by {cause}")
    axes.set_ylim(edges[0], edges[-1])
    step = max(1, round(longest / 4))
    ticks = list(range(0, longest - step // 2, step))
    axes.set_yticks([*ticks, oldest], [*map(str, ticks), f"≥ {longest}"])
    axes.grid(False)
    axes.set_title("Run length, bars", y=1.0)
    axes.legend(loc="lower right", bbox_to_anchor=(0.7, 1.0), ncols=3, borderaxespad=0.1, handlelength=1.6)
    place = axes.inset_axes((0.76, 1.025, 0.225, 0.025))
    bar = figure.colorbar(heat, cax=place, orientation="horizontal", ticks=[1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    place.xaxis.set_ticks_position("top")
    place.tick_params(labelsize=8, length=0, pad=1)
    place.minorticks_off()
    bar.set_ticklabels(["P = .0001", ".001", ".01", ".1", "1"])
    bar.outline.set_visible(False)


def _chance(axes: Axes, record: RegimeRecord, days: Array) -> None:
    policy = record.run.portfolios[0].policy.regime
    p = record.run.regimes.switch_probability[record.first : record.stop]
    axes.fill_between(days, p, 0.0, step="post", color=PALE[0], linewidth=0, rasterized=True)
    axes.plot(days, p, color=LIGHT[SERIES[0]], linewidth=0.9, drawstyle="steps-post")
    axes.axhline(policy.threshold, color=LIGHT[MUTED], linewidth=0.8, linestyle=DASHES[1])
    axes.set_ylim(0, 1.03)
    axes.set_title(
        f"P(run length ≤ {policy.horizon}); dashed: the threshold, to be held for {policy.dwell} bars"
    )
    percent_axis(axes)


def _risk(axes: Axes, record: RegimeRecord, days: Array) -> None:
    policy = record.run.portfolios[0].policy.regime
    segment = record.run.regimes.segment_volatility[record.first : record.stop]
    reference = record.run.regimes.reference_volatility[record.first : record.stop]
    axes.plot(days, segment, color=LIGHT[SERIES[0]], label="present segment")
    axes.plot(days, reference, color=LIGHT[MUTED], linestyle=DASHES[1], label="long run")
    for label, ratio in (("stressed", policy.stressed_enter), ("calm", policy.calm_enter)):
        colour = LABEL_COLOURS[label]
        axes.plot(
            days, ratio * reference, color=colour, linewidth=0.9, linestyle=DASHES[2], label=f"enters {label}"
        )
    axes.set_title("Volatility of the market, a year")
    percent_axis(axes)
    axes.set_ylim(bottom=0)
    _key(axes)


def _ribbon(axes: Axes, record: RegimeRecord, days: Array) -> None:
    labels = record.run.regimes.label[record.first : record.stop]
    for label in LABELS:
        spans = label_spans(np.array([x == label for x in labels]), days)
        axes.broken_barh(spans, (0, 1), facecolors=LABEL_COLOURS[label], linewidth=0, label=label)
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.grid(False)
    axes.set_title("Label")
    _key(axes)


def _invested(axes: Axes, record: RegimeRecord, days: Array) -> None:
    share = record.run.portfolios[0].held[record.first : record.stop].sum(axis=1)
    axes.fill_between(days, share, 0.0, step="post", color=PALE[1], linewidth=0, rasterized=True)
    axes.plot(days, share, color=LIGHT[SERIES[2]], drawstyle="steps-post")
    axes.set_ylim(0, max(1.03, 1.03 * float(share.max())))
    axes.set_title("Invested share of the NAV; the rest is cash")
    percent_axis(axes)


def _trades(axes: Axes, record: RegimeRecord) -> None:
    decisions = record.decisions()
    for trigger, colour in TRIGGERS.items():
        chosen = [d for d in decisions if d.trigger == trigger]
        if not chosen:
            continue
        days = date_numbers(np.array([d.event_time for d in chosen], dtype=np.int64))
        traded = [d.turnover.traded for d in chosen]
        axes.vlines(days, 0, traded, color=colour, linewidth=1.4)
        axes.plot(
            days,
            traded,
            "o",
            color=colour,
            markersize=3.2,
            label=f"{trigger.replace('_', ' ')}: {len(chosen)}",
        )
    axes.set_title("Turnover of each decision, by what called for it")
    axes.set_ylim(bottom=0)
    percent_axis(axes)
    _key(axes)


def _marks(panels: Sequence[Axes], record: RegimeRecord, events: Sequence[Event]) -> None:
    """Switches through all panels, numbered in the heat map's; events from the top down to it."""
    for number, switch in enumerate(record.switches, start=1):
        (day,) = date_numbers(np.array([switch.event_time]))
        for axes in panels:
            axes.axvline(
                day, color=LIGHT[INK], linewidth=0.8, linestyle=CAUSE_DASHES[switch.cause], alpha=0.8
            )
        panels[1].annotate(
            str(number),
            (day, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -22),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=9,
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": LIGHT[INK]},
        )
    for i, event in enumerate(sorted(events, key=lambda e: e.time)):
        (day,) = date_numbers(np.array([event.time]))
        for axes in panels:
            axes.axvline(day, color=LIGHT[SERIES[3]], linewidth=0.8, linestyle=DASHES[2])
        panels[0].annotate(
            event.name,
            (day, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 18 + 11 * (i % 2)),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            color=LIGHT[SERIES[3]],
            annotation_clip=False,
        )


def _key(axes: Axes) -> None:
    """What the lines are, in the line of the title."""
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        labels,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=max(1, len(handles)),
        borderaxespad=0.1,
        handlelength=1.6,
    )
