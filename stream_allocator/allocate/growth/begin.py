"""Where a solution starts: cold, or from what the one before has left."""

from __future__ import annotations

import numpy as np

from stream_allocator.allocate.growth.bound import Bound
from stream_allocator.allocate.growth.model import AT_LOWER, AT_UPPER, BASIC, Model
from stream_allocator.allocate.growth.moves import Moves, Sums
from stream_allocator.allocate.growth.problem import GrowthProgram
from stream_allocator.allocate.growth.simplex import Optimum
from stream_allocator.allocate.growth.start import GrowthStart

__all__ = ["begin", "leave"]

# The first pieces of trades of a cold start: so many assets.
ASSETS = 20
# A cut or piece that is not used stays while it is this near to it.
SLACK, GAIN = 1e-6, 2e-4


def begin(problem: GrowthProgram, moves: Moves, sums: Sums, start: GrowthStart | None) -> Model:
    """The first programme."""
    if start is None or start.assets != problem.program.assets:
        return _cold(problem, moves, sums)
    return _warm(problem, moves, sums, start)


def _empty(problem: GrowthProgram, moves: Moves, sums: Sums) -> Model:
    samples = len(problem.samples)
    return Model(
        problem,
        moves,
        sums,
        sum_status=np.full(len(sums.most), BASIC, np.int8),
        level_status=np.full(samples, BASIC, np.int8),
    )


def _cold(problem: GrowthProgram, moves: Moves, sums: Sums) -> Model:
    """The assets that would grow most alone, bought in equal parts, say where the first tangents touch."""
    model = _empty(problem, moves, sums)
    x, p = problem.samples, problem.probabilities
    mean = p @ x
    alone = mean - 0.5 * (p @ (x - mean) ** 2)
    best = np.argsort(-alone, kind="stable")[:ASSETS]
    chosen = np.flatnonzero(np.isin(moves.asset, best))
    model.add_pieces(chosen)
    weights = moves.anchor
    if not moves.anchor.any():
        share = np.minimum(moves.upper[best], 1.0 / len(best))
        weights = np.zeros(len(moves.anchor))
        weights[best] = np.maximum(share, moves.lower[best])
    points = np.maximum(x @ weights, problem.survival - 1.0)
    model.add_cuts(np.arange(len(x)), points, status=AT_UPPER)
    return model


def _warm(problem: GrowthProgram, moves: Moves, sums: Sums, start: GrowthStart) -> Model:
    """The rows and columns of the start that still have a meaning, and a tangent for each new sample."""
    model = _empty(problem, moves, sums)
    x = problem.samples
    if len(start.sum_status) <= len(sums.most):  # planes may have come, before the last row
        model.sum_status[: len(start.sum_status) - 1] = start.sum_status[:-1]
        model.sum_status[-1] = start.sum_status[-1]
    model.price_status = start.price_status
    known = np.searchsorted(moves.key, start.pieces)
    known[known == len(moves.key)] = 0
    same = moves.key[known] == start.pieces if len(moves.key) else np.zeros(len(known), bool)
    model.pieces, model.piece_status = known[same], start.piece_status[same]
    # samples keep their bars' numbers
    shift = start.first_bar - problem.first_bar
    level = np.arange(len(start.level_status)) + shift
    inside = (level >= 0) & (level < len(x))
    model.level_status[level[inside]] = start.level_status[inside]
    sample = start.cut_bar - problem.first_bar
    keep = (sample >= 0) & (sample < len(x))
    model.tangents = start.tangents
    model.cut_sample, model.cut_point = sample[keep], start.cut_point[keep]
    model.cut_tangent, model.cut_status = start.cut_tangent[keep], start.cut_status[keep]
    model.loss_tangent, model.loss_asset = start.loss_tangent, start.loss_asset
    model.loss_side = start.loss_side
    model.loss_status, model.excess_status = start.loss_status, start.excess_status
    bare = np.ones(len(x), bool)
    bare[model.cut_sample[model.cut_tangent < 0]] = False
    fresh = np.ones(len(x), bool)
    fresh[level[inside]] = False
    points = np.maximum(x @ start.weights, problem.survival - 1.0)
    for which, status in ((bare & fresh, AT_UPPER), (bare & ~fresh, BASIC)):
        samples = np.flatnonzero(which)
        model.add_cuts(samples, points[samples], status=status)
    return model


def leave(model: Model, at: Optimum, bound: Bound, weights: np.ndarray) -> GrowthStart:
    """What of the last programme is worth keeping."""
    count = len(at.cut_slacks)  # what was added after the last programme has not proven its worth
    status, sample, shared = (
        model.cut_status[:count],
        model.cut_sample[:count],
        model.cut_tangent[:count] >= 0,
    )
    alone = np.bincount(sample[~shared], minlength=len(model.level_status))[sample] == 1
    keep = np.flatnonzero((status != BASIC) | (at.cut_slacks < SLACK) | (alone & ~shared))
    used = np.unique(model.cut_tangent[keep][shared[keep]])
    number = np.full(len(model.tangents) + 1, -1, np.int64)  # the last entry is that of no tangent
    number[used] = np.arange(len(used))
    losses = len(at.excess_prices)
    pieces = len(at.amounts)
    owner = model.moves.asset[model.pieces[:pieces]]
    useful = (model.piece_status[:pieces] != AT_LOWER) | (bound.gains[model.pieces[:pieces]] > -GAIN)
    held = np.flatnonzero(useful | (weights[owner] != 0.0))
    # an asset that may be bought keeps its losses: without them it would be, to its bound
    tangent, asset = model.loss_tangent[:losses], model.loss_asset[:losses]
    known = np.isin(asset, owner[held]) | (weights[asset] != 0.0)
    lost = np.flatnonzero((number[tangent] >= 0) & known)
    return GrowthStart(
        assets=model.problem.program.assets,
        first_bar=model.problem.first_bar,
        weights=weights,
        price=at.price,
        pieces=model.moves.key[model.pieces[held]],
        piece_status=model.piece_status[held],
        tangents=model.tangents[used],
        cut_bar=sample[keep] + model.problem.first_bar,
        cut_point=model.cut_point[keep],
        cut_tangent=number[model.cut_tangent[keep]],
        cut_status=status[keep],
        loss_tangent=number[tangent[lost]],
        loss_asset=asset[lost],
        loss_side=model.loss_side[lost],
        loss_status=model.loss_status[lost],
        excess_status=model.excess_status[lost],
        level_status=model.level_status.copy(),
        sum_status=model.sum_status.copy(),
        price_status=model.price_status,
    )
