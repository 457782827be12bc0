"""Programmes in, proven answers out: what the rest of the package uses of the dual Newton method."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from stream_allocator.allocate.certificate import certificate
from stream_allocator.allocate.dual.outer import CHI, OUT_OF_REACH, PSI, VANISHING
from stream_allocator.allocate.dual.problem import (
    BAD_INPUT,
    CROSSED,
    GROSS,
    INFEASIBLE,
    LONG,
    NET,
    OPTIMAL,
    TURNOVER,
    Rows,
    workspace,
)
from stream_allocator.allocate.dual.run import REPORT, SCRATCH, run
from stream_allocator.allocate.feasibility import Infeasible, check_limits, least_violation
from stream_allocator.allocate.limits import trade_interval
from stream_allocator.allocate.program import Array, Group, Program, other_objective
from stream_allocator.allocate.robust import root_terms, tracking_error, variances, volatility
from stream_allocator.regime.likelihood import row_stride

__all__ = ["NewtonAnswer", "NewtonSolver", "minimum_variance", "solve_cold"]

# What the compiled proof must show: violations in weights, the gap relative to the terms' sizes.
PRIMAL, GAP = 1e-12, 1e-9
# The least volatility is above the cap where it is by this much, relatively.
ABOVE = 1e-9
# All cash is taken where it is proven best to this, relative to the terms' sizes.
CASH = 1e-9

_WORDS = {
    OPTIMAL: "optimal",
    INFEASIBLE: "infeasible",
    OUT_OF_REACH: "cap out of reach",
    VANISHING: "vanishing",
    CROSSED: "crossed bounds",
    BAD_INPUT: "bad input",
}


@dataclass(frozen=True, slots=True, eq=False)
class NewtonAnswer:
    """What Newton alone says to a programme.

    Attributes
    ----------
    weights : (n,) array
        Assets that are not free stand on their bound, on their current weight or on 0, bit for bit.
    status : str
        ``optimal`` where it is.
    converged : bool
        Whether the proof shows it: violation and gap within what a published decision must have.
    steps, outer : int
        Newton steps, and quadratic programmes that they went through.
    violation : float
        Worst of any limit.
    gap : float
        To a rigorous lower bound.
    objective, scale : float
        The objective, and the sum of its terms' sizes.
    """

    weights: Array
    status: str
    converged: bool
    steps: int
    outer: int
    violation: float
    gap: float
    objective: float
    scale: float
    _program: Program
    _rows: tuple[tuple[str, int, float], ...]
    _eta: Array
    _touch: Array

    @property
    def multipliers(self) -> Mapping[str, float]:
        """Shadow prices of sums, volatility and tracking error by the limit's name, in the limits' order."""
        prices: dict[str, float] = {}
        for name, row, sense in self._rows:
            price = sense * float(self._eta[row])
            if price > 0.0:
                prices[name] = price
        for name, which, size in (("volatility", PSI, volatility), ("tracking", CHI, tracking_error)):
            touch = float(self._touch[which])
            price = touch * size(self._program, self.weights) if touch > 0.0 else 0.0
            if price > 0.0:
                prices[name] = price
        return prices


class NewtonSolver:
    """Solves programmes one after another, each from where the last one ended.

    A programme of another shape starts cold.  Answers of one programme from different starts agree to
    rounding, not in every bit: use :func:`solve_cold` where the bits must depend on the programme alone.
    """

    def __init__(self) -> None:
        self._groups: tuple[Group, ...] | None = None
        self._shape: tuple[int, ...] = ()
        self._rows: Rows
        self._names: tuple[tuple[str, int, float], ...] = ()
        self._eta: Array = np.zeros(0)
        self._weights: Array = np.zeros(0)
        self._touch: Array = np.zeros(4)
        self._warm = False

    def solve(self, program: Program) -> NewtonAnswer:
        """Solve; look at ``converged``.

        Raises
        ------
        Infeasible
            If the limits cannot all hold; names those that clash.
        """
        answer = self._run(program)
        if answer.converged:
            return answer
        if self._warm_start:
            self._warm = False
            answer = self._run(program)
        return answer if answer.converged else self._otherwise(program, answer)

    def _run(self, program: Program) -> NewtonAnswer:
        shape = program.factors.shape
        if program.groups is not self._groups or shape != self._shape:
            self._rows, self._names = _rows_of(shape[0], program.groups)
            self._groups, self._shape, self._warm = program.groups, shape, False
            self._ray = np.zeros(len(self._rows.kind))
            self._scratch = (workspace(shape[0]), np.zeros((SCRATCH, row_stride(shape[0]))))
        rows = self._rows
        self._warm_start = self._warm
        eta = self._eta.copy() if self._warm else np.zeros(len(rows.kind))
        weights = self._weights.copy() if self._warm else np.empty(shape[0])
        touch = self._touch.copy()
        row_lower, row_upper = rows.lower.copy(), rows.upper.copy()
        row_lower[0], row_upper[0] = 1.0 - program.cash_upper, 1.0 - program.cash_lower
        row_upper[1], row_upper[2] = program.turnover, program.gross
        alpha, r = program.deviation_aversion, math.sqrt(program.radius)
        scalars = np.array(
            [
                program.risk_aversion,
                alpha + program.mean_ambiguity / math.sqrt(program.mean_evidence),
                r,
                r * math.sqrt(1.0 + alpha * alpha) if alpha > 0.0 else 0.0,
                program.volatility,
                program.tracking,
            ]
        )
        report = np.zeros(REPORT)
        status = run(
            program.mean, program.factors, program.idiosyncratic, scalars, program.linear_cost,
            program.quadratic_cost, program.current, program.lower, program.upper, program.trade,
            program.holding, program.benchmark, program.active, rows.kind, rows.pointer, rows.member,
            row_lower, row_upper, eta, weights, touch, self._warm, report, self._ray, *self._scratch,
        )  # fmt: skip
        objective, gap, scale, violation = report[8:].tolist()
        # the proof holds whatever the solver says of itself, if there are weights at all
        answered = status not in (INFEASIBLE, CROSSED, BAD_INPUT)
        converged = answered and violation <= PRIMAL and gap <= GAP * max(scale, GAP)
        self._warm = converged
        if converged:
            self._eta, self._weights, self._touch = eta, weights, touch
        return NewtonAnswer(
            weights, _WORDS.get(status, "too many steps"), converged, int(report[0]), int(report[1]),
            violation, gap, objective, scale, program, self._names, eta, touch,
        )  # fmt: skip

    def _otherwise(self, program: Program, answer: NewtonAnswer) -> NewtonAnswer:
        """Why there is no answer: the limits contradict each other, or the portfolio vanishes, or neither."""
        if answer.status == "vanishing" or _may_be_cash(program):
            cash = _all_cash(program, answer)
            if cash is not None:
                return cash
        check_limits(program)
        if answer.status in ("infeasible", "too many steps"):
            total, _, broken = least_violation(program)
            if total > 1e-9:
                raise Infeasible(
                    broken, f"no trade within turnover and liquidity can meet: {', '.join(broken)}"
                )
        if answer.status in ("cap out of reach", "too many steps"):
            _check_caps(program)
        return answer


def solve_cold(program: Program) -> NewtonAnswer:
    """Solve from a cold start: the answer's bits depend on the programme alone.

    Raises
    ------
    Infeasible
        If the limits cannot all hold; names those that clash.
    """
    return NewtonSolver().solve(program)


def minimum_variance(program: Program) -> Program:
    """The programme with the same limits but for the two caps, and nothing but variance to be minimised."""
    nothing = np.zeros(len(program.assets))
    variance = other_objective(
        program, mean=nothing, linear_cost=nothing, quadratic_cost=nothing, risk_aversion=1.0
    )
    return replace(variance, volatility=math.inf, tracking=math.inf)


@lru_cache(maxsize=256)
def _rows_of(n: int, groups_of: tuple[Group, ...]) -> tuple[Rows, tuple[tuple[str, int, float], ...]]:
    """The kernels' rows, only read; and for each limit on a sum its name, row, and the row's price's sign."""
    names: list[tuple[str, int, float]] = [("cash_lower", 0, 1.0), ("cash_upper", 0, -1.0)]
    groups: list[tuple[int, tuple[int, ...], float, float]] = []
    for g in groups_of:
        if math.isfinite(g.lower) or math.isfinite(g.upper):
            names += [(f"group_lower[{g.name}]", 3 + len(groups), -1.0)]
            names += [(f"group_upper[{g.name}]", 3 + len(groups), 1.0)]
            groups.append((NET, g.members, g.lower, g.upper))
        if math.isfinite(g.long):
            names.append((f"group_long[{g.name}]", 3 + len(groups), 1.0))
            groups.append((LONG, g.members, -math.inf, g.long))
        if math.isfinite(g.gross):
            names.append((f"group_gross[{g.name}]", 3 + len(groups), 1.0))
            groups.append((GROSS, g.members, -math.inf, g.gross))
    names += [("gross", 2, 1.0), ("turnover", 1, 1.0)]
    belongs: list[list[int]] = [[] for _ in range(n)]
    for j, (_, members, _, _) in enumerate(groups):
        for i in members:
            belongs[i].append(3 + j)
    pointer = np.zeros(len(belongs) + 1, dtype=np.int64)
    pointer[1:] = np.cumsum([len(rows) for rows in belongs])
    rows = Rows(
        kind=np.array([NET, TURNOVER, GROSS, *(g[0] for g in groups)], dtype=np.int64),
        pointer=pointer,
        member=np.array([j for found in belongs for j in found], dtype=np.int64),
        lower=np.array([0.0, -math.inf, -math.inf, *(g[2] for g in groups)]),
        upper=np.array([0.0, 0.0, 0.0, *(g[3] for g in groups)]),
    )
    return rows, tuple(names)


