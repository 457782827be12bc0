"""Newton finishes what OSQP started: exact weights and shadow prices on the active set.

A primal active-set method on the true objective, root terms and volatility cap included.  The active set is
read off OSQP's answer; Newton steps solve the optimality conditions on it; an asset or limit that a step
runs into is added, one with a multiplier of the wrong sign is dropped.  Assets that are not free stand on
their bound, or on their current weight, bit for bit: the answer does not depend on how the set was found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

from stream_allocator.allocate.limits import rows_of, trade_interval
from stream_allocator.allocate.majorise import SequenceAnswer
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.robust import covariance, gradient, hessian, kink, root_terms

__all__ = ["FinishAnswer", "finish"]

# OSQP's answer is at a bound where it is this near and pushes against it, or nearer still.
NEAR, TOUCHING = 1e-5, 1e-9
# Newton steps, in weights: small enough to judge the active set, and small enough to be rounding.
STILL, DUST = 1e-10, 1e-13
# A row depends on others where this little of it is left; a step this flat does not approach a limit.
DEPENDENT, FLAT = 1e-12, 1e-13
# What a sum of a few dozen terms of order one is exact to.
ROUNDING = 2e-15


@dataclass(frozen=True, slots=True, eq=False)
class FinishAnswer:
    """Where the active-set method ended.

    Attributes
    ----------
    weights : (n,) array
    multipliers : dict of str to float
        Of the rows that are active: cash, groups, turnover, volatility.
    steps : int
        Newton steps.
    converged : bool
        Whether the optimality conditions hold.
    """

    weights: Array
    multipliers: dict[str, float]
    steps: int
    converged: bool


def finish(program: Program, start: SequenceAnswer) -> FinishAnswer:
    """Finish ``start``, OSQP's answer to ``program``."""
    return _ActiveSet(program, start).run()


@dataclass(slots=True, eq=False)
class _Step:
    """A Newton step over the free assets, and the multipliers of the working rows."""

    move: Array
    multipliers: Array


