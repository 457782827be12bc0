"""Growth problems: small ones with every kind of limit, and plain ones of any size."""

import numpy as np
from programmes import KINDS, programme

from stream_allocator.allocate.growth import GrowthProgram

RADII = (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0)


def returns(seed, count, n):
    """Market and own returns with fat tails."""
    rng = np.random.default_rng([seed, count, n])
    market = 0.01 * rng.standard_t(4, (count, 1)) * rng.uniform(0.5, 1.5, n)
    own = rng.uniform(0.005, 0.03, n) * rng.standard_t(4, (count, n))
    return np.clip(rng.normal(0.002, 0.002, n) + market + own, -0.7, 1.0)


def small(kind, seed):
    """A problem of a few assets and samples, of any kind of limits."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    n = {"one_asset": 1, "two_equal_assets": 2}.get(kind, int(rng.integers(2, 5)))
    count = int(rng.integers(2, 8))
    return GrowthProgram(
        programme(kind, seed, n=n),
        np.clip(rng.normal(0.004, 0.05, (count, n)), -0.9, 1.0),
        float(rng.choice(RADII)),
        probabilities=rng.random(count) if rng.random() < 0.3 else None,
        bars_per_year=float(rng.choice([1.0, 252.0])),
    )


def plain(n, **changes):
    """Long only, from cash, without costs; fully invested unless changed."""
    free = {
        "lower": np.zeros(n),
        "upper": np.full(n, 1.0),
        "current": np.zeros(n),
        "linear_cost": np.zeros(n),
        "quadratic_cost": np.zeros(n),
        "turnover": np.inf,
        "trade": np.full(n, np.inf),
    }
    return programme("fully_invested", 0, n=n, **free | changes)
