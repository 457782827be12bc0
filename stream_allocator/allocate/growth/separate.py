"""What the last linear programme did not know: tangents, losses and pieces of trades to add."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate.growth.bound import Bound
from stream_allocator.allocate.growth.model import Model
from stream_allocator.allocate.growth.moves import Ints
from stream_allocator.allocate.growth.simplex import Optimum
from stream_allocator.allocate.growth.worst import WorstCase
from stream_allocator.allocate.program import Array

__all__ = ["Separation", "separate"]

# Samples in which the adversary's cuts are added in one round.
SAMPLES = 30
# Pieces of trades that are added in one round: so many, or as many as there are already.
PIECES = 20
# While the bracket is wider than this many tolerances every loss is added, even one that is not yet taken
# (without it its asset is where the next programme puts the weight), and distance has nearly its worst-case
# price (the programme's own starts at 0, where the adversary moves everything).
FAR, DAMPING = 2.0, 0.95
# Later a loss is added where it is this near to being taken.
NEAR = 1e-3
# No piece is worth adding for less growth per unit.
GAIN = 1e-11


@dataclass(slots=True)
class Separation:
    """How small an error is worth a row; smaller whenever nothing is left to add.

    Attributes
    ----------
    tolerance : float
        Of the bracket.
    share : float
        What all tangents that are left out may miss, in tolerances.
    shared : float
        What a shared tangent may miss on one sample.
    exact : bool
        Whether the programme's own price of distance is used.
    """

    tolerance: float
    share: float = 0.2
    shared: float = 2e-5
    exact: bool = False

    def sharpen(self) -> bool:
        """Ask for more; False where there is no more."""
        if not self.exact:
            self.exact = True
            return True
        self.share *= 0.4
        self.shared *= 0.1
        return self.share > 1e-4


def separate(
    model: Model, at: Optimum, bound: Bound, weights: Array, worst: WorstCase, gap: float, care: Separation
) -> bool:
    """Add to the model what narrows the bracket; False where there is nothing."""
    far = gap > FAR * care.tolerance
    while True:
        added = _tangents(model, at, worst, care) + _pieces(model, bound)
        if model.problem.radius > 0.0:
            price = max(at.price, DAMPING * worst.price) if far and not care.exact else at.price
            added += _crashes(model, at, worst, price, care)
            added += _losses(model, weights, price, far)
        if added:
            return True
        if not care.sharpen():
            return False


def _worth(error: Array, care: Separation) -> Ints:
    """Samples whose errors cannot all be left out together, the largest first."""
    order = np.argsort(error, kind="stable")
    together = np.cumsum(np.maximum(error[order], 0.0))
    chosen: Ints = order[(together > care.share * care.tolerance) & (error[order] > 0.0)]
    return chosen[::-1]


def _tangents(model: Model, at: Optimum, worst: WorstCase, care: Separation) -> int:
    """Tangents where the samples are."""
    growth = worst.scenarios.growth[:, 0]
    samples = _worth(model.problem.probabilities * (at.levels - growth), care)
    samples = samples[np.isfinite(growth[samples])]
    model.add_cuts(samples, np.expm1(growth[samples]))
    return len(samples)


def _crashes(model: Model, at: Optimum, worst: WorstCase, price: float, care: Separation) -> int:
    """Tangents where the adversary takes the samples."""
    found = worst.scenarios
    moved = found.cheapest(price)
    rows = np.arange(len(moved))
    growth, distance = found.growth[rows, moved], found.distance[rows, moved]
    error = model.problem.probabilities * (at.levels - growth - price * distance)
    error[(moved == 0) | ~np.isfinite(growth)] = 0.0
    there = set(zip(model.cut_sample.tolist(), model.cut_tangent.tolist(), strict=True))
    samples, tangents = [], []
    for j in _worth(error, care)[:SAMPLES].tolist():
        tangent = model.tangent_near(float(np.expm1(growth[j])), care.shared)
        if (j, tangent) not in there:
            samples.append(j)
            tangents.append(tangent)
    chosen = np.array(tangents, np.int64)
    model.add_cuts(np.array(samples, np.int64), model.tangents[chosen], chosen)
    return len(samples)


def _losses(model: Model, weights: Array, price: float, far: bool) -> int:
    """Losses that the adversary would take on the tangents that are in use, or may soon."""
    asset = np.flatnonzero(weights)
    side = np.sign(weights[asset])
    if far:
        asset = np.concatenate([asset, model.moves.asset[model.pieces]])
        side = np.concatenate([side, model.moves.side[model.pieces]])
    size = np.abs(weights[asset])
    there = set(
        zip(model.loss_tangent.tolist(), model.loss_asset.tolist(), model.loss_side.tolist(), strict=True)
    )
    count = len(there)
    new: list[tuple[int, int, float]] = []
    for tangent in np.unique(model.cut_tangent[model.cut_tangent >= 0]).tolist():
        near = far | (size / (1.0 + model.tangents[tangent]) > price * (1.0 - NEAR))
        for i, sign in zip(asset[near].tolist(), side[near].tolist(), strict=True):
            if (tangent, i, sign) not in there:
                there.add((tangent, i, sign))
                new.append((tangent, i, sign))
    if new:
        tangents, assets, sides = zip(*new, strict=True)
        model.add_losses(np.array(tangents, np.int64), np.array(assets, np.int64), np.array(sides))
    return len(there) - count


def _pieces(model: Model, bound: Bound) -> int:
    """Pieces of trades that would pay."""
    gains = bound.gains.copy()
    gains[model.pieces] = 0.0
    chosen = np.argsort(-gains, kind="stable")[: max(PIECES, len(model.pieces))]
    chosen = chosen[gains[chosen] > GAIN]
    model.add_pieces(chosen)
    return len(chosen)
