"""How a cost grows with a size, mostly the number of assets: parts by its powers, none negative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

__all__ = ["Growth", "fit"]


@dataclass(frozen=True, slots=True)
class Growth:
    """``constant + linear n + quadratic n^2 + cubic n^3``, and the largest relative error at a point."""

    constant: float
    linear: float = 0.0
    quadratic: float = 0.0
    cubic: float = 0.0
    worst: float = 0.0

    def __call__(self, size: float) -> float:
        """The cost at a size."""
        return self.constant + size * (self.linear + size * (self.quadratic + size * self.cubic))


def fit(sizes: Sequence[float], costs: Sequence[float], degree: int = 2) -> Growth:
    """Least squares of the relative errors, parts not negative; points that are NaN are left out.

    Relative, because costs from 20 to 2000 assets span four orders of magnitude and all matter alike.
    """
    n, y = np.asarray(sizes, dtype=np.float64), np.asarray(costs, dtype=np.float64)
    known = np.isfinite(y) & (y > 0)
    n, y = n[known], y[known]
    if not n.size:
        raise ValueError("no point has a cost")
    columns = n[:, None] ** np.arange(degree + 1) / y[:, None]
    scale = columns.max(axis=0)  # else the highest power drowns the others
    parts, _ = nnls(columns / scale, np.ones_like(y))
    parts /= scale
    worst = float(np.abs(columns @ parts - 1.0).max())
    return Growth(*(float(p) for p in parts), worst=worst)
