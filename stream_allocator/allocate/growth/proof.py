r"""What proves a growth decision, to whoever has its samples and nothing else.

Give every sample's tangents weights q >= 0 that sum to its probability, and every loss (asset i at its bad
end, on one tangent) a weight 0 <= theta <= sum_c q_c d_ci over the cuts with that tangent, all of
them together no more than the radius.  Then for all weights v

.. math:: U(v) \le K + g'v - A\,c(v), \quad K = \sum_c q_c \beta_c,\; A = \sum_c q_c \alpha_c,\;
    g_i = \sum_c q_c\alpha_c X_{ci} - \sum \sigma\,\alpha\,\theta_i,

since log(1 + y) <= beta + alpha y, and since the adversary, who may move samples by the radius in all, is
free to take these assets to their bad ends so often: a unit of distance takes alpha |v_i| >= sigma alpha v_i.
What is left is a linear function less costs, over the limits: a :class:`Program`, whose own
:func:`certificate <stream_allocator.allocate.certificate.certificate>` bounds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from stream_allocator.allocate.certificate import Certificate, certificate
from stream_allocator.allocate.growth.moves import Ints
from stream_allocator.allocate.growth.problem import GrowthProgram
from stream_allocator.allocate.growth.worst import robust_growth
from stream_allocator.allocate.program import Array, Program, other_objective

__all__ = ["GrowthProof", "Majorant", "growth_certificate", "growth_penalty", "linear_program", "majorant"]

# A programme must have some aversion to risk; this much is lost in every rounding.
NO_RISK = 1e-300
# Weights of a sample's tangents that are no more than this are none.
TINY = 1e-100


@dataclass(frozen=True, slots=True, eq=False)
class GrowthProof:
    """Tangents and losses with their weights.

    Attributes
    ----------
    cut_sample, cut_point, cut_weight : (C,) arrays
        The sample of each cut, where its tangent touches log(1 + y), and q.
    loss_point, loss_asset, loss_side, loss_weight : (L,) arrays
        Where the tangent of each loss touches, its asset, the sign of the weight that it hurts, and theta.
    """

    cut_sample: Ints
    cut_point: Array
    cut_weight: Array
    loss_point: Array
    loss_asset: Ints
    loss_side: Array
    loss_weight: Array


@dataclass(frozen=True, slots=True, eq=False)
class Majorant:
    """U(v) <= constant + slope'v - cost_rate c(v) for all v.

    Attributes
    ----------
    constant : float
    slope : (n,) array
    cost_rate : float
    """

    constant: float
    slope: Array
    cost_rate: float


def majorant(problem: GrowthProgram, proof: GrowthProof) -> Majorant:
    """The bound of a proof, its weights first made to obey the conditions: whatever they are, it holds.

    Raises
    ------
    ValueError
        If an array has another length than its fellows, a sample or asset does not exist, a tangent does
        not touch above -1, or a sample has no cut.
    """
    _check(problem, proof)
    probabilities, samples = problem.probabilities, problem.samples
    use = np.maximum(proof.cut_weight, 0.0)
    total = np.bincount(proof.cut_sample, weights=use, minlength=len(samples))
    bare = (total <= TINY) & (probabilities > 0.0)
    if bare.any():
        cuts = np.flatnonzero(bare[proof.cut_sample])
        use[cuts] = 1.0
        total = np.bincount(proof.cut_sample, weights=use, minlength=len(samples))
    if not (total[probabilities > 0.0] > TINY).all():
        raise ValueError("a sample has no tangent")
    use = (
        use * np.divide(probabilities, total, out=np.zeros_like(total), where=total > TINY)[proof.cut_sample]
    )
    alpha = 1.0 / (1.0 + proof.cut_point)
    beta = np.log1p(proof.cut_point) - proof.cut_point * alpha
    slope = np.bincount(proof.cut_sample, weights=use * alpha, minlength=len(samples)) @ samples
    if len(proof.loss_asset):
        taken = np.clip(proof.loss_weight, 0.0, _room(problem, proof, use))
        taken = taken * min(1.0, problem.radius / max(float(taken.sum()), 1e-300))
        np.subtract.at(slope, proof.loss_asset, proof.loss_side * taken / (1.0 + proof.loss_point))
    return Majorant(float(use @ beta), slope, float(use @ alpha))


def linear_program(problem: GrowthProgram, above: Majorant) -> Program:
    """Annual: min cost_rate c(v) - slope'v within the limits."""
    program = problem.program
    return other_objective(
        program,
        mean=above.slope * problem.bars_per_year,
        linear_cost=above.cost_rate * program.linear_cost,
        quadratic_cost=above.cost_rate * program.quadratic_cost,
        risk_aversion=NO_RISK,
    )


