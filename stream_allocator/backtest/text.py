"""The summary for a terminal."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from rich.box import SIMPLE_HEAD
from rich.table import Table

from stream_allocator.backtest.summary import Row, Summary
from stream_allocator.backtest.transitions import AFTER, Transition, summarise_transitions

__all__ = ["WIDTH", "comparison_table", "lacking", "table", "transition_table"]

#: Characters in a line where the output is not a terminal's, so that no column is cut.
WIDTH = 140


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
    result = Table(
        title=f"Regime switches{which}",
        title_style="bold",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in ("date", "label", "rung"):
        result.add_column(name, no_wrap=True)
    turnover = ("traded", "granted", "filled", "after", "budget", "used")
    for name in (*turnover, "exposure", "least", "volatility", "back", "sure"):
        result.add_column(name, justify="right", no_wrap=True)
    for t in sorted(shown, key=lambda t: t.bar):
        risk = f"{t.volatility_before * 100:.1f} → {t.volatility_after:.1%}"
        result.add_row(
            (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t.event_time)).strftime("%Y-%m-%d"),
            f"{t.before} → {t.after}",
            t.rung or "–",
            *(f"{x:.1%}" for x in (t.traded, t.granted, t.filled, t.traded_after, t.budget_after)),
            f"{t.share:.0%}",
            f"{t.gross_before * 100:.0f} → {t.gross_after:.0%}",
            f"{t.gross_least:.0%}",
            "–" if math.isnan(t.volatility_after) else risk,
            _bars(t.exposure_recovery),
            _bars(t.confidence_recovery),
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


def _bars(count: int | None) -> str:
    return "never" if count is None else str(count)
