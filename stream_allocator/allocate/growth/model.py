r"""The rows and columns of the linear programme that exist so far.

.. math::
    \max\; -\lambda\varepsilon + \sum_j p_j g_j \quad\text{s.t.}\quad
    g_j \le \beta + \alpha\,(w'X_j - c(w)) - \sum_i d_{ji} s_i, \qquad
    s_i \ge \alpha |w_i| - \lambda, \quad s \ge 0,

one row for each cut: a sample j with a tangent :math:`\beta + \alpha y` of :math:`\log(1 + y)`, where
:math:`\alpha = 1/(1+y_0)` and :math:`\beta = \log(1+y_0) - \alpha y_0`; :math:`d_{ji}` is the distance of the
sample from the bad end.  Without its losses s a cut says that the adversary leaves the sample alone.  What is
not there is as if it did not bind: fewer cuts and losses only lift the optimum, fewer pieces of trade only
lower it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.growth.moves import Ints, Moves, Sums
from stream_allocator.allocate.growth.problem import GrowthProgram
from stream_allocator.allocate.growth.start import Codes
from stream_allocator.allocate.program import Array

__all__ = ["AT_LOWER", "AT_UPPER", "BASIC", "Matrix", "Model"]

AT_LOWER, BASIC, AT_UPPER = 0, 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Rows of the programme, compressed.

    Columns are the pieces, the price, the samples' growth and the losses; rows are the sums, the cuts and the
    excesses.
    """

    start: NDArray[np.int32]
    index: NDArray[np.int32]
    value: Array
    least: Array
    most: Array


