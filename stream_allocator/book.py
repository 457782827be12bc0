"""What the engine knows of one portfolio: holdings, turnover bucket, mode, and when to decide."""

from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.feasibility import FAULTS
from stream_allocator.events import Mode, Trigger
from stream_allocator.moments.mixture import FARTHEST
from stream_allocator.policy import Policy
from stream_allocator.regime.elementary import in_place
from stream_allocator.state import Tree

__all__ = ["Book", "TokenBucket"]

Array = NDArray[np.float64]

MICROSECONDS_PER_YEAR = 365.25 * 86400 * 1e6


class TokenBucket:
    """Turnover over event time: it refills at a constant rate up to its capacity, a trade takes from it.

    It starts with the grant of the first decision on top, so that building the portfolio does not use up
    what the first regime switch may need; what is above the capacity after that decision is lost.

    Trades that never ask for more than the level add up, over any stretch of event time [s, t], to no more
    than ``capacity + refill_per_year * (t - s)``, and ``start`` more where it holds the first of them: at s
    the level is at most the capacity, and nothing but time fills it.
    """

    def __init__(self, capacity: float, refill_per_year: float, start: float) -> None:
        self.capacity = capacity
        self.refill_per_year = refill_per_year
        self.level = capacity + start
        self.time = -1

    def advance(self, time: int) -> None:
        """Refill for the event time since the last call."""
        if self.time >= 0 and self.level < self.capacity:
            refill = self.refill_per_year * (time - self.time) / MICROSECONDS_PER_YEAR
            self.level = min(self.capacity, self.level + refill)
        self.time = time

    def take(self, turnover: float) -> None:
        """Spend; never below zero (rounding aside, nobody may ask for more than the level)."""
        self.level = max(0.0, min(self.capacity, self.level - turnover))


@in_place
def drift(returns: Array, farthest: float, weights: Array) -> float:
    """Move weights with a bar's returns, in place: the growth of the whole; nothing where that is lost."""
    growth = 1.0
    for i in range(weights.size):
        growth += weights[i] * returns[i] if abs(returns[i]) < farthest else 0.0
    for i in range(weights.size):
        move = returns[i] if abs(returns[i]) < farthest else 0.0
        weights[i] = weights[i] * (1.0 + move) / growth if growth > 0.0 else 0.0
    return growth


@in_place
def distance(weights: Array, target: Array) -> float:
    """Sum of the absolute differences: the turnover that leads from one to the other."""
    total = 0.0
    for i in range(weights.size):
        total += abs(weights[i] - target[i])
    return total


class Book:
    """One portfolio's state.

    Parameters
    ----------
    name : str
    assets : int
    policy : Policy
    mode : Mode
        To start with.
    """

    def __init__(self, name: str, assets: int, policy: Policy, mode: Mode) -> None:
        self.name = name
        self.policy = policy
        self.policy_digest = policy.digest
        self.mode: Mode = mode
        self.weights = np.zeros(assets)
        self.target = np.zeros(assets)
        self.nav = float("nan")
        self.bucket = TokenBucket(
            policy.turnover.capacity, policy.turnover.refill_per_year, policy.turnover.start
        )
        self.decisions = 0
        self.previous: str | None = None
        self.first_bar = -1
        self.last_bar = -1
        self.control_pending = False
        self.positions_offset = -1
        self.control_offset = -1

    def drift(self, returns: Array) -> None:
        """Let the holdings move with one bar's returns; an asset without a return keeps its value.

        ``w_i <- w_i (1 + r_i) / (1 + w'r)``.  A return of 1e100 or more is none, as for the moments.
        """
        growth = drift(returns, FARTHEST, self.weights)
        # everything lost: there is nothing left to hold
        self.nav = self.nav * growth if growth > 0.0 else 0.0

    def hold(self, weights: Array, nav: float) -> None:
        """Take a position snapshot as the truth."""
        self.weights = weights.copy()
        self.nav = nav

    def trigger(
        self, bar: int, *, ready: bool, switched: bool, volatility: Callable[[], float], cap: float
    ) -> Trigger | None:
        """Why to decide at this bar, if at all. One decision a bar: the first reason that holds names it.

        Parameters
        ----------
        bar : int
        ready : bool
            The moments have seen their warm-up.
        switched : bool
            The universe's regime switched at this bar.
        volatility : callable
            Ex-ante volatility of the holdings, a year; asked only where it matters.
        cap : float
            The regime's cap on it.
        """
        schedule = self.policy.schedule
        if self.mode == "halted" or not ready:
            return None
        if self.first_bar < 0:
            return "start"
        if self.control_pending:
            return "control"
        if switched:
            return "regime_switch"
        if (bar - self.first_bar) % schedule.every == 0:
            return "schedule"
        if bar - self.last_bar >= schedule.drift_wait:
            drifted = distance(self.weights, self.target) > schedule.drift_band
            if drifted or _known(volatility) > cap * (1.0 + schedule.risk_band):
                return "drift"
        return None

    def granted(self, trigger: Trigger, cap: float) -> float:
        """Turnover that a decision may use: the regime's cap, and never more than the bucket holds."""
        limit = max(cap, self.policy.turnover.start) if trigger == "start" else cap
        return min(limit, self.bucket.level)

    def decided(self, bar: int, decision_id: str) -> None:
        """A decision was published."""
        if self.first_bar < 0:
            self.first_bar = bar
        self.last_bar = bar
        self.decisions += 1
        self.previous = decision_id

    def executed(self, target: Array, turnover: float) -> None:
        """An executable decision was published: its weights are taken as held from now on."""
        self.weights = target.copy()
        self.target = target.copy()
        self.bucket.take(turnover)

    def state(self) -> Tree:
        """Everything needed to go on."""
        return {
            "mode": self.mode,
            "weights": self.weights.copy(),
            "target": self.target,
            "nav": self.nav,
            "bucket": [self.bucket.level, self.bucket.time],
            "decisions": self.decisions,
            "previous": self.previous,
            "first_bar": self.first_bar,
            "last_bar": self.last_bar,
            "control_pending": self.control_pending,
            "positions_offset": self.positions_offset,
            "control_offset": self.control_offset,
        }

    def load(self, state: Tree) -> None:
        """Go on from what :meth:`state` described."""
        self.mode = cast(Mode, state["mode"])
        self.weights = state["weights"]
        self.target = state["target"]
        self.nav = state["nav"]
        self.bucket.level, self.bucket.time = state["bucket"]
        self.decisions = state["decisions"]
        self.previous = state["previous"]
        self.first_bar = state["first_bar"]
        self.last_bar = state["last_bar"]
        self.control_pending = state["control_pending"]
        self.positions_offset = state["positions_offset"]
        self.control_offset = state["control_offset"]


def _known(volatility: Callable[[], float]) -> float:
    """A volatility; NaN, which is above no cap, where the covariance cannot be computed."""
    try:
        return volatility()
    except FAULTS:
        return float("nan")
