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
    "gross",
    "many_groups",
    "long_and_gross_groups",
    "market_neutral",
    "benchmark",
    "tracking",
    "two_caps",
    "exit",
    "gelbrich",
    "gelbrich_capped",
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
        case "gross":
            return {
                "lower": -p.upper,
                "current": p.current - rng.uniform(0, 0.1, n),
                "cash_lower": -0.5,
                "cash_upper": 1.0,
                "gross": float(rng.choice([0.6, 1.0, 1.6])),
                "turnover": float(rng.choice([0.5, np.inf])),
                "trade": np.full(n, np.inf),
            }
        case "many_groups":
            return {"groups": _groups(rng, n, 6, current=p.current), "cash_upper": 0.5}
        case "long_and_gross_groups":
            groups = tuple(
                Group(
                    g.name, g.members, -0.5, 0.6, float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.2, 0.6))
                )
                for g in _groups(rng, n, 4)
            )
            return {
                "lower": -p.upper,
                "current": (p.current - 0.5 / n) * 0.5,
                "cash_lower": -0.2,
                "cash_upper": 1.2,
                "gross": 1.5,
                "groups": groups,
            }
        case "market_neutral":
            return {
                "lower": -p.upper,
                "current": np.zeros(n),
                "cash_lower": 1.0,
                "cash_upper": 1.0,
                "gross": float(rng.choice([0.5, 1.5])),
                "groups": tuple(Group(g.name, g.members, -0.02, 0.02) for g in _groups(rng, n, 3)),
                "turnover": np.inf,
                "trade": np.full(n, np.inf),
            }
        case "benchmark" | "tracking" | "two_caps":
            benchmark = rng.dirichlet(np.ones(n)) * (n > 1)
            upper = np.maximum(p.upper, benchmark + 0.05)
            found = {
                "benchmark": benchmark,
                "current": 0.5 * (benchmark + np.minimum(p.current, upper)),
                "upper": upper,
                "trade": np.full(n, np.inf),
                "turnover": float(rng.choice([0.5, np.inf])),
                "cash_lower": 0.0,
                "cash_upper": float(rng.choice([0.0, 0.5])),
                "volatility": np.inf,
            }
            if kind == "benchmark":
                return {**found, "active": rng.uniform(0.02, 0.1, n)}
            tracking = float(rng.uniform(0.01, 0.06))
            volatility = float(rng.uniform(0.08, 0.25)) if kind == "two_caps" else np.inf
            return {**found, "tracking": tracking, "volatility": volatility}
        case "exit":
            return {"holding": rng.uniform(0.02, 0.2, n), "cash_upper": 1.0, "current": p.current * 0.1}
        case "gelbrich" | "gelbrich_capped":
            return {
                "risk_aversion": 0.0,
                "deviation_aversion": float(rng.uniform(0.1, 0.8)),
                "mean_ambiguity": 0.0,
                "radius": float(rng.choice([0.0, 1e-4, 1e-3])),
                "mean": p.mean + 0.05,
                "cash_upper": float(rng.choice([0.0, 1.0])),
                "volatility": 0.12 if kind == "gelbrich_capped" else np.inf,
            }
    return {}


def _groups(
    rng: np.random.Generator, n: int, count: int, current: np.ndarray | None = None
) -> tuple[Group, ...]:
    """Groups that overlap, around what is held where that is given."""
    found = []
    for j in range(count):
        members = tuple(np.flatnonzero(rng.random(n) < 0.4).tolist()) or (int(rng.integers(n)),)
        held = float(current[list(members)].sum()) if current is not None else 0.3
        wide = rng.uniform(0.02, 0.2, 2)
        found.append(Group(f"g{j}", members, max(0.0, held - wide[0]), held + wide[1]))
    return tuple(found)


def broken_programme(kind: str, seed: int, capped: bool = False) -> Program:
    """Holdings some way outside their limits, and not much turnover or liquidity to bring them back."""
    p = programme(kind, seed)
    n, rng = len(p.assets), np.random.default_rng([seed, 5])
    p = replace(
        p,
        current=p.current * rng.uniform(0.6, 1.5) + rng.normal(size=n) * rng.choice([0.02, 0.1]),
        turnover=float(rng.choice([0.08, 0.2, 0.5])),
        trade=rng.choice([0.02, 0.05, 0.2, np.inf], n),
    )
    return p if capped else replace(p, volatility=np.inf, tracking=np.inf)