def growth_certificate(
    problem: GrowthProgram, weights: Array, above: Majorant, multipliers: Mapping[str, float]
) -> Certificate:
    """What a majorant shows of some weights, a year; the objective is minus their worst expected log growth.

    Parameters
    ----------
    problem : GrowthProgram
    weights : (n,) array
    above : Majorant
    multipliers : mapping of str to float
        Shadow prices of the limits on sums by name, growth a year.

    Returns
    -------
    Certificate
        ``bound`` is minus the most that any weights inside the limits could grow, and ``gap`` how much that
        is above these weights' own.
    """
    linear = certificate(linear_program(problem, above), weights, multipliers)
    value = -robust_growth(problem, weights).value * problem.bars_per_year
    bound = linear.bound - above.constant * problem.bars_per_year
    return replace(linear, objective=value, bound=bound, gap=value - bound)


def growth_penalty(problem: GrowthProgram, weights: Array) -> float:
    """What the ball takes from the expected log growth of the samples alone, a year."""
    alone = robust_growth(replace(problem, radius=0.0), weights).value
    return (alone - robust_growth(problem, weights).value) * problem.bars_per_year


def _room(problem: GrowthProgram, proof: GrowthProof, use: Array) -> Array:
    """The most that each loss may weigh: its distance in the cuts of its tangent, as those are used."""
    room = np.zeros(len(proof.loss_asset))
    for point in np.unique(proof.loss_point):
        losses = np.flatnonzero(proof.loss_point == point)
        cuts = np.flatnonzero(proof.cut_point == point)
        asset = proof.loss_asset[losses]
        bad = np.where(proof.loss_side[losses] > 0.0, problem.lowest[asset], problem.highest[asset])
        room[losses] = use[cuts] @ np.abs(problem.samples[np.ix_(proof.cut_sample[cuts], asset)] - bad)
    return room


def _check(problem: GrowthProgram, proof: GrowthProof) -> None:
    cuts = (proof.cut_sample, proof.cut_point, proof.cut_weight)
    losses = (proof.loss_point, proof.loss_asset, proof.loss_side, proof.loss_weight)
    for what, arrays in (("cuts", cuts), ("losses", losses)):
        if len({len(a) for a in arrays}) != 1:
            raise ValueError(f"the arrays of the {what} differ in length")
    count, n = problem.samples.shape
    for what, index, end in (("sample", proof.cut_sample, count), ("asset", proof.loss_asset, n)):
        if ((index < 0) | (index >= end)).any():
            raise ValueError(f"a cut or loss names {what} {int(index.max(initial=-1))} of {end}")
    numbers = np.concatenate([proof.cut_point, proof.cut_weight, *losses[:1], *losses[2:]])
    if not np.isfinite(numbers).all() or not (np.abs(proof.loss_side) == 1.0).all():
        raise ValueError("the weights of cuts and losses must be finite, and sides +1 or -1")
    if not (np.concatenate([proof.cut_point, proof.loss_point]) > -1.0).all():
        raise ValueError("a tangent of the logarithm must touch above -1")
