"""Random programmes of many kinds."""

from dataclasses import replace

import numpy as np

from stream_allocator.allocate import Group, Program

KINDS = (
    "plain",
    "one_asset",
    "two_equal_assets",
    "no_own_variance",
    "riskless_asset",
    "no_turnover",
    "outside_the_box",
    "everything_binds",
    "long_short",
    "smooth",
    "cash",
    "overlapping_groups",
    "little_risk_aversion",
    "expensive",
    "fully_invested",
    "round_numbers",
)


def programme(kind: str, seed: int, n: int | None = None, **changes) -> Program:
    """One programme; the same arguments give the same numbers."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    n = n or {"one_asset": 1, "two_equal_assets": 2}.get(kind) or int(rng.integers(3, 25))
    k = min(n, int(rng.integers(1, 7)))
    deviation = rng.uniform(0.1, 0.5, n)
    factors = rng.normal(size=(n, k)) * 0.05
    factors[:, 0] = deviation * rng.uniform(0.3, 0.9, n)
    own = np.maximum(deviation**2 - (factors**2).sum(axis=1), 0.01 * deviation**2)
    upper = max(0.15, 3.0 / n)
    current = np.minimum(rng.dirichlet(np.ones(n)) * rng.uniform(0.5, 1.0), upper)
    p = Program(
        assets=tuple(f"A{i}" for i in range(n)),
        mean=rng.normal(size=n) * 0.05 + 0.06,
        factors=factors,
        idiosyncratic=own,
        current=current,
        risk_aversion=float(rng.uniform(2.0, 8.0)),
        radius=float(rng.choice([0.0, 0.0005, 0.005])),
        mean_ambiguity=float(rng.choice([0.0, 0.5, 2.0])),
        mean_evidence=float(rng.uniform(1.0, 20.0)),
        linear_cost=np.full(n, rng.choice([0.0, 0.005, 0.05])),
        quadratic_cost=rng.uniform(0.0, 0.2, n) * rng.integers(0, 2),
        lower=np.zeros(n),
        upper=np.full(n, upper),
        cash_lower=0.0,
        cash_upper=float(rng.choice([0.0, 0.3, 1.0])),
        groups=(),
        turnover=float(rng.choice([0.1, 0.4, np.inf])),
        trade=rng.choice([0.05, 0.3, np.inf], n),
        volatility=float(rng.choice([0.12, 0.2, np.inf])),
    )
    p = replace(p, **_special(kind, p, rng))
    return replace(p, **changes)


def _special(kind: str, p: Program, rng: np.random.Generator) -> dict:
    n = len(p.assets)
    thirds = (
        Group("first", tuple(range(n // 2 + 1)), 0.05, 0.45),
        Group("second", tuple(range(n // 3, n)), 0.1, 0.6),
    )
    match kind:
        case "two_equal_assets":
            return {
                "factors": np.array([[0.2], [0.2]]),
                "idiosyncratic": np.zeros(2),
                "mean": np.array([0.1, 0.1]),
                "linear_cost": np.zeros(2),
                "quadratic_cost": np.zeros(2),
            }
        case "no_own_variance":
            return {"idiosyncratic": np.zeros(n), "radius": float(rng.choice([0.0, 0.001]))}
        case "riskless_asset":
            f, d = p.factors.copy(), p.idiosyncratic.copy()
            f[0], d[0] = 0.0, 0.0
            return {"factors": f, "idiosyncratic": d}
        case "no_turnover":
            return {"turnover": 0.0, "cash_upper": 1.0, "volatility": np.inf}
        case "outside_the_box":
            return {"current": p.current * 1.5 + rng.normal(size=n) * 0.05, "trade": np.full(n, np.inf)}
        case "everything_binds":
            return {"groups": thirds, "turnover": 0.15, "cash_upper": 0.3, "trade": np.full(n, 0.06)}
        case "long_short":
            return {"lower": -p.upper, "current": p.current - rng.uniform(0, 0.1, n), "cash_upper": 2.0}
        case "smooth":
            return {"radius": 0.0, "mean_ambiguity": 0.0, "linear_cost": np.zeros(n), "turnover": np.inf}
        case "cash":
            return {"mean": p.mean * 0.1, "mean_ambiguity": 2.0, "cash_upper": 1.0}
        case "overlapping_groups":
            return {"groups": thirds}
        case "little_risk_aversion":
            return {"risk_aversion": 1e-3}
        case "expensive":
            return {"linear_cost": np.full(n, 0.5)}
        case "fully_invested":
            return {"cash_upper": 0.0, "turnover": np.inf, "trade": np.full(n, np.inf)}
        case "round_numbers":
            return {
                "current": np.full(n, 1.0 / n),
                "upper": np.full(n, max(0.1, 1.0 / n)),
                "cash_upper": 0.0,
                "turnover": 0.2,
                "trade": np.full(n, np.inf),
            }
    return {}
