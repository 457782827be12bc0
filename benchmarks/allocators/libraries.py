"""Portfolio libraries on our programmes, each by its public interface and the fastest way that it offers.

An adapter says what its library cannot express (:meth:`Library.lacks`) and solves the rest.  A library that
returns None or raises says that there is no answer.  All are asked from ready moments: estimation is not
measured.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from stream_allocator.allocate import Program, covariance
from stream_allocator.allocate.limits import holding_interval, rows_of, trade_interval

__all__ = [
    "LIBRARIES",
    "Cvxportfolio",
    "Library",
    "PyPortfolioOpt",
    "Riskfolio",
    "Skfolio",
    "installed",
    "quiet",
]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What peers print and warn is not shown; what they raise is."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
                yield
    finally:
        logging.disable(before)


def rows_on_sums(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Groups (and gross, where nothing may be short) as A w <= b; without the cash rows."""
    rows = rows_of(program)
    stay = [j for j, kind in enumerate(rows.kinds) if not kind.startswith("cash")]
    return (rows.normals + rows.magnitudes)[stay], rows.bounds[stay]


class Library:
    """One peer.

    Attributes
    ----------
    title, module : str
        Of the library.
    solver : str, optional
        For CVXPY, where it is not the library's default.
    """

    title: ClassVar[str]
    module: ClassVar[str]

    def __init__(self, solver: str | None = None) -> None:
        self.solver = solver

    @property
    def name(self) -> str:
        """As shown in tables."""
        return f"{self.title}, {self.solver.capitalize()}" if self.solver else self.title

    def lacks(self, program: Program) -> str:
        """The first thing in the programme that cannot be said; empty where all can."""
        if program.radius or program.mean_ambiguity or program.deviation_aversion:
            return "root terms"
        return ""

    def solve(self, program: Program) -> np.ndarray | None:
        """Weights, or None where the library says that there are none."""
        raise NotImplementedError


class Skfolio(Library):
    """skfolio's ``MeanRisk``, its factor model as the prior; total turnover by a CVXPY expression."""

    title, module = "skfolio", "skfolio"

    def solve(self, program: Program) -> np.ndarray | None:
        import cvxpy as cp
        from skfolio import RiskMeasure
        from skfolio.optimization import MeanRisk, ObjectiveFunction

        rows, bounds = rows_on_sums(program)
        lower, upper = trade_interval(program)
        more: dict[str, Any] = {}
        if len(rows):
            more |= {"left_inequality": rows, "right_inequality": bounds}
        if math.isfinite(program.turnover):
            more["add_constraints"] = lambda w: cp.norm1(w - program.current) <= program.turnover
        if program.linear_cost.any():
            more |= {"transaction_costs": program.linear_cost, "previous_weights": program.current}
        if math.isfinite(program.volatility):
            more["max_standard_deviation"] = program.volatility
        estimator = MeanRisk(
            objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
            risk_measure=RiskMeasure.VARIANCE,
            risk_aversion=0.5 * program.risk_aversion,
            prior_estimator=_ready(program),
            min_weights=lower,
            max_weights=upper,
            budget=None,
            min_budget=1.0 - program.cash_upper,
            max_budget=1.0 - program.cash_lower,
            **more,
        )
        return np.asarray(estimator.fit(np.zeros((2, len(lower)))).weights_)


def _ready(program: Program) -> Any:
    """A prior of skfolio that knows the moments already."""
    from skfolio.prior import BasePrior, FactorModel, ReturnDistribution

    n, k = program.factors.shape
    nothing = np.zeros((2, n))
    model = FactorModel(
        observations=np.arange(2), asset_names=np.array(program.assets), factor_names=np.arange(k),
        factor_families=None, loading_matrix=program.factors, exposures=None,
        factor_covariance=np.eye(k), factor_mu=np.zeros(k), factor_returns=None,
        idio_covariance=program.idiosyncratic, idio_mu=None, idio_returns=None, idio_variances=None,
    )  # fmt: skip

    class Ready(BasePrior):
        def __init__(self) -> None:
            pass

        def fit(self, X: Any, y: Any = None, **_: Any) -> Any:
            self.return_distribution_ = ReturnDistribution(
                mu=program.mean,
                covariance=covariance(program),
                returns=nothing,
                factor_model=model if k and (program.idiosyncratic > 0.0).all() else None,
            )
            return self

    return Ready()