class _ActiveSet:
    """Weights, which of them are free and to which side of w0, and the rows that hold with equality."""

    def __init__(self, program: Program, start: SequenceAnswer) -> None:
        self._program = program
        self._sigma = covariance(program)
        self._rows = rows_of(program)
        self._names = (*self._rows.names, "turnover", "volatility")
        self._turnover, self._volatility = len(self._rows.names), len(self._rows.names) + 1
        self._lower, upper = trade_interval(program)
        self._upper = np.maximum(self._lower, upper)
        self._multipliers = np.zeros(len(self._names))
        self._psi = start.psi
        self._dependent: set[int] = set()  # rows that cannot stop a step: the working ones imply them
        self._identify(start)

    # The start

    def _identify(self, start: SequenceAnswer) -> None:
        program, last = self._program, start.last
        w = np.clip(last.weights, self._lower, self._upper)
        unit = max(float(np.abs(program.mean).max()), float(np.abs(last.box).max()), 1e-12)
        tight = NEAR * (np.abs(last.box) > 1e-6 * unit) + TOUCHING
        at_lower = (w - self._lower <= tight) & ((last.box <= 0.0) | (w - self._lower <= TOUCHING))
        at_upper = (self._upper - w <= tight) & ((last.box >= 0.0) | (self._upper - w <= TOUCHING))
        at_upper &= ~at_lower | (self._upper - w < w - self._lower)
        held = np.abs(w - program.current) <= (TOUCHING if last.polished else 1e-6)
        w = np.where(held, np.clip(program.current, self._lower, self._upper), w)
        w = np.where(at_lower & ~at_upper, self._lower, np.where(at_upper, self._upper, w))
        fixed = held | at_lower | at_upper
        if kink(program, root_terms(program, w)) > 0.0:  # all cash: nothing with risk moves off the kink
            fixed |= np.diag(self._sigma) > 0.0
        self._w = w
        # side: +1 free and bought, -1 free and sold, 0 fixed
        self._side = np.where(fixed, 0, np.where(w > program.current, 1, -1))
        slack = self._slack()
        price = np.concatenate(
            [last.rows, [last.turnover, start.psi * program.volatility if start.psi else 0.0]]
        )
        active = np.flatnonzero((slack <= TOUCHING) | ((slack <= NEAR) & (price > 1e-9 * unit)))
        order = np.argsort(-price[active], kind="stable")
        self._working = [int(j) for j in active[order]]

    def _slack(self) -> Array:
        """Room of every row, the two non-linear ones included; infinite where there is no limit."""
        p, w = self._program, self._w
        traded = float(np.abs(w - p.current).sum())
        return np.concatenate(
            [
                self._rows.bounds - self._rows.normals @ w,
                [p.turnover - traded, p.volatility - root_terms(p, w).sigma],
            ]
        )

    # One step

    def _normal(self, row: int, free: NDArray[np.intp], marginal: Array) -> Array:
        if row == self._turnover:
            return self._side[free].astype(np.float64)
        if row == self._volatility:
            return marginal[free]
        normal: Array = self._rows.normals[row, free]
        return normal

    def _room(self, row: int, slack: Array, sigma: float) -> float:
        if row == self._volatility:  # of (sigma^2 - V^2) / 2, whose slope is Sigma w
            return 0.5 * (self._program.volatility - sigma) * (self._program.volatility + sigma)
        return float(slack[row])

    def _newton(self, free: NDArray[np.intp]) -> _Step:
        """Solve the optimality conditions, linearised, on the working rows; drops the dependent ones.

        By the null space of the rows, which stays exact where some assets have next to no curvature.
        """
        program, w = self._program, self._w
        at = root_terms(program, w)
        slope = gradient(program, w, at)[free] + program.linear_cost[free] * self._side[free]
        h = hessian(program, w, at, self._sigma, free, self._psi)
        slack = self._slack()
        normals = np.array([self._normal(j, free, at.marginal) for j in self._working])
        normals = normals.reshape(len(self._working), len(free))
        kept = _independent(normals @ normals.T)
        self._dependent |= set(self._working)
        self._working = [self._working[j] for j in kept]
        self._dependent -= set(self._working)
        room = np.array([self._room(j, slack, at.sigma) for j in self._working])
        q, r = np.linalg.qr(normals[kept].T, mode="complete")
        m = len(kept)
        along, across, r = q[:, :m], q[:, m:], r[:m]
        move = along @ solve_triangular(r, room, trans="T") if m else np.zeros(len(free))
        if m < len(free):
            reduced = across.T @ h @ across
            # a little curvature everywhere: a flat direction is followed to its end, or not at all
            reduced.flat[:: len(reduced) + 1] += 1e-11 * max(float(np.trace(reduced)) / len(reduced), 1e-12)
            factor = cho_factor(reduced, lower=True, check_finite=False)
            pull = across.T @ (slope + h @ move)
            move = move - across @ cho_solve(factor, pull, check_finite=False)
        price = solve_triangular(r, -(along.T @ (slope + h @ move))) if m else np.zeros(0)
        multipliers = np.zeros(len(self._names))
        multipliers[self._working] = price
        # where the conditions hold to rounding nothing moves: along a flat direction rounding has no size
        unit = max(float(np.abs(program.mean[free]).max()), float(np.abs(slope).max()), 1e-12)
        left = float(np.abs(slope + normals[kept].T @ price).max())
        if left <= ROUNDING * unit and float(np.abs(room).max(initial=0.0)) <= ROUNDING:
            return _Step(np.zeros(len(free)), multipliers)
        return _Step(move, multipliers)

    def _longest(self, free: NDArray[np.intp], move: Array) -> tuple[float, int, int]:
        """How far the step can go (1 at most), and the asset or the row that stops it; -1 where none."""
        p, w, side = self._program, self._w[free], self._side[free]
        low = np.where(side > 0, np.maximum(self._lower[free], p.current[free]), self._lower[free])
        high = np.where(side > 0, self._upper[free], np.minimum(self._upper[free], p.current[free]))
        size = float(np.abs(move).max())
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(
                move > FLAT * size, (high - w) / move, np.where(move < -FLAT * size, (low - w) / move, np.inf)
            )
        room = np.maximum(room, 0.0)
        asset = int(np.argmin(room))
        length, row = float(room[asset]), -1
        at = root_terms(p, self._w)
        slack = self._slack()
        for j in range(len(self._names)):
            if j in self._working or j in self._dependent or not math.isfinite(slack[j]):
                continue
            if j == self._volatility:
                reach = self._until_cap(free, move, at.marginal, at.sigma)
            else:
                speed = float(self._normal(j, free, at.marginal) @ move)
                reach = max(0.0, slack[j]) / speed if speed > 1e-12 * size * len(free) else math.inf
            if reach < length:
                length, row, asset = reach, j, -1
        if length >= 1.0:
            return 1.0, -1, -1
        return length, (int(free[asset]) if asset >= 0 else -1), row

    def _until_cap(self, free: NDArray[np.intp], move: Array, marginal: Array, sigma: float) -> float:
        """The step length at which sigma reaches the cap: the root of a quadratic."""
        cap = self._program.volatility
        d = np.zeros_like(self._w)
        d[free] = move
        y = self._program.factors.T @ d
        a = float(y @ y) + float(d @ (self._program.idiosyncratic * d))
        b = float(marginal @ d)
        room = (cap - sigma) * (cap + sigma)
        if room <= 1e-15 * cap * cap:
            return 0.0 if b > 1e-12 * cap * math.sqrt(a) else math.inf
        if a <= 0.0:
            return math.inf
        root = math.sqrt(b * b + a * room)
        return room / (b + root) if b > 0.0 else (root - b) / a

    # The method

    def run(self) -> FinishAnswer:
        n = len(self._w)
        limit = 60 + 4 * n
        steps, dropped = 0, 0
        still = 0
        while steps < limit:
            free = np.flatnonzero(self._side)
            steps += 1
            largest = 0.0
            if len(free):
                try:
                    step = self._newton(free)
                except LinAlgError:
                    return FinishAnswer(self._w, {}, steps, False)
                self._multipliers = step.multipliers
                self._psi = max(0.0, float(step.multipliers[self._volatility]))
                largest = float(np.abs(step.move).max())
                # a step of rounding size runs into nothing, or a free asset on its kink would be lost
                length, asset, row = self._longest(free, step.move) if largest > DUST else (1.0, -1, -1)
                self._w[free] += length * step.move
                if asset >= 0 or row >= 0:
                    self._stop(asset, row)
                    continue
                self._keep_sides(free)
            else:
                self._multipliers = np.zeros(len(self._names))
                self._psi = 0.0
                self._working = []
            if largest > STILL:
                still = 0
                continue
            changed = self._release(all_at_once=dropped < 3, first=steps > 30 + n)
            if changed:
                dropped += 1
                continue
            still += 1
            if still >= 2 or not len(free):
                return FinishAnswer(self._w, self._prices(), steps, self._feasible())
        return FinishAnswer(self._w, self._prices(), steps, False)

    def _stop(self, asset: int, row: int) -> None:
        """Add what the step has run into."""
        if row >= 0:
            self._working.append(row)
            return
        self._dependent.clear()
        w0, w = self._program.current[asset], self._w[asset]
        ends = [self._lower[asset], self._upper[asset]]
        if ends[0] < w0 < ends[1]:
            ends.append(w0)
        self._w[asset] = min(ends, key=lambda end: abs(end - w))
        self._side[asset] = 0

    def _keep_sides(self, free: NDArray[np.intp]) -> None:
        """Rounding must not carry a free asset past the end of its side."""
        w0, side = self._program.current[free], self._side[free]
        low = np.where(side > 0, np.maximum(self._lower[free], w0), self._lower[free])
        high = np.where(side > 0, self._upper[free], np.minimum(self._upper[free], w0))
        self._w[free] = np.clip(self._w[free], low, high)

    def _release(self, all_at_once: bool, first: bool) -> bool:
        """Drop what holds with a multiplier of the wrong sign; whether there was any."""
        program, w = self._program, self._w
        at = root_terms(program, w)
        slope = gradient(program, w, at) + self._multipliers[: self._turnover] @ self._rows.normals
        slope += self._psi * at.marginal
        unit = max(float(np.abs(program.mean).max()), float(np.abs(slope).max()), 1e-12)
        tolerance = 1e-11 * unit
        wrong = [(-self._multipliers[j], j) for j in self._working if self._multipliers[j] < -tolerance]
        price = program.linear_cost + max(0.0, self._multipliers[self._turnover])
        up = -(slope + np.where(w >= program.current, price, -price))
        down = slope + np.where(w > program.current, price, -price)
        fixed = self._side == 0
        if kink(program, at) > 0.0:  # at sigma = 0 the slope is a set: the certificate decides
            fixed &= np.diag(self._sigma) <= 0.0
        up = np.where(fixed & (w < self._upper), up, 0.0)
        down = np.where(fixed & (w > self._lower), down, 0.0)
        gain = np.maximum(up, down)
        if wrong:
            worst = min(wrong, key=lambda x: x[1]) if first else max(wrong, key=lambda x: (x[0], -x[1]))
            self._working.remove(worst[1])
            self._dependent.clear()
            return True
        paying = np.flatnonzero(gain > tolerance)
        if not len(paying):
            return False
        if not all_at_once:
            paying = paying[:1] if first else paying[[int(np.argmax(gain[paying]))]]
        self._dependent.clear()
        for i in paying:
            rising = up[i] >= down[i]
            if rising:
                self._side[i] = 1 if w[i] >= program.current[i] else -1
            else:
                self._side[i] = -1 if w[i] <= program.current[i] else 1
        return True

    def _prices(self) -> dict[str, float]:
        prices = {self._names[j]: max(0.0, float(self._multipliers[j])) for j in sorted(self._working)}
        if "volatility" in prices:  # the price of sigma, not of sigma^2 / 2
            prices["volatility"] *= self._program.volatility
        return prices

    def _feasible(self) -> bool:
        return bool(self._slack().min() >= -1e-11)


def _independent(system: Array) -> list[int]:
    """Rows of a positive semi-definite matrix that do not depend on the ones before them."""
    m = len(system)
    root = np.zeros((m, m))
    kept: list[int] = []
    for j in range(m):
        for i in kept:
            root[j, i] = (system[j, i] - root[j, kept] @ root[i, kept]) / root[i, i]
        left = system[j, j] - float(root[j, kept] @ root[j, kept])
        if system[j, j] > 0.0 and left > DEPENDENT * system[j, j]:
            root[j, j] = math.sqrt(left)
            kept.append(j)
    return kept
