"""The plain programme as OSQP and PIQP take it: sparse, in factor form, with a fixed pattern.

Variables w (n), u (n) and y (k), with y = F'w and u >= |w - w0|:

    min  1/2 gamma (w' diag(d) w + y'y) - mean'w + c'u
    s.t. rows on sums of w;  1'u <= tau;  F'w - y = 0;  lower <= w <= upper;  u - w >= -w0;  u + w >= w0

From one decision to the next only numbers change, never the pattern, so a solver keeps its workspace.  (With
|w - w0| = 2u - (w - w0), one bound instead of a row, OSQP needs twice the time.)
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from stream_allocator.allocate import Program
from stream_allocator.allocate.limits import rows_of, trade_interval

__all__ = ["FactorForm"]


class FactorForm:
    """The matrices of one kind of programme, and the numbers of each.

    Long-only programmes without root terms; a volatility cap is not expressed.

    Attributes
    ----------
    n, k, sums : int
        Assets, factors, rows on sums (of w, and the turnover's at their end).
    """

    def __init__(self, program: Program) -> None:
        if (program.lower < 0.0).any() or program.radius or program.mean_ambiguity:
            raise ValueError("only long-only programmes without root terms")
        self.n, self.k = n, k = program.factors.shape
        rows = rows_of(program)
        self.normals = rows.normals + rows.magnitudes  # |w| = w
        self.sums = len(self.normals) + 1
        one = sp.identity(n, format="coo")
        pattern = sp.coo_matrix(np.ones((k, n)))
        blocks = [
            [sp.coo_matrix(self.normals), None, None],
            [None, sp.coo_matrix(np.ones((1, n))), None],
            [pattern, None, -sp.identity(k)],
            [one, None, None],
            [-one, one, None],
            [one, one, None],
        ]
        self.matrix = sp.csc_matrix(sp.bmat(blocks))
        self.matrix.sort_indices()
        coo = self.matrix.tocoo()  # entries in the order of the columns
        in_factors = (coo.row >= self.sums) & (coo.row < self.sums + k) & (coo.col < n)
        self._at = np.flatnonzero(in_factors)
        self._from = (coo.col[self._at], coo.row[self._at] - self.sums)
        self.curvature = sp.csc_matrix(sp.diags(np.ones(2 * n + k)))
        # u has no curvature; its entries stay in the pattern
        self.curvature.data[n : 2 * n] = 0.0

    def numbers(
        self, program: Program, prune: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Diagonal of the curvature, linear term, entries of the matrix, lower and upper bounds of its rows.

        ``prune`` drops the rows of u that cannot bind, since the asset can only be bought or only be sold.
        """
        n, k, w0 = self.n, self.k, program.current
        lower, upper = trade_interval(program)
        gamma, cost = program.risk_aversion, program.linear_cost
        diagonal = np.concatenate([gamma * program.idiosyncratic, np.zeros(n), np.full(k, gamma)])
        linear = np.concatenate([-program.mean, cost, np.zeros(k)])
        entries = self.matrix.data.copy()
        entries[self._at] = program.factors[self._from]
        bounds = rows_of(program).bounds
        bought, sold = -w0, w0
        if prune:
            bought, sold = np.where(w0 >= upper, -np.inf, -w0), np.where(w0 <= lower, -np.inf, w0)
        low = np.concatenate([np.full(self.sums, -np.inf), np.zeros(k), lower, bought, sold])
        high = np.concatenate([bounds, [program.turnover], np.zeros(k), upper, np.full(2 * n, np.inf)])
        return diagonal, linear, entries, low, high