class Riskfolio(Library):
    """Riskfolio-Lib's ``Portfolio.optimization``; every other bound as a linear inequality."""

    title, module = "Riskfolio-Lib", "riskfolio"

    def lacks(self, program: Program) -> str:
        if math.isfinite(program.turnover):
            return "total turnover"
        if program.linear_cost.any():
            return "costs"
        if program.cash_upper > program.cash_lower:
            return "a range of cash"
        return super().lacks(program)

    def solve(self, program: Program) -> np.ndarray | None:
        import pandas as pd
        import riskfolio

        rows, bounds = rows_on_sums(program)
        lower, upper = trade_interval(program)
        n = len(lower)
        budget = 1.0 - program.cash_lower
        short = bool((lower < 0.0).any())
        portfolio = riskfolio.Portfolio(
            returns=pd.DataFrame(np.zeros((2, n)), columns=list(program.assets)),
            sht=short,
            budget=budget,
            upperlng=float(upper.max()),
            uppersht=float(max(0.0, -lower.min())),
            budgetsht=float(np.maximum(-lower, 0.0).sum()),
            upperdev=program.volatility if math.isfinite(program.volatility) else None,
            ainequality=np.vstack([np.eye(n), -np.eye(n), rows]),
            binequality=np.concatenate([upper, -lower, bounds])[:, None],
        )
        portfolio.mu = pd.DataFrame(program.mean[None, :], columns=list(program.assets))
        portfolio.cov = pd.DataFrame(covariance(program), index=program.assets, columns=program.assets)
        answer = portfolio.optimization(
            model="Classic", rm="MV", obj="Utility", l=0.5 * program.risk_aversion
        )
        return None if answer is None else answer["weights"].to_numpy()


class PyPortfolioOpt(Library):
    """PyPortfolioOpt's ``max_quadratic_utility``; rows and turnover by CVXPY expressions."""

    title, module = "PyPortfolioOpt", "pypfopt"

    def lacks(self, program: Program) -> str:
        budget = 1.0 - program.cash_lower
        if program.cash_upper > program.cash_lower or budget not in (0.0, 1.0):
            return "a range of cash"
        if budget == 0.0 and (program.lower >= 0.0).any():
            return "a budget of zero without shorts"
        if program.linear_cost.any() and np.ptp(program.linear_cost) > 0.0:
            return "costs by asset"
        if math.isfinite(program.volatility):
            return "a volatility cap beside the utility"
        return super().lacks(program)

    def solve(self, program: Program) -> np.ndarray | None:
        import cvxpy as cp
        from pypfopt import EfficientFrontier, objective_functions

        rows, bounds = rows_on_sums(program)
        frontier = EfficientFrontier(
            program.mean, covariance(program), trade_interval(program), solver=self.solver
        )
        if len(rows):
            frontier.add_constraint(lambda w: rows @ w <= bounds)
        if math.isfinite(program.turnover):
            frontier.add_constraint(lambda w: cp.norm1(w - program.current) <= program.turnover)
        if program.linear_cost.any():
            frontier.add_objective(
                objective_functions.transaction_cost, w_prev=program.current, k=program.linear_cost[0]
            )
        frontier.max_quadratic_utility(program.risk_aversion, market_neutral=program.cash_lower == 1.0)
        return np.asarray(frontier.weights)