@dataclass(slots=True, eq=False)
class Model:
    """The programme in the making.

    The fields are those of :class:`~stream_allocator.allocate.growth.GrowthStart`, with samples and pieces by
    position where that has bars and keys.
    """

    problem: GrowthProgram
    moves: Moves
    sums: Sums
    sum_status: Codes
    level_status: Codes
    price_status: int = AT_LOWER
    pieces: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    piece_status: Codes = field(default_factory=lambda: np.zeros(0, np.int8))
    tangents: Array = field(default_factory=lambda: np.zeros(0))
    cut_sample: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    cut_point: Array = field(default_factory=lambda: np.zeros(0))
    cut_tangent: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    cut_status: Codes = field(default_factory=lambda: np.zeros(0, np.int8))
    loss_tangent: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    loss_asset: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    loss_side: Array = field(default_factory=lambda: np.zeros(0))
    loss_status: Codes = field(default_factory=lambda: np.zeros(0, np.int8))
    excess_status: Codes = field(default_factory=lambda: np.zeros(0, np.int8))

    # -- what is added

    def add_pieces(self, pieces: Ints) -> None:
        """Let these pieces of trades be used."""
        self.pieces = np.concatenate([self.pieces, pieces])
        self.piece_status = _more(self.piece_status, len(pieces), AT_LOWER)

    def add_cuts(
        self, samples: Ints, points: Array, tangents: Ints | None = None, status: int = BASIC
    ) -> None:
        """Add a tangent at ``points`` to each of ``samples``; shared ones where ``tangents`` are given."""
        self.cut_sample = np.concatenate([self.cut_sample, samples])
        self.cut_point = np.concatenate([self.cut_point, points])
        own = np.full(len(samples), -1, np.int64) if tangents is None else tangents
        self.cut_tangent = np.concatenate([self.cut_tangent, own])
        self.cut_status = _more(self.cut_status, len(samples), status)

    def add_losses(self, tangents: Ints, assets: Ints, sides: Array) -> None:
        """Let the adversary take these assets to their bad ends in all cuts of a shared tangent."""
        self.loss_tangent = np.concatenate([self.loss_tangent, tangents])
        self.loss_asset = np.concatenate([self.loss_asset, assets])
        self.loss_side = np.concatenate([self.loss_side, sides])
        self.loss_status = _more(self.loss_status, len(tangents), AT_LOWER)
        self.excess_status = _more(self.excess_status, len(tangents), BASIC)

    def tangent_near(self, point: float, error: float) -> int:
        """A shared tangent that misses the logarithm at ``point`` by at most ``error``; new if need be."""
        if len(self.tangents):
            ratio = (1.0 + point) / (1.0 + self.tangents)
            above = ratio - 1.0 - np.log(ratio)
            nearest = int(np.argmin(above))
            if above[nearest] <= error:
                return nearest
        self.tangents = np.append(self.tangents, point)
        return len(self.tangents) - 1

    # -- what it is

    @property
    def slope(self) -> Array:
        """alpha of each cut, shape (C,)."""
        alpha: Array = 1.0 / (1.0 + self.cut_point)
        return alpha

    @property
    def offset(self) -> Array:
        """beta of each cut, shape (C,)."""
        beta: Array = np.log1p(self.cut_point) - self.cut_point / (1.0 + self.cut_point)
        return beta

    def at_anchor(self) -> Array:
        """What each sample earns at the anchor after costs, shape (T,)."""
        earned: Array = self.problem.samples @ self.moves.anchor - self.moves.paid
        return earned

    def distances(self, cuts: NDArray[np.intp], losses: NDArray[np.intp]) -> Array:
        """How far the adversary must move the asset of a loss in the sample of a cut; paired."""
        sample, asset = self.cut_sample[cuts], self.loss_asset[losses]
        bad = np.where(self.loss_side[losses] > 0.0, self.problem.lowest[asset], self.problem.highest[asset])
        apart: Array = np.abs(self.problem.samples[sample, asset] - bad)
        return apart

    def pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Cuts and losses that share a tangent, by cut."""
        shared = np.flatnonzero(self.cut_tangent >= 0)
        inside = self.cut_tangent[shared][:, None] == self.loss_tangent[None, :]
        cut, loss = np.nonzero(inside)
        return shared[cut], loss

    def matrix(self) -> Matrix:
        """All rows as they stand."""
        moves, pieces = self.moves, self.pieces
        count, samples = len(pieces), len(self.problem.samples)
        price, levels, losses = count, count + 1, count + 1 + samples
        # cuts: pieces, the sample's growth, losses
        cuts, slope = len(self.cut_sample), self.slope
        traded = moves.direction[pieces] * self.problem.samples[:, moves.asset[pieces]] - moves.cost[pieces]
        pair_cut, pair_loss = self.pairs()
        extra = np.bincount(pair_cut, minlength=cuts)
        cut_start = np.concatenate([[0], np.cumsum(count + 1 + extra)])
        index = np.empty(cut_start[-1], np.int32)
        value = np.empty(cut_start[-1])
        dense = cut_start[:-1, None] + np.arange(count + 1)
        index[dense[:, :count]] = np.arange(count)
        value[dense[:, :count]] = -slope[:, None] * traded[self.cut_sample]
        index[dense[:, count]] = levels + self.cut_sample
        value[dense[:, count]] = 1.0
        rank = np.arange(len(pair_cut)) - (np.cumsum(extra) - extra)[pair_cut]
        place = cut_start[pair_cut] + count + 1 + rank
        index[place] = losses + pair_loss
        value[place] = self.distances(pair_cut, pair_loss)
        # excesses: side alpha w - price - loss <= 0
        alpha = self.loss_side / (1.0 + self.tangents[self.loss_tangent])
        owner, piece = np.nonzero(self.loss_asset[:, None] == moves.asset[pieces][None, :])
        many = len(self.loss_asset)
        row = np.concatenate([owner, np.arange(many), np.arange(many)])
        order = np.argsort(row, kind="stable")
        column = np.concatenate([piece, np.full(many, price), losses + np.arange(many)])[order]
        entry = np.concatenate([alpha[owner] * moves.direction[pieces][piece], np.full(2 * many, -1.0)])[
            order
        ]
        excess_start = np.cumsum(np.bincount(row, minlength=many))
        # sums: pieces alone
        chosen = self.sums.matrix[:, pieces]
        of_sum, at = np.nonzero(chosen)
        sum_start = np.concatenate([[0], np.cumsum(np.bincount(of_sum, minlength=len(chosen)))])
        start = np.concatenate(
            [sum_start, sum_start[-1] + cut_start[1:], sum_start[-1] + cut_start[-1] + excess_start]
        )
        most = np.concatenate(
            [
                self.sums.most,
                self.offset + slope * self.at_anchor()[self.cut_sample],
                -alpha * moves.anchor[self.loss_asset],
            ]
        )
        least = np.full(len(most), -np.inf)
        least[: len(chosen)] = self.sums.least
        return Matrix(
            start=start.astype(np.int32),
            index=np.concatenate([at, index, column]).astype(np.int32),
            value=np.concatenate([chosen[of_sum, at], value, entry]),
            least=least,
            most=most,
        )


def _more(status: Codes, count: int, code: int) -> Codes:
    more: Codes = np.concatenate([status, np.full(count, code, np.int8)])
    return more
