"""How a cost grows with the number of assets: constant, linear and quadratic parts, none negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

__all__ = ["Growth", "fit"]


@dataclass(frozen=True, slots=True)
class Growth:
    """``constant + linear n + quadratic n^2``; ``worst`` is the largest relative error at a point."""

    constant: float
    linear: float
    quadratic: float
    worst: float = 0.0

    def __call__(self, assets: float) -> float:
        """The cost at so many assets."""
        return self.constant + self.linear * assets + self.quadratic * assets * assets


def fit(assets: Sequence[float], costs: Sequence[float]) -> Growth:
    """Least squares of the relative errors, parts not negative; points that are NaN are left out.

    Relative, because costs from 20 to 2000 assets span four orders of magnitude and all matter alike.
    """
    n, y = np.asarray(assets, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    known = np.isfinite(y) & (y > 0)
    n, y = n[known], y[known]
    if not n.size:
        raise ValueError("no point has a cost")
    columns = np.stack([np.ones_like(n), n, n * n], axis=1) / y[:, None]
    scale = columns.max(axis=0)  # else n^2 drowns the others
    parts, _ = nnls(columns / scale, np.ones_like(y))
    parts /= scale
    worst = float(np.abs(columns @ parts - 1.0).max())
    return Growth(*(float(p) for p in parts), worst=worst)
