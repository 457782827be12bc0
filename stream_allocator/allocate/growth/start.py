"""What a solution leaves for the next one: tangents, and which rows and columns were in the basis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_allocator.allocate.program import Array

__all__ = ["GrowthStart"]

Ints = NDArray[np.int64]
Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class GrowthStart:
    """Where a solution may start; plain arrays, so that a snapshot can hold it.

    It moves the way to an answer and, within the tolerance, the answer; never its proof.  Statuses are the
    simplex method's: 0 at the lower bound, 1 basic, 2 at the upper bound.

    Attributes
    ----------
    assets : tuple of str
        A programme with other assets starts cold.
    first_bar : int
        Of the samples that were used.
    weights : (n,) array
        The answer.
    price : float
        The worst case's price of distance.
    pieces, piece_status : (P,) arrays
        Keys of the pieces of trades in use.
    tangents : (M,) array
        Points where the shared tangents touch the logarithm.
    cut_bar, cut_point, cut_tangent, cut_status : (C,) arrays
        Of each cut the sample's bar, where it touches, and its shared tangent or -1.
    loss_tangent, loss_asset, loss_side, loss_status, excess_status : (S,) arrays
        Of each loss that the adversary can inflict on one tangent: its asset, the sign of the weight.
    level_status : (T,) array
        Of the samples' growth.
    sum_status : (R,) array
        Of the limits on sums.
    price_status : int
        Of the price of distance.
    """

    assets: tuple[str, ...]
    first_bar: int
    weights: Array
    price: float
    pieces: Ints
    piece_status: Codes
    tangents: Array
    cut_bar: Ints
    cut_point: Array
    cut_tangent: Ints
    cut_status: Codes
    loss_tangent: Ints
    loss_asset: Ints
    loss_side: Array
    loss_status: Codes
    excess_status: Codes
    level_status: Codes
    sum_status: Codes
    price_status: int
