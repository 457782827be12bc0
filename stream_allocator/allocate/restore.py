"""Least-violation restoration: limits that drift has broken come back as fast as the trade limits allow.

What is broken by more than one trade can mend takes several.  How many it takes at least is known beforehand,
and each trade breaks the limits as little as it can without making that more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stream_allocator.allocate import dual
from stream_allocator.allocate.feasibility import FAULTS, Infeasible, fewest_trades, least_violation
from stream_allocator.allocate.limits import ROUNDING, total_violation, violations
from stream_allocator.allocate.program import Array, Program
from stream_allocator.allocate.quadratic import SolverSettings
from stream_allocator.allocate.robust import root_terms, tracking_error, volatility
from stream_allocator.allocate.solve import Solution, solve
from stream_allocator.allocate.terms import objective

__all__ = ["Restoration", "restore"]

# Limits broken by more than this are named.
REPORTED = 1e-9
# A number of trades is rounded down where it is this near, relatively.
WHOLE = 1e-9
# More trades than this are as good as no end of them.
ENDLESS = 1 << 20
# Halvings between a trade that is on time and one that is not.
HALVINGS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """Weights that break the limits as little as one trade can.

    Attributes
    ----------
    weights : (n,) array
    solution : Solution or None
        Of the widened programme, without shadow prices where they are not those of these weights; None where
        only limits were restored and no objective followed.
    broken : tuple of str
        Names of the limits that are still broken.
    trades : int or None
        After how many trades like this one, itself included, all limits can hold; None where they never can.
    """

    weights: Array
    solution: Solution | None
    broken: tuple[str, ...]
    trades: int | None


def restore(
    program: Program, settings: SolverSettings | None = None, *, follow: bool = True
) -> Restoration | None:
    r"""Restore as much as one trade can, and only then follow the objective.

    1. The fewest trades N after which all limits can hold, each with this one's turnover and liquidity.
    2. Of all trades that leave N - 1 enough, one with the least total violation of holdings and sums.
    3. Those limits are widened to what it attains, and no further.  Then, if a cap (volatility, tracking
       error) is still out of reach, the least value of that; otherwise the robust objective.  As far as this
       makes N or the total violation larger, the trade stays nearer to that of step 2.

    Parameters
    ----------
    program : Program
    settings : SolverSettings, optional
    follow : bool
        Whether to go on to step 3.  Without it no solver is needed for limits on holdings and sums.

    Returns
    -------
    Restoration or None
        None where the total violation cannot be made less, or the solver fails.

    Notes
    -----
    N is the fewest that the limits permit, and the total violation never grows on the way.  Both hold
    together.  Let w meet all limits with :math:`\|w - w^0\|_1 \le N\tau` and :math:`|w - w^0|_i \le N t_i`.
    The straight step :math:`w^0 + (w - w^0)/N` is within turnover and liquidity, leaves N - 1 enough, and
    every violation, being convex and 0 at w, falls by a share of 1/N at least.  What is on time and breaks no
    more than w0 is a convex set, hence the mixtures of step 3.

    Where no number of trades is enough, the total violation of step 2 is the least of one trade.  If step 3
    would break more in total than holding does (a mandate that needs risk, say), nothing but the caps is
    restored.
    """
    settings = settings or SolverSettings()
    trades = _fewest(program)
    if trades is None:
        return _as_near_as_can_be(program, settings, follow)
    before = total_violation(program, program.current)

    def on_time(weights: Array) -> bool:
        broken = total_violation(program, weights)
        if trades == 1:
            return broken <= REPORTED
        return broken <= before + ROUNDING and _reaches(replace(program, current=weights), trades - 1)

    least = _least(program, trades - 1)
    sure = least if least is not None and on_time(least) else _straight(program, trades)
    if sure is None:
        return None
    wide = program if trades == 1 else widened(program, sure if least is None else least)
    answer = _within(program, wide, settings) if follow else None
    if answer is None:
        return _taken(program, sure, None, trades)
    wish = answer.weights
    share = _largest(lambda x: on_time(wish if x == 1.0 else sure + x * (wish - sure)))
    taken = wish if share == 1.0 else _kept(program, sure + share * (wish - sure))
    return _taken(program, taken, answer, trades)


def _as_near_as_can_be(program: Program, settings: SolverSettings, follow: bool) -> Restoration | None:
    """Where the limits can never all hold."""
    before = total_violation(program, program.current)
    least = _least(program)
    for base in (least, program.current) if follow else ():
        answer = _within(program, widened(program, base), settings) if base is not None else None
        if answer is not None and total_violation(program, answer.weights) <= before + ROUNDING:
            return _taken(program, answer.weights, answer, None)
    if least is not None and total_violation(program, least) < before - ROUNDING:
        return _taken(program, least, None, None)
    return None


def _fewest(program: Program) -> int | None:
    """After how many trades like this one all limits can hold, at least 1; None where they never can."""
    x = fewest_trades(program)
    if x > ENDLESS:
        return None
    few = max(1, math.ceil(x * (1.0 - WHOLE)))
    if not _caps(program) or _arrival(program, few) is not None:
        return few
    many = ENDLESS
    if _arrival(program, many) is None:
        return None
    step = few
    while few + step < many:  # doubling first: the number is mostly small
        if _arrival(program, few + step) is not None:
            many = few + step
            break
        few, step = few + step, 2 * step
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if _arrival(program, middle) is not None else (middle, many)
    return many


def _reaches(program: Program, trades: int) -> bool:
    """Whether all limits can hold after so many trades like this one."""
    if not _caps(program):
        return fewest_trades(program) * (1.0 - WHOLE) <= trades
    return _arrival(program, trades) is not None


def _arrival(program: Program, trades: int, slack: float = WHOLE) -> Array | None:
    """Weights within all limits that so many trades like this one can reach; None where none are found.

    The best ones; where Newton does not find those, the ones that are furthest within a cap.
    """
    together = trades * (1.0 + slack)
    many = replace(program, turnover=together * program.turnover, trade=together * program.trade)
    caps = _caps(program)
    for asked in (many, *(_least_of(many, pull) for _, _, pull in caps)):
        try:
            answer = dual.solve_cold(asked)
        except Infeasible:
            return None
        except FAULTS:
            continue
        if answer.converged and all(
            measure(program, answer.weights) <= cap + ROUNDING for cap, measure, _ in caps
        ):
            return answer.weights
    return None


def _caps(program: Program) -> list[tuple[float, Callable[[Program, Array], float], Array]]:
    """The caps there are, what they are on, and the mean with which :func:`_least_of` makes that least."""
    tracked = root_terms(program, program.benchmark).marginal
    caps = (
        (program.volatility, volatility, np.zeros_like(tracked)),
        (program.tracking, tracking_error, tracked),
    )
    return [(cap, measure, pull) for cap, measure, pull in caps if math.isfinite(cap)]


def _least_of(program: Program, pull: Array) -> Program:
    """min w'Sigma w / 2 - pull'w within the same limits but for the caps."""
    return replace(dual.minimum_variance(program), mean=pull)


def _straight(program: Program, trades: int) -> Array | None:
    """The first of so many equal trades to weights within all limits."""
    arrival = _arrival(
        program, trades, 0.0
    )  # with the slack it would have to be cut, and break limits by that
    if arrival is None:
        arrival = _arrival(program, trades)
    if arrival is None:
        return None
    return _kept(program, program.current + (arrival - program.current) / trades)


def _least(program: Program, after: int = 0) -> Array | None:
    """Weights of least violation, see :func:`least_violation`; None where HiGHS fails."""
    try:
        return _kept(program, least_violation(program, after)[1])
    except FAULTS:
        return None


def _kept(program: Program, weights: Array) -> Array:
    """Weights that are there but for rounding, brought exactly inside turnover and liquidity."""
    w0 = program.current
    move = np.clip(weights - w0, -program.trade, program.trade)
    traded = math.fsum(np.abs(move))
    if traded > program.turnover:
        move *= program.turnover / traded
    found: Array = w0 + move
    return found


def _largest(holds: Callable[[float], bool]) -> float:
    """The largest share, to 1/2^10, for which something holds that holds at 0 and up to somewhere."""
    if holds(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def widened(program: Program, weights: Array) -> Program:
    """The programme with the limits on holdings and sums widened just so much that ``weights`` obey them."""
    cash, size = 1.0 - float(weights.sum()), np.abs(weights)
    groups = []
    for group in program.groups:
        held = weights[list(group.members)]
        total = float(held.sum())
        groups.append(
            replace(
                group,
                lower=min(group.lower, total),
                upper=max(group.upper, total),
                long=max(group.long, float(np.maximum(held, 0.0).sum())),
                gross=max(group.gross, float(np.abs(held).sum())),
            )
        )
    return replace(
        program,
        lower=np.minimum(program.lower, weights),
        upper=np.maximum(program.upper, weights),
        cash_lower=min(program.cash_lower, cash),
        cash_upper=max(program.cash_upper, cash),
        groups=tuple(groups),
        gross=max(program.gross, float(size.sum())),
        holding=np.maximum(program.holding, size),
        active=np.maximum(program.active, np.abs(weights - program.benchmark)),
    )


def _within(program: Program, wide: Program, settings: SolverSettings) -> Solution | None:
    """The answer within the limits as widened; None where they still contradict each other, or on a fault."""
    try:
        for cap, measure, pull in _caps(program):
            calm = solve(_least_of(wide, pull), settings)
            if measure(program, calm.weights) > cap:
                # its shadow prices are those of the variance, not of the objective
                return _agreed(replace(calm, multipliers={}, objective=objective(program, calm.weights)))
        return _agreed(solve(wide, settings))
    except FAULTS:
        return None


def _agreed(solution: Solution) -> Solution | None:
    return solution if solution.agreed else None


def _taken(program: Program, weights: Array, solution: Solution | None, trades: int | None) -> Restoration:
    if solution is not None and weights is not solution.weights:
        # between two answers: the shadow prices are those of neither
        solution = replace(solution, weights=weights, multipliers={}, objective=objective(program, weights))
    broken = tuple(name for name, x in violations(program, weights).items() if x > REPORTED)
    return Restoration(weights, solution, broken, trades)
