"""What each regime switch did to a portfolio: what it traded of what it might, how exposure went, and when
it was back.

A switch is the moment at which a regime-aware policy could do harm: it asks for a large trade exactly when
the evidence is thin. So each one is held against the two budgets that applied (the regime's cap on one
decision and the token bucket's level), and followed until exposure and confidence are back.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.run import PortfolioRun, Run
from stream_allocator.book import MICROSECONDS_PER_YEAR, TokenBucket
from stream_allocator.events import Allocation, RegimeLabel, Rung

__all__ = [
    "AFTER",
    "BEFORE",
    "Transition",
    "exposure_paths",
    "finite_fields",
    "gross",
    "largest",
    "levels",
    "share_of",
    "summarise_transitions",
    "transition_rows",
    "transitions",
    "worst_share",
]

Array = NDArray[np.float64]

#: Bars before a switch that its picture shows, and over which confidence before it is taken.
BEFORE = 21
#: Bars, the switch's own included, over which what follows is added up; fewer where the next comes first.
AFTER = 63
#: Exposure and confidence are back within this share of what they were.
BACK = 0.05
#: To which turnover limits hold.
EXACT = 1e-12


@dataclass(frozen=True, slots=True)
class Transition:
    """One regime switch of a portfolio. Shares are of the NAV, volatilities a year.

    Attributes
    ----------
    bar : int
        Of the run.
    event_time : int
    before, after : str
        Labels of the bar before the switch and of its own.
    rung : str or None
        Of the decision at the switch; None where there was none (mode halted, shadow).
    cap : float
        What the regime lets one decision trade.
    level : float
        Of the token bucket before the decision.
    asked : float
        What the decision would have traded without any turnover limit; NaN where that is not known.
    granted, traded : float
        At the switch; 0 without a decision.
    filled : float
        By the paper execution at the next bar: the way to the target from where that bar's returns have
        moved the holdings, so it may be a drift's length above ``traded``.
    bars : int
        What follows is added up over so many bars, this one included.
    decisions : int
        Executable ones in these bars.
    traded_after, filled_after : float
        By all of them.
    budget_after : float
        That they had: ``level + refill * time``.
    share : float
        The larger of what one decision used of its grant and what all used of ``budget_after``; above 1 would
        be a broken promise.
    gross_before, gross_at, gross_after, gross_least : float
        Exposure ``sum |w|`` at the bar before, at the switch (before its trade is filled), at the next bar
        (after), and the least in these bars.
    volatility_before, volatility_after : float
        Ex ante, of what was held and of the decision's target by the same covariance; NaN without a decision.
    confidence_before, confidence_at : float
        The median of the bars before, and that of the switch.
    exposure_recovery : int or None
        Bars from the switch until exposure is no more than 5 % below ``gross_before`` again; 0 where it never
        was in these bars, None where the run ends first.
    confidence_recovery : int or None
        The same of confidence and ``confidence_before``.
    """

    bar: int
    event_time: int
    before: RegimeLabel
    after: RegimeLabel
    rung: Rung | None
    cap: float
    level: float
    asked: float
    granted: float
    traded: float
    filled: float
    bars: int
    decisions: int
    traded_after: float
    filled_after: float
    budget_after: float
    share: float
    gross_before: float
    gross_at: float
    gross_after: float
    gross_least: float
    volatility_before: float
    volatility_after: float
    confidence_before: float
    confidence_at: float
    exposure_recovery: int | None
    confidence_recovery: int | None


def transitions(run: Run, portfolio: PortfolioRun) -> tuple[Transition, ...]:
    """Every regime switch after the portfolio's first executable decision, in order.

    A switch before that moves nothing, and one at the same bar is the start itself.
    """
    chosen = [i for i, d in enumerate(portfolio.decisions) if d.executable]
    if not chosen:
        return ()
    bars = run.bars_of([portfolio.decisions[i] for i in chosen])
    decided = dict(zip(bars, chosen, strict=True))
    switches = [int(t) for t in np.flatnonzero(run.regimes.switched) if t > min(decided)]
    ends = [*switches, len(run.times)][1:]
    level, exposure = levels(portfolio, run.times[switches]), gross(portfolio)
    return tuple(
        _transition(run, portfolio, exposure, decided, bar, min(end, bar + AFTER), float(held))
        for bar, end, held in zip(switches, ends, level, strict=True)
    )


def _transition(
    run: Run,
    portfolio: PortfolioRun,
    exposure: Array,
    decided: dict[int, int],
    bar: int,
    end: int,
    level: float,
) -> Transition:
    """One switch; what follows it lies in the bars before ``end``."""
    policy, regimes = portfolio.policy, run.regimes
    made = [portfolio.decisions[decided[t]] for t in range(bar, end) if t in decided]
    own = portfolio.decisions[decided[bar]] if bar in decided else None
    measured = portfolio.breaches[decided[bar]] if bar in decided else None
    elapsed = int(run.times[end - 1] - run.times[bar]) / MICROSECONDS_PER_YEAR
    budget = level + policy.turnover.refill_per_year * elapsed
    spent = math.fsum(turnover_of(d) for d in made)
    fills = portfolio.traded[bar + 1 : end + 1]
    sure = float(np.median(regimes.confidence[max(bar - BEFORE, 0) : bar]))
    return Transition(
        bar=bar,
        event_time=int(run.times[bar]),
        before=regimes.label[bar - 1],
        after=regimes.label[bar],
        rung=None if own is None else own.rung,
        cap=policy.budgets[regimes.label[bar]].turnover,
        level=level,
        asked=math.nan if own is None else own.turnover.asked,
        granted=0.0 if own is None else own.turnover.granted,
        traded=0.0 if own is None else turnover_of(own),
        filled=float(fills[:1].sum()) if own is not None else 0.0,
        bars=end - bar,
        decisions=len(made),
        traded_after=spent,
        filled_after=float(fills.sum()),
        budget_after=budget,
        share=largest(
            [share_of(spent, budget), *(share_of(turnover_of(d), d.turnover.granted) for d in made)]
        ),
        gross_before=float(exposure[bar - 1]),
        gross_at=float(exposure[bar]),
        gross_after=float(exposure[min(bar + 1, len(exposure) - 1)]),
        gross_least=float(exposure[bar : end + 1].min()),
        volatility_before=math.nan if measured is None else measured.held,
        volatility_after=math.nan if measured is None else measured.predicted,
        confidence_before=sure,
        confidence_at=float(regimes.confidence[bar]),
        exposure_recovery=_recovery(exposure, bar, end, float(exposure[bar - 1])),
        confidence_recovery=_recovery(regimes.confidence, bar, end, sure),
    )


def _recovery(path: Array, bar: int, end: int, level: float) -> int | None:
    """Bars from ``bar`` until the path is back at a level that it left before ``end``."""
    enough = path >= (1.0 - BACK) * level
    lost = np.flatnonzero(~enough[bar : end + 1])
    if not lost.size:
        return 0
    back = np.flatnonzero(enough[bar + lost[0] :])
    return int(lost[0] + back[0]) if back.size else None


def gross(portfolio: PortfolioRun) -> Array:
    """Exposure ``sum |w|`` after each bar, shape (T,)."""
    exposure: Array = np.abs(portfolio.held).sum(axis=1)
    return exposure


def turnover_of(decision: Allocation) -> float:
    """``sum |target - current|`` of the published weights, whatever the decision says of it."""
    return math.fsum(abs(w.target - w.current) for w in decision.weights)


def share_of(traded: float, budget: float) -> float:
    """Traded over budget; of no budget 0 where nothing was traded, else infinite.

    Turnover limits hold to 1e-12, so no more than that above the budget is all of it.
    """
    if traded <= budget + EXACT:
        return min(traded / budget, 1.0) if budget > 0.0 else 0.0
    return traded / budget if budget > 0.0 else math.inf


def levels(portfolio: PortfolioRun, times: NDArray[np.int64]) -> Array:
    """The token bucket's level at some event times, before any decision of that time; shape of ``times``.

    Recomputed from the policy and the published trades, not taken from what decisions say is left.

    Parameters
    ----------
    portfolio : PortfolioRun
    times : ndarray of int64
        Not decreasing.
    """
    policy = portfolio.policy.turnover
    bucket = TokenBucket(policy.capacity, policy.refill_per_year, policy.start)
    trades = [(d.event_time, turnover_of(d)) for d in portfolio.decisions if d.executable]
    found, next_trade = [], 0
    for time in times.tolist():
        while next_trade < len(trades) and trades[next_trade][0] < time:
            then, turnover = trades[next_trade]
            bucket.advance(then)
            bucket.take(turnover)
            next_trade += 1
        bucket.advance(time)
        found.append(bucket.level)
    return np.array(found, dtype=np.float64)


def worst_share(found: Sequence[Transition]) -> float:
    """The largest share of a budget that a switch used; 0 without any."""
    return largest([t.share for t in found])


def largest(values: Sequence[float] | Array) -> float:
    """The largest; NaN where one is, 0 of none."""
    return float(np.max(values)) if len(values) else 0.0


def exposure_paths(
    portfolio: PortfolioRun, found: Sequence[Transition], *, before: int = BEFORE, after: int = AFTER
) -> Array:
    """Exposure round each switch, aligned at it, shape (switches, before + 1 + after).

    Column ``before`` is the bar of the switch. NaN outside the run.
    """
    exposure = gross(portfolio)
    steps = np.arange(-before, after + 1)
    bars = np.array([t.bar for t in found], dtype=np.int64)[:, None] + steps
    inside = (bars >= 0) & (bars < len(exposure))
    return np.where(inside, exposure[np.clip(bars, 0, len(exposure) - 1)], np.nan)


def summarise_transitions(found: Sequence[Transition]) -> dict[str, Any]:
    """All switches in a few numbers, JSON-able.

    A median is None without any, or where it is never; a share of nothing granted is None.
    """
    exposure = [t.exposure_recovery for t in found]
    confidence = [t.confidence_recovery for t in found]
    return {
        "switches": len(found),
        "worst_transition_share_of_budget": _finite(worst_share(found)),
        "above_budget": sum(t.share > 1.0 for t in found),
        "worst_filled_share_of_grant": _finite(
            max((share_of(t.filled, t.granted) for t in found), default=0.0)
        ),
        "median_traded": _median([t.traded for t in found]),
        "median_traded_after": _median([t.traded_after for t in found]),
        "median_exposure_recovery": _median(exposure),
        "exposure_not_recovered": sum(x is None for x in exposure),
        "median_confidence_recovery": _median(confidence),
        "confidence_not_recovered": sum(x is None for x in confidence),
    }


def transition_rows(found: Sequence[Transition]) -> list[dict[str, Any]]:
    """One JSON-able row a switch, for the report: the fields of :class:`Transition`, None if not finite."""
    return [finite_fields(t) for t in found]


def finite_fields(row: Any) -> dict[str, Any]:
    """The fields of a dataclass, JSON-able: None for a number that is not finite."""
    return {k: _finite(v) if isinstance(v, float) else v for k, v in asdict(row).items()}


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _median(values: Sequence[float | None]) -> float | None:
    """With None for never, which is longer than any number."""
    return _finite(float(np.median([math.inf if x is None else x for x in values]))) if values else None
