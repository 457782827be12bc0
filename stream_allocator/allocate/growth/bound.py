"""A rigorous upper bound of the best growth there is, from any multipliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate.growth.model import Model
from stream_allocator.allocate.growth.proof import GrowthProof
from stream_allocator.allocate.growth.simplex import Optimum
from stream_allocator.allocate.program import Array

__all__ = ["Bound", "bound_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """The bound, and what each piece of trade would add to it.

    Attributes
    ----------
    value : float
        No weights within the limits have a robust growth above it.
    gains : (K,) array
        Growth per unit of each piece, beyond what the multipliers charge for the limits.
    proof : GrowthProof
        The multipliers of cuts and excesses, as they were made admissible.
    multipliers : dict of str to float
        Shadow prices of the limits on sums by name, growth of a bar.
    """

    value: float
    gains: Array
    proof: GrowthProof
    multipliers: dict[str, float]


def bound_of(model: Model, at: Optimum) -> Bound:
    r"""Weak duality, with the multipliers made exactly admissible first.

    The multipliers of the cuts become the adversary's distribution: not negative, and of each sample exactly
    its probability.  Those of the excesses say how often he takes an asset to its bad end: no more often
    than the cuts are used, and no further in all than the radius.  Then for all weights within the limits

    .. math::
        U(w) \le \sum_r \pi_r \bigl(\beta_r + \alpha_r y_r(w)\bigr) - \sum \psi\,\alpha |w_i|
        \le \text{constant} + \sum_k \ell_k \max(0, \text{gain}_k) .

    Nothing here is the solver's word: whatever multipliers it hands over, the bound holds, up to the
    rounding of these sums.
    """
    problem, moves, sums = model.problem, model.moves, model.sums
    use = _distribution(model, at.cut_prices)
    slope = model.slope * use
    # excesses
    cut, loss = model.pairs()
    room = np.bincount(loss, weights=use[cut] * model.distances(cut, loss), minlength=len(model.loss_asset))
    taken = np.clip(at.excess_prices, 0.0, room)
    total = float(taken.sum())
    if total > problem.radius:
        taken = taken * (problem.radius / total)
    alpha = model.loss_side / (1.0 + model.tangents[model.loss_tangent])
    marginal = np.bincount(model.cut_sample, weights=slope, minlength=len(problem.samples)) @ problem.samples
    np.subtract.at(marginal, model.loss_asset, taken * alpha)
    # sums
    prices = np.where(np.isfinite(sums.least), at.sum_prices, np.maximum(at.sum_prices, 0.0))
    up, down = np.maximum(prices, 0.0), np.maximum(-prices, 0.0)
    charged = float(up @ sums.most) - float(down @ np.where(np.isfinite(sums.least), sums.least, 0.0))
    gains = moves.direction * marginal[moves.asset] - float(slope.sum()) * moves.cost - prices @ sums.matrix
    constant = (
        float(use @ model.offset)
        + float(slope @ model.at_anchor()[model.cut_sample])
        - float((taken * alpha) @ moves.anchor[model.loss_asset])
        + charged
    )
    proof = GrowthProof(
        model.cut_sample,
        model.cut_point,
        use,
        model.tangents[model.loss_tangent],
        model.loss_asset,
        model.loss_side,
        taken,
    )
    value = constant + float(moves.length @ np.maximum(gains, 0.0))
    return Bound(value, gains, proof, sums.multipliers(prices))


def _distribution(model: Model, prices: Array) -> Array:
    """The cuts' multipliers, not negative and summing to the probability of each sample."""
    probabilities = model.problem.probabilities
    use = np.maximum(prices, 0.0)
    total = np.bincount(model.cut_sample, weights=use, minlength=len(probabilities))
    unused = total <= 0.0
    if unused.any():
        samples, first = np.unique(model.cut_sample, return_index=True)
        use[first[unused[samples]]] = 1.0
        total[unused] = 1.0
    weighed: Array = use * (probabilities / total)[model.cut_sample]
    return weighed
