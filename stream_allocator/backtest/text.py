"""The summary for a terminal."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from stream_allocator.backtest.days import day
from stream_allocator.backtest.summary import Row, Summary
from stream_allocator.backtest.transitions import AFTER, Transition, summarise_transitions

__all__ = [
    "WIDTH",
    "bars_until",
    "comparison_table",
    "lacking",
    "plain_table",
    "table",
    "transition_table",
    "widen",
]

#: Characters in a line where the output is not a terminal's, so that no column is cut.
WIDTH = 140


def widen(console: Console, width: int = WIDTH) -> None:
    """Give a console that is no terminal at least so many characters in a line."""
    if not console.is_terminal:
        console.width = max(console.width, width)


def plain_table(title: str) -> Table:
    """A table of many narrow columns: no frame, next to no padding."""
    return Table(
        title=title,
        title_style="bold",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _compared(title: str, own: Sequence[Row], others: Sequence[Row]) -> Table:
    """Metrics of portfolios, our own above the others."""
    result = Table(title=title, title_style="bold")
    result.add_column("portfolio")
    for name in ("return", "volatility", "Sharpe", "worst drawdown", "turnover a year"):
        result.add_column(name, justify="right")
    for i, row in enumerate((*own, *others)):
        m = row.metrics
        result.add_row(
            row.name,
            f"{m.annual_return:.1%}",
            f"{m.volatility:.1%}",
            f"{m.sharpe:.2f}",
            f"{m.max_drawdown:.1%}",
            f"{m.turnover:.2f}",
            style="bold" if i < len(own) else None,
            end_section=i == len(own) - 1,
        )
    return result


def comparison_table(policies: Sequence[Row], baselines: Sequence[Row], since: str) -> Table:
    """Several policies over the same bars."""
    return _compared(f"Policies beside static portfolios from {since} on, net of costs", policies, baselines)


def table(summary: Summary) -> Table:
    """The comparison, and below it what the allocator did."""
    result = _compared(
        f"{summary.allocator.name} beside static portfolios, net of costs",
        [summary.allocator],
        summary.baselines,
    )
    rungs = ", ".join(f"{count} {rung}" for rung, count in summary.rungs.items())
    result.caption = (
        f"{summary.decisions} decisions ({rungs}), {summary.switches} regime switches, worst violation: "
        f"{summary.worst_trade:.0e} of a trade limit, {summary.worst_holdings:.0e} of a holding limit"
    )
    if not summary.coverage.whole:
        result.caption += f"\n{lacking(summary)}"
    result.caption_justify = "left"
    return result


def lacking(summary: Summary) -> str:
    """One sentence about what the history lacks and what that did."""
    c = summary.coverage
    return (
        f"Of {c.assets} assets {c.late} start late, {c.ended} end early and {c.never} have no prices; "
        f"{c.missing} returns missing in between, the longest gap {c.longest_gap} bars, {c.empty_bars} bars "
        f"without any; {summary.delisted} holdings paid out as delisted, {summary.unfilled} trades not made "
        "for want of a close"
    )


def transition_table(found: Sequence[Transition], most: int | None = None) -> Table:
    """What each regime switch traded of its budgets, how exposure went, and when it was back.

    Parameters
    ----------
    found : sequence of Transition
    most : int, optional
        Only so many, those that used most of their budget; the caption is about all.
    """
    shown = sorted(found, key=lambda t: -t.share)[:most]
    which = "" if len(shown) == len(found) else f", the {len(shown)} that used most of their budget"
    result = plain_table(f"Regime switches{which}")
    for name in ("date", "label", "rung"):
        result.add_column(name, no_wrap=True)
    turnover = ("traded", "granted", "filled", "after", "budget", "used")
    for name in (*turnover, "exposure", "least", "volatility", "back", "sure"):
        result.add_column(name, justify="right", no_wrap=True)
    for t in sorted(shown, key=lambda t: t.bar):
        risk = f"{t.volatility_before * 100:.1f} → {t.volatility_after:.1%}"
        result.add_row(
            day(t.event_time),
            f"{t.before} → {t.after}",
            t.rung or "–",
            *(f"{x:.1%}" for x in (t.traded, t.granted, t.filled, t.traded_after, t.budget_after)),
            f"{t.share:.0%}",
            f"{t.gross_before * 100:.0f} → {t.gross_after:.0%}",
            f"{t.gross_least:.0%}",
            "–" if math.isnan(t.volatility_after) else risk,
            bars_until(t.exposure_recovery),
            bars_until(t.confidence_recovery),
        )
    total = summarise_transitions(found)
    share = total["worst_transition_share_of_budget"]
    used = "∞" if share is None else f"{share:.1%}"
    result.caption = (
        f"{total['switches']} switches, worst share of budget {used}, above budget: {total['above_budget']}; "
        f"after, budget: turnover of all decisions until the next switch or {AFTER} bars, and what the token "
        "bucket had for it; back, sure: bars until exposure and confidence are within 5% of before"
    )
    return result


def bars_until(count: int | None) -> str:
    """How many bars something took, or that it never came."""
    return "never" if count is None else str(count)
