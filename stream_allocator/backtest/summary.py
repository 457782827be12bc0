"""A run in a table: the allocator beside static portfolios, over the same bars with the same costs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.baselines import RULES, Path, run_rule
from stream_allocator.backtest.coverage import Coverage, coverage
from stream_allocator.backtest.metrics import Metrics, metrics
from stream_allocator.backtest.run import PortfolioRun, Run
from stream_allocator.errors import DataError
from stream_allocator.events import RegimeLabel

__all__ = ["LABELS", "ROUNDING", "Row", "Summary", "counted", "summarise"]

Array = NDArray[np.float64]

LABELS: tuple[RegimeLabel, ...] = ("calm", "normal", "transition", "stressed")

#: A violation below this is rounding of the last published bits.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One portfolio of the comparison.

    Attributes
    ----------
    name : str
    path : Path
        Wealth 1 at the bar of the first decision.
    metrics : Metrics
    """

    name: str
    path: Path
    metrics: Metrics


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """What the report and the terminal say about one portfolio of a run.

    Attributes
    ----------
    start : int
        Bar of the first executable decision; every path starts there.
    times : ndarray of int64
        Bars from there on.
    allocator : Row
    baselines : tuple of Row
    decisions, executed : int
        Published, and filled by the paper execution.
    triggers, rungs : dict
        Decisions by why and by how.
    switches : int
        Regime switches over the whole run.
    time_in : dict
        Share of the bars in each regime.
    worst_trade, worst_holdings : float
        Worst violation of turnover and liquidity, and of box, cash and groups, units of NAV.
    unreached : int
        Decisions after which a limit was still broken, because nothing reachable kept it.
    worst_volatility : float
        Largest excess over the volatility cap among these, a year.
    worst_gap : float
        Largest certified distance from the optimum among the robust decisions, a year.
    budget : float
        Turnover that the token bucket allows a year.
    interest : ndarray
        Return of cash over each bar after the start: what Sharpe ratios are in excess of.
    coverage : Coverage
        What the history lacks.
    delisted, unfilled : int
        Holdings that were paid out because their prices ended, and trades that were not made for want of a
        close.
    """

    start: int
    times: NDArray[np.int64]
    allocator: Row
    baselines: tuple[Row, ...]
    decisions: int
    executed: int
    triggers: dict[str, int]
    rungs: dict[str, int]
    switches: int
    time_in: dict[str, float]
    worst_trade: float
    worst_holdings: float
    unreached: int
    worst_volatility: float
    worst_gap: float
    budget: float
    interest: Array
    coverage: Coverage
    delisted: int
    unfilled: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """The allocator first."""
        return (self.allocator, *self.baselines)

    @property
    def reference(self) -> Row:
        """The baseline with the best Sharpe ratio: the one to beat."""
        return max(self.baselines, key=lambda row: row.metrics.sharpe)

    def as_json(self) -> dict[str, Any]:
        """Everything but the paths."""
        return {
            "portfolios": {row.name: asdict(row.metrics) for row in self.rows},
            "decisions": self.decisions,
            "executed": self.executed,
            "triggers": self.triggers,
            "rungs": self.rungs,
            "regime_switches": self.switches,
            "time_in": self.time_in,
            "worst_trade_violation": self.worst_trade,
            "worst_holdings_violation": self.worst_holdings,
            "unreached": self.unreached,
            "worst_volatility_excess": self.worst_volatility,
            "worst_gap": self.worst_gap,
            "coverage": asdict(self.coverage),
            "delisted": self.delisted,
            "unfilled": self.unfilled,
        }


def summarise(run: Run, portfolio: PortfolioRun) -> Summary:
    """Compare a portfolio with the static rules from its first executable decision on.

    Raises
    ------
    DataError
        When there is no such decision, or no bar after it.
    """
    first = next((d.event_time for d in portfolio.decisions if d.executable), None)
    if first is None or first >= int(run.times[-1]):
        raise DataError(
            f"portfolio {portfolio.name}: no decision in {len(run.times)} bars could be filled; the policy's "
            f"regime.warmup is {portfolio.policy.regime.warmup} bars, so give more history"
        )
    start = int(np.searchsorted(run.times, first))
    year = portfolio.policy.moments.periods_per_year
    own = Path(portfolio.nav[start:] / portfolio.nav[start], portfolio.traded[start:])
    every = portfolio.policy.schedule.every
    paths = {
        name: run_rule(
            rule,
            run.returns,
            start=start,
            every=every,
            cost_bps=run.cost_bps,
            interest=run.interest,
            delisting=run.delisting,
        )
        for name, rule in RULES.items()
    }
    labels = list(run.regimes.label)
    interest = run.interest[start + 1 :]
    broken = [b for b in portfolio.breaches if b.worst > ROUNDING]
    return Summary(
        start=start,
        times=run.times[start:],
        allocator=_row(portfolio.name, own, year, interest),
        baselines=tuple(_row(name, path, year, interest) for name, path in paths.items()),
        decisions=len(portfolio.decisions),
        executed=int(np.count_nonzero(portfolio.traded)),
        triggers=counted([d.trigger for d in portfolio.decisions]),
        rungs=counted([d.rung for d in portfolio.decisions]),
        switches=int(run.regimes.switched.sum()),
        time_in={label: labels.count(label) / len(labels) for label in LABELS},
        worst_trade=max(b.trade for b in portfolio.breaches),
        worst_holdings=max(b.holdings for b in portfolio.breaches),
        unreached=len(broken),
        worst_volatility=max((b.volatility for b in broken), default=0.0),
        worst_gap=max((d.certificate.gap for d in portfolio.decisions if d.rung == "robust"), default=0.0),
        budget=portfolio.policy.turnover.refill_per_year,
        interest=interest,
        coverage=coverage(run.returns),
        delisted=portfolio.delisted,
        unfilled=portfolio.unfilled,
    )


def _row(name: str, path: Path, year: float, interest: Array) -> Row:
    return Row(name, path, metrics(path.wealth, path.traded, year, interest=interest))


def counted(names: Sequence[str]) -> dict[str, int]:
    """How often each name is there, in the order of the names."""
    return {name: names.count(name) for name in sorted(set(names))}