def _may_be_cash(program: Program) -> bool:
    """Whether 0 is allowed for every asset that has risk, and the root terms have their kink there."""
    at = root_terms(program, np.zeros(len(program.assets)))
    lower, upper = trade_interval(program)
    allowed = bool(((lower <= 0.0) & (upper >= 0.0))[variances(program) > 0.0].all())
    return max(at.k, at.g, at.r) > 0.0 and allowed


def _all_cash(program: Program, near: NewtonAnswer) -> NewtonAnswer | None:
    """Nothing in any asset that has risk, the rest as the programme without risk wants; if proven best.

    With the prices of the programme without risk, or those of ``near``, the last one on the way there.
    """
    if not _may_be_cash(program):
        return None
    risky = variances(program) > 0.0
    lower, upper = trade_interval(program)
    endless = np.full(len(risky), math.inf)
    still = replace(
        program,
        lower=np.where(risky, 0.0, lower),
        upper=np.where(risky, 0.0, np.maximum(lower, upper)),
        trade=endless,
        holding=endless,
        active=endless,
        volatility=math.inf,
        tracking=math.inf,
        mean_ambiguity=0.0,
        deviation_aversion=0.0,
        risk_aversion=max(program.risk_aversion, 1.0),
        radius=0.0,
    )
    answer = NewtonSolver()._run(still)
    if not answer.converged:
        return None
    allowance = CASH * max(answer.scale, _typical_scale(program))
    for eta in (answer._eta, near._eta):
        found = replace(answer, _program=program, _eta=eta, _touch=np.zeros(4))
        shown = certificate(program, found.weights, found.multipliers)
        if shown.primal <= PRIMAL and shown.gap <= allowance:
            return replace(found, violation=shown.primal, gap=max(shown.gap, 0.0), objective=shown.objective)
    return None


def _typical_scale(program: Program) -> float:
    """Size of the objective's terms for a portfolio of a tenth of the NAV."""
    return 0.1 * float(np.abs(program.mean).max()) + 1e-12


def _check_caps(program: Program) -> None:
    """Whether volatility and tracking error can be as low as their caps.

    Raises
    ------
    Infeasible
    """
    sigma_b = program.factors @ (program.factors.T @ program.benchmark)
    sigma_b = sigma_b + program.idiosyncratic * program.benchmark
    calm = minimum_variance(program)
    for name, cap, mean, measure in (
        ("volatility", program.volatility, calm.mean, volatility),
        ("tracking", program.tracking, sigma_b, tracking_error),
    ):
        if not math.isfinite(cap):
            continue
        least = measure(program, NewtonSolver()._run(replace(calm, mean=mean)).weights)
        if least > cap * (1.0 + ABOVE):
            word = "volatility" if name == "volatility" else "tracking error"
            raise Infeasible(
                (name,), f"the least {word} within the other limits is {least:.6g}, the cap is {cap:.6g}"
            )
    if math.isfinite(program.volatility) and math.isfinite(program.tracking):
        raise Infeasible(
            ("volatility", "tracking"), "the caps on volatility and tracking error exclude each other"
        )
