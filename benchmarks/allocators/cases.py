"""The problems on which libraries are compared: 200 random ones and 50 pathological ones.

All are mean-variance with limits that most libraries can express: box, budget, groups, turnover, linear
costs.  Whether a problem has an answer is known from how it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from stream_allocator.allocate import Group, Program

__all__ = ["PATHOLOGICAL", "RANDOM", "Case", "cases"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A problem.

    Attributes
    ----------
    family : str
        One of ``RANDOM`` or ``PATHOLOGICAL``.
    program : Program
    feasible : bool
        Whether its limits can all hold.
    """

    family: str
    program: Program
    feasible: bool = True


def cases(random: int, pathological: int, seed: int) -> list[Case]:
    """The problems, as many of each family as make up the two totals (rounded up)."""
    found = []
    for families, total in ((RANDOM, random), (PATHOLOGICAL, pathological)):
        for number, (family, make) in enumerate(families.items()):
            for j in range(-(-total // len(families))):
                rng = np.random.default_rng([seed, len(families), number, j])
                found.append(make(rng, family))
    return found


def _ordinary(rng: np.random.Generator, n: int | None = None) -> Program:
    """Box and budget around a portfolio that is held and inside."""
    n = n or int(rng.integers(5, 61))
    k = int(rng.integers(1, 7))
    deviation = rng.uniform(0.1, 0.5, n)
    factors = rng.normal(size=(n, k)) * 0.2 * deviation[:, None]
    factors[:, 0] = deviation * rng.uniform(0.3, 0.8, n)
    held = rng.dirichlet(np.ones(n))
    return Program(
        assets=tuple(f"A{i}" for i in range(n)),
        mean=rng.normal(size=n) * 0.05 + 0.06,
        factors=factors,
        idiosyncratic=deviation**2 * rng.uniform(0.1, 0.8, n),
        current=held,
        risk_aversion=float(np.exp(rng.uniform(0.0, 2.5))),
        radius=0.0,
        mean_ambiguity=0.0,
        mean_evidence=1.0,
        linear_cost=np.zeros(n),
        quadratic_cost=np.zeros(n),
        lower=np.zeros(n),
        upper=np.minimum(1.0, held + rng.uniform(0.0, 0.3, n)),
        cash_lower=0.0,
        cash_upper=0.0,
        groups=(),
        turnover=np.inf,
        trade=np.full(n, np.inf),
        volatility=np.inf,
    )


def _groups(rng: np.random.Generator, p: Program, count: int = 4) -> tuple[Group, ...]:
    """Disjoint groups, each within a few per cent of what is held in it."""
    of_group = rng.integers(0, count, len(p.assets))
    members = [np.flatnonzero(of_group == g) for g in range(count)]
    held = [float(p.current[m].sum()) for m in members]
    return tuple(
        Group(f"G{g}", tuple(m.tolist()), max(0.0, h - rng.uniform(0.0, 0.1)), h + rng.uniform(0.0, 0.1))
        for g, (m, h) in enumerate(zip(members, held, strict=True))
        if m.size
    )


def _box(rng: np.random.Generator, family: str) -> Case:
    return Case(family, _ordinary(rng))


def _grouped(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng)
    return Case(family, replace(p, groups=_groups(rng, p)))


def _turnover(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng)
    return Case(family, replace(p, groups=_groups(rng, p), turnover=float(rng.uniform(0.02, 0.5))))


def _costs(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng)
    rate = float(rng.uniform(0.001, 0.02))
    return Case(family, replace(p, linear_cost=np.full(len(p.assets), rate), turnover=0.3))


def _cash(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng)
    return Case(family, replace(p, cash_upper=float(rng.uniform(0.05, 0.5)), groups=_groups(rng, p)))


def _groups_contradict(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 20)
    halves = (tuple(range(10)), tuple(range(10, 20)))
    groups = tuple(Group(f"G{g}", m, 0.505 + 0.1 * rng.random()) for g, m in enumerate(halves))
    return Case(family, replace(p, groups=groups, upper=np.ones(20)), feasible=False)


def _boxes_too_small(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 20)
    upper = rng.dirichlet(np.ones(20)) * rng.uniform(0.8, 0.99)
    return Case(family, replace(p, upper=upper, current=upper / upper.sum()), feasible=False)


def _turnover_too_small(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 20)
    lightest = np.argsort(p.current)[:10]
    group = Group("G0", tuple(sorted(lightest.tolist())), float(p.current[lightest].sum()) + 0.1)
    short_of = 0.2 * rng.uniform(0.5, 0.95)  # 0.2: bought in the group and sold elsewhere
    return Case(family, replace(p, groups=(group,), upper=np.ones(20), turnover=short_of), feasible=False)


def _near_singular(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 30)
    factors = rng.normal(size=(30, 10)) * 0.1
    return Case(family, replace(p, factors=factors, idiosyncratic=np.full(30, 1e-13), groups=_groups(rng, p)))


def _scales(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 20)
    scale = np.geomspace(1e-3, 10.0, 20)[rng.permutation(20)]
    return Case(
        family,
        replace(
            p,
            factors=p.factors / 0.3 * scale[:, None],
            idiosyncratic=p.idiosyncratic / 0.09 * scale**2,
            mean=rng.uniform(-0.5, 1.0, 20) * scale,
            upper=np.full(20, 0.3),
        ),
    )


def _no_turnover_left(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 20)
    return Case(family, replace(p, turnover=0.0, groups=_groups(rng, p)))


def _sum_zero(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 20)
    wide = np.full(20, 0.1)
    return Case(
        family, replace(p, lower=-wide, upper=wide, current=np.zeros(20), cash_lower=1.0, cash_upper=1.0)
    )


def _one_asset(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 1)
    return Case(family, replace(p, upper=np.ones(1), current=np.ones(1)))


def _duplicates(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 24)
    twin = np.arange(24) // 3 * 3
    return Case(
        family,
        replace(
            p,
            factors=p.factors[twin],
            idiosyncratic=np.zeros(24),
            mean=p.mean[twin],
            upper=np.full(24, 0.2),
            current=np.full(24, 1 / 24),
        ),
    )


def _zero_variance(rng: np.random.Generator, family: str) -> Case:
    p = _ordinary(rng, 20)
    factors, own = p.factors.copy(), p.idiosyncratic.copy()
    still = rng.permutation(20)[:2]
    factors[still], own[still] = 0.0, 0.0
    return Case(family, replace(p, factors=factors, idiosyncratic=own, groups=_groups(rng, p)))


Make = Callable[[np.random.Generator, str], Case]
RANDOM: dict[str, Make] = {
    "box": _box,
    "groups": _grouped,
    "groups and turnover": _turnover,
    "costs and turnover": _costs,
    "cash and groups": _cash,
}
PATHOLOGICAL: dict[str, Make] = {
    "groups contradict": _groups_contradict,
    "boxes too small": _boxes_too_small,
    "turnover too small": _turnover_too_small,
    "near-singular": _near_singular,
    "huge spread of scales": _scales,
    "no turnover left": _no_turnover_left,
    "weights sum to zero": _sum_zero,
    "one asset": _one_asset,
    "duplicates": _duplicates,
    "zero variance": _zero_variance,
}
