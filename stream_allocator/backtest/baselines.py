"""Static portfolios to measure the allocator against: same fills, same costs, same start.

A rule maps the returns seen so far to weights. It is asked every ``every`` bars; the answer is filled at
the next bar's close by the paper account's own ledger, and the weights drift in between. It is asked about
the assets alone that it can judge: listed for as long as it looks back, and with a return lately.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from stream_allocator.allocate import equal_risk_contribution
from stream_allocator.backtest.account import COST_BPS, DELISTING, Delisting, Ledger

__all__ = [
    "RULES",
    "Path",
    "eligible",
    "equal_risk",
    "equal_weight",
    "inverse_volatility",
    "minimum_variance",
    "run_rule",
]

Array = NDArray[np.float64]
Rule = Callable[[Array], Array]

WINDOW = 252
"""Bars of history that the rules with an estimate look back on."""

SILENT = 5
"""Bars without a return after which no rule holds an asset, as for the engine's ``stale_bars``."""


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """What a rule came to.

    Attributes
    ----------
    wealth : ndarray, shape (T - start,)
        Net of costs; starts at 1 at the bar of the first question.
    traded : ndarray, shape (T - start,)
        Turnover of the fill at each bar, in units of NAV; 0 where none was.
    """

    wealth: Array
    traded: Array


def equal_weight(history: Array) -> Array:
    """1/N."""
    n = history.shape[1]
    return np.full(n, 1.0 / n)


def inverse_volatility(history: Array) -> Array:
    """``w_i ~ 1 / sd_i`` over the window; an asset that never moved gets nothing."""
    spread = history[-WINDOW:].std(axis=0)
    weights = np.where(spread > 0, 1.0 / np.where(spread > 0, spread, 1.0), 0.0)
    return weights / weights.sum() if weights.any() else equal_weight(history)


def equal_risk(history: Array) -> Array:
    """Equal risk contributions under the window's sample covariance; an asset that never moved gets nothing.

    Until there are more observations than twice the assets: inverse volatility.
    """
    estimated = _estimate(history)
    if estimated is None:
        return inverse_volatility(history)
    moving, covariance = estimated
    weights = np.zeros(history.shape[1])
    weights[moving] = equal_risk_contribution(covariance)
    return weights


def minimum_variance(history: Array) -> Array:
    """Long-only, fully invested minimum variance of the window's sample covariance.

    Up to scale it is ``argmax_{x >= 0} 1'x - x'Sx / 2``, a non-negative least-squares problem in the
    Cholesky factor of S, so the answer is exact. Until there are more observations than twice the
    assets: 1/N.
    """
    estimated = _estimate(history)
    if estimated is None:
        return equal_weight(history)
    moving, covariance = estimated
    upper = np.linalg.cholesky(covariance).T
    scale = float(np.sqrt(np.diag(covariance).mean()))
    x, _ = nnls(upper / scale, np.linalg.solve(upper.T / scale, np.ones(moving.size)))
    weights = np.zeros(history.shape[1])
    weights[moving] = x / x.sum()
    return weights


def _estimate(history: Array) -> tuple[NDArray[np.intp], Array] | None:
    """The assets that moved in the window and their covariance; None while that is too little to go by."""
    window = history[-WINDOW:]
    moving = np.flatnonzero(window.std(axis=0) > 0)
    if len(window) <= 2 * window.shape[1] or moving.size == 0:
        return None
    covariance = np.cov(window[:, moving], rowvar=False).reshape(moving.size, moving.size)
    ridge = 1e-10 * float(np.trace(covariance)) / moving.size  # two share classes of one company
    return moving, covariance + ridge * np.eye(moving.size)


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "1/N": equal_weight,
        "inverse volatility": inverse_volatility,
        "equal risk contribution": equal_risk,
        "minimum variance": minimum_variance,
    }
)


def eligible(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The assets that a rule is asked about, shape (n,).

    An asset is one once it has been listed for `WINDOW` bars, or from the start of a shorter history, and
    while it had a return in the last `SILENT` bars. Else the quiet before a listing and after the end would
    look like the lowest volatility of all.

    Parameters
    ----------
    seen : ndarray of bool, shape (t, n)
        Where there were returns so far.
    """
    listed = seen[: max(SILENT, len(seen) - WINDOW + 1)].any(axis=0)
    return np.asarray(listed & seen[-SILENT:].any(axis=0))


def run_rule(
    rule: Rule,
    returns: Array,
    *,
    start: int,
    every: int = 21,
    cost_bps: float = COST_BPS,
    interest: Array | None = None,
    delisting: Delisting | None = DELISTING,
) -> Path:
    """Follow a rule over a history.

    Parameters
    ----------
    rule : callable
        Returns so far of the :func:`eligible` assets, shape (t, k), without NaN (a missing return counts as
        none) -> weights (k,). Where no asset is eligible everything stays in cash.
    returns : ndarray, shape (T, n)
    start : int
        Bar of the first question, filled at ``start + 1``.
    every : int
        Bars between questions.
    cost_bps : float
    interest : ndarray, shape (T,), optional
        Return of cash over each bar; nothing when not given.
    delisting : Delisting, optional

    Returns
    -------
    Path
    """
    known = np.isfinite(returns)
    seen = np.where(known, returns, 0.0)
    ledger = Ledger(returns.shape[1], 1.0, cost_bps, delisting)
    bars = len(returns) - start
    wealth, traded = np.ones(bars), np.zeros(bars)
    target: Array | None = None
    for t in range(bars):
        now = start + t
        # nothing is held and nothing earned before the first question
        ledger.mark(returns[now], float(interest[now]) if interest is not None and t > 0 else 0.0)
        if target is not None and ledger.tradable:
            traded[t] = ledger.rebalance(target).turnover
            target = None
        if t % every == 0:
            target = _among(rule, seen[: now + 1], eligible(known[: now + 1]))
        wealth[t] = ledger.nav
    return Path(wealth, traded)


def _among(rule: Rule, history: Array, chosen: NDArray[np.bool_]) -> Array:
    """A rule's weights where it is asked about some assets only; the others get nothing."""
    if chosen.all():
        return rule(history)
    weights = np.zeros(history.shape[1])
    if chosen.any():
        weights[chosen] = rule(np.ascontiguousarray(history[:, chosen]))
    return weights
