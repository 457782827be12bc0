"""One call of HiGHS's simplex method, with the basis in and out."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.growth.model import AT_LOWER, AT_UPPER, BASIC, Model
from stream_allocator.allocate.program import Array

__all__ = ["Optimum", "optimise"]

Bools = NDArray[np.bool_]

TOLERANCE = 1e-9
# No clock: a programme that takes more pivots than this is given up.
PIVOTS = 200_000

_STATUS = highspy.HighsBasisStatus
_CERTAIN = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)
_WORDS = (_STATUS.kLower, _STATUS.kBasic, _STATUS.kUpper)


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """An optimal basis's solution; the statuses are written into the model.

    Attributes
    ----------
    feasible : bool
        Whether there is one; without it the rest is empty.
    amounts : (P,) array
        Of the pieces.
    price : float
        Of distance.
    levels : (T,) array
        The samples' growth, as the cuts see it.
    sum_prices, cut_prices, excess_prices : (R,), (C,), (S,) arrays
        Multipliers in units of growth; not negative for an upper bound.
    cut_slacks : (C,) array
        How far the samples' growth is below their cuts.
    pivots : int
    """

    feasible: bool
    amounts: Array
    price: float
    levels: Array
    sum_prices: Array
    cut_prices: Array
    excess_prices: Array
    cut_slacks: Array
    pivots: int


def solver() -> highspy.Highs:
    """A silent simplex solver on one thread."""
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in (
        ("output_flag", False),
        ("presolve", "off"),
        ("solver", "simplex"),
        ("parallel", "off"),
        ("threads", 1),
        ("random_seed", 0),
        ("simplex_dual_edge_weight_strategy", 1),  # Devex: steepest edge would begin with many solves
        ("simplex_scale_strategy", 0),  # all entries are near 1 or near a return: a third faster as they are
        ("simplex_iteration_limit", PIVOTS),
        ("primal_feasibility_tolerance", TOLERANCE),
        ("dual_feasibility_tolerance", TOLERANCE),
    ):
        highs.setOptionValue(name, value)
    return highs


def optimise(highs: highspy.Highs, model: Model) -> Optimum:
    """Solve the model as it stands, from the basis that it holds.

    Raises
    ------
    RuntimeError
        If HiGHS finds neither an optimum nor that there is none.
    """
    problem, moves = model.problem, model.moves
    matrix = model.matrix()
    pieces, samples, losses = len(model.pieces), len(problem.samples), len(model.loss_asset)
    columns, rows = pieces + 1 + samples + losses, len(matrix.most)
    # in units of a sample's probability: growth of a bar is small beside the solver's tolerance
    unit = 1.0 / samples
    largest = _largest(model)
    cost, lower, upper = np.zeros(columns), np.zeros(columns), np.empty(columns)
    cost[pieces] = problem.radius / unit
    cost[pieces + 1 : pieces + 1 + samples] = -problem.probabilities / unit
    lower[pieces + 1 : pieces + 1 + samples] = -np.inf
    upper[:pieces] = moves.length[model.pieces]
    upper[pieces] = upper[pieces + 1 + samples :] = largest
    upper[pieces + 1 : pieces + 1 + samples] = np.inf
    highs.passModel(
        columns,
        rows,
        len(matrix.value),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        cost,
        lower,
        upper,
        matrix.least,
        matrix.most,
        matrix.start,
        matrix.index,
        matrix.value,
        np.zeros(columns, np.int32),
    )
    _give_basis(highs, model, rows)
    highs.run()
    status = highs.getModelStatus()
    if status not in _CERTAIN:  # once more, from nothing
        highs.clearSolver()
        highs.run()
        status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        none = np.zeros(0)
        return Optimum(False, none, 0.0, none, none, none, none, none, 0)
    if status != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(f"growth: HiGHS says {highs.modelStatusToString(status)}")
    solution = highs.getSolution()
    x, y = np.array(solution.col_value), -unit * np.array(solution.row_dual)
    activity = np.array(solution.row_value)
    _take_basis(highs, model, x > 0.5 * upper, activity - matrix.least > matrix.most - activity)
    sums, cuts = len(model.sums.most), len(model.cut_sample)
    return Optimum(
        feasible=True,
        amounts=np.clip(x[:pieces], 0.0, upper[:pieces]),
        price=float(x[pieces]),
        levels=x[pieces + 1 : pieces + 1 + samples],
        sum_prices=y[:sums],
        cut_prices=y[sums : sums + cuts],
        excess_prices=y[sums + cuts :],
        cut_slacks=(matrix.most - activity)[sums : sums + cuts],
        pivots=int(highs.getInfo().simplex_iteration_count),
    )


def _largest(model: Model) -> float:
    """A price of distance at which the adversary moves nothing on any tangent: bounds it and every loss."""
    if not len(model.tangents):
        return 1.0
    weight = float(np.maximum(np.abs(model.moves.lower), np.abs(model.moves.upper)).max())
    return max(1e-6, weight / (1.0 + float(model.tangents.min())))


def _give_basis(highs: highspy.Highs, model: Model, rows: int) -> None:
    """The model's statuses, with as many basic ones as there are rows."""
    price = np.array([model.price_status], np.int8)
    column = np.concatenate([model.piece_status, price, model.level_status, model.loss_status])
    row = np.concatenate([model.sum_status, model.cut_status, model.excess_status])
    missing = rows - int((column == BASIC).sum() + (row == BASIC).sum())
    first = len(model.sum_status)
    if missing > 0:
        row[first + np.flatnonzero(row[first:] != BASIC)[-missing:]] = BASIC
    elif missing < 0:
        row[first + np.flatnonzero(row[first:] == BASIC)[missing:]] = AT_UPPER
    basis = highspy.HighsBasis()
    basis.col_status = [_WORDS[code] for code in column.tolist()]
    basis.row_status = [_WORDS[code] for code in row.tolist()]
    basis.valid, basis.alien = True, False
    highs.setBasis(basis)


def _take_basis(highs: highspy.Highs, model: Model, column_up: Bools, row_up: Bools) -> None:
    """Basic as the solver says; the others at the end where they are nearest."""
    column = np.where(column_up, AT_UPPER, AT_LOWER).astype(np.int8)
    row = np.where(row_up, AT_UPPER, AT_LOWER).astype(np.int8)
    basic = highs.getBasicVariables()[1]  # type: ignore[attr-defined]  # its stub leaves it out
    column[basic[basic >= 0]] = BASIC
    row[-1 - basic[basic < 0]] = BASIC
    pieces, samples = len(model.pieces), len(model.level_status)
    model.piece_status = column[:pieces]
    model.price_status = int(column[pieces])
    model.level_status = column[pieces + 1 : pieces + 1 + samples]
    model.loss_status = column[pieces + 1 + samples :]
    sums, cuts = len(model.sum_status), len(model.cut_sample)
    model.sum_status = row[:sums]
    model.cut_status = row[sums : sums + cuts]
    model.excess_status = row[sums + cuts :]
