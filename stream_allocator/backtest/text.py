"""The summary for a terminal."""

from collections.abc import Sequence

from rich.table import Table

from stream_allocator.backtest.summary import Row, Summary

__all__ = ["comparison_table", "lacking", "table"]


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