class Cvxportfolio(Library):
    """cvxportfolio's ``SinglePeriodOptimization.execute`` without market data: its call for live use."""

    title, module = "cvxportfolio", "cvxportfolio"

    def solve(self, program: Program) -> np.ndarray | None:
        policy, times = self.policy([program])
        holdings = _with_cash(program)
        trades, _, _ = policy.execute(h=holdings, market_data=None, t=times[0])
        return np.asarray((holdings + trades).to_numpy()[:-1])

    def policy(self, programs: Sequence[Program]) -> tuple[Any, Any]:
        """The policy of consecutive programmes with the same limits, and their times."""
        import cvxportfolio as cvx
        import pandas as pd

        program = programs[0]
        names = list(program.assets)
        times = pd.date_range("2026-01-02", periods=len(programs))
        k = program.factors.shape[1]
        own = pd.DataFrame([p.idiosyncratic for p in programs], times, names)
        if k:
            index = pd.MultiIndex.from_product([times, range(k)])
            loadings = np.vstack([p.factors.T for p in programs])
            risk = cvx.FactorModelCovariance(F=pd.DataFrame(loadings, index, names), d=own)
        else:
            risk = cvx.DiagonalCovariance(own)
        objective = cvx.ReturnsForecast(r_hat=pd.DataFrame([p.mean for p in programs], times, names))
        objective -= 0.5 * program.risk_aversion * risk
        lower, upper = holding_interval(program)
        limits: list[Any] = [
            cvx.MinWeights(pd.Series(lower, names)),
            cvx.MaxWeights(pd.Series(upper, names)),
            cvx.MinCashBalance(program.cash_lower),
            cvx.FactorMinLimit(pd.Series(1.0, names), 1.0 - program.cash_upper),
        ]
        rows, bounds = rows_on_sums(program)
        for row, bound in zip(rows, bounds, strict=True):
            limits.append(cvx.FactorMaxLimit(pd.Series(row, names), float(bound)))
        if program.linear_cost.any():
            objective -= cvx.TransactionCost(a=pd.Series(program.linear_cost, names), b=None)
        if math.isfinite(program.turnover):
            limits.append(cvx.TurnoverLimit(0.5 * program.turnover))  # half the sum of trades
        if math.isfinite(program.volatility):
            limits.append(risk <= program.volatility**2)
        chosen = {"solver": self.solver} if self.solver else {}
        if np.isfinite(program.trade).any():
            limits.append(cvx.MinTradeWeights(pd.Series(-program.trade, names)))
            limits.append(cvx.MaxTradeWeights(pd.Series(program.trade, names)))
        policy = cvx.SinglePeriodOptimization(objective, limits, include_cash_return=False, **chosen)
        return policy, times

    def loop(self, programs: Sequence[Program]) -> Callable[[Program], np.ndarray]:
        """The inner loop of its back-tester: compiled once, then parameters and a solve each time."""
        policy, times = self.policy(programs)
        names = _with_cash(programs[0]).index
        policy.initialize_estimator_recursive(universe=names, trading_calendar=times)
        place = {id(program): when for program, when in zip(programs, times, strict=True)}

        def solve(program: Program) -> np.ndarray:
            weights = policy.values_in_time_recursive(
                t=place[id(program)], current_weights=_with_cash(program), current_portfolio_value=1.0,
                past_returns=None, past_volumes=None, current_prices=None,
            )  # fmt: skip
            return np.asarray(weights.to_numpy()[:-1])

        return solve


def _with_cash(program: Program) -> Any:
    """The weights held, cash last; with a NAV of 1 they are holdings."""
    import pandas as pd

    return pd.Series([*program.current, 1.0 - program.current.sum()], [*program.assets, "cash"])


LIBRARIES: tuple[Library, ...] = (
    Skfolio(),
    Riskfolio(),
    PyPortfolioOpt(),
    PyPortfolioOpt("CLARABEL"),
    Cvxportfolio(),
    Cvxportfolio("CLARABEL"),
)


def installed(module: str) -> bool:
    """Whether a peer can be imported; importing it is not part of any time that is measured."""
    try:
        with quiet():
            importlib.import_module(module)
    except ImportError:
        return False
    return True
