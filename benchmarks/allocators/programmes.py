"""Programmes to solve: inputs that drift from bar to bar, and random ones of every kind."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from stream_allocator.allocate import Group, Program
from stream_allocator.allocate.dual import NewtonSolver
from stream_allocator.allocate.dual.solver import minimum_variance
from stream_allocator.allocate.robust import tracking_error, volatility

__all__ = ["KINDS", "drifting", "random_programme"]

FACTORS, GROUPS = 20, 11
# Bars that pass first: from equal weights to near the optimum turnover lets one go only step by step.
SETTLING = 10
#: What is solved bar after bar, and in which words it is shown.
KINDS = {
    "plain": "box, cash, groups, turnover, liquidity, gross, volatility cap",
    "robust": "the same, with the root terms of covariance and mean",
    "capped": "the same as plain, the volatility cap binding",
    "overlapping": "plain, with as many groups again that overlap the first ones",
    "long-short": "plain, shorts to 4% an asset, net 60-100%, gross 150%, groups long and gross",
    "benchmark": "plain, within 3% of a benchmark's weights and 2% tracking error",
    "dense": "plain, a sample covariance without factors",
}


def drifting(kind: str, n: int, bars: int, seed: int) -> list[Program]:
    """Consecutive decisions of one portfolio.

    Factor-structured covariance (20 factors, the first a market), 11 groups.  On every bar loadings change by
    1%, own variances by 2%, means by 0.3% a year; the portfolio held is the last optimum after a day's
    returns of 2%, so it is near the next optimum and seldom inside every limit.

    Parameters
    ----------
    kind : str
        One of ``KINDS``.
    n : int
        Assets.
    bars : int
        Programmes.
    seed : int

    Returns
    -------
    list of Program
        All share the tuple of groups, as the engine's do.
    """
    rng = np.random.default_rng([seed, n, list(KINDS).index(kind)])
    mean, factors, own = _market(rng, n)
    program = _limits(kind, rng, Program(**_fields(rng, n, mean, factors, own)))
    samples = _Samples(rng, program) if kind == "dense" else None
    solver, found = NewtonSolver(), []
    for _ in range(SETTLING + bars):
        if samples is not None:
            moved_factors, moved_own = samples.step()
        else:
            moved_factors = factors * (1.0 + 0.01 * rng.normal(size=factors.shape))
            moved_own = own * np.exp(0.02 * rng.normal(size=n))
        program = replace(
            program,
            factors=moved_factors,
            idiosyncratic=moved_own,
            mean=mean + 0.003 * rng.normal(size=n),
        )
        found.append(program)
        weights = solver.solve(program).weights
        values = weights * np.exp(0.02 * rng.normal(size=n))
        program = replace(program, current=values / (1.0 + float((values - weights).sum())))
    return found[SETTLING:]


def _market(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, loadings and own variances: a market of 16%, 19 styles of 3-10%, own volatilities of 12-40%."""
    exposure = rng.normal(0.0, 0.3, (n, FACTORS))
    exposure[:, 0] = rng.normal(1.0, 0.25, n)
    deviation = np.concatenate([[0.16], rng.uniform(0.03, 0.10, FACTORS - 1)])
    premium = np.concatenate([[0.06], rng.normal(0.0, 0.02, FACTORS - 1)])
    mean = exposure @ premium + rng.normal(0.0, 0.03, n)
    return mean, exposure * deviation, rng.uniform(0.12, 0.40, n) ** 2


def _fields(
    rng: np.random.Generator, n: int, mean: np.ndarray, factors: np.ndarray, own: np.ndarray
) -> dict[str, Any]:
    """The fields of the plain programme."""
    of_group = rng.permutation(np.arange(n) % GROUPS)
    return {
        "assets": tuple(f"A{i}" for i in range(n)),
        "mean": mean,
        "factors": factors,
        "idiosyncratic": own,
        "current": np.full(n, 0.95 / n),
        "risk_aversion": 5.0,
        "radius": 0.0,
        "mean_ambiguity": 0.0,
        "mean_evidence": 5.0,
        "linear_cost": np.full(n, 0.001),
        "quadratic_cost": np.zeros(n),
        "lower": np.zeros(n),
        "upper": np.full(n, max(0.10, 3.0 / n)),
        "cash_lower": 0.0,
        "cash_upper": 0.10,
        "groups": tuple(
            Group(f"G{g}", tuple(np.flatnonzero(of_group == g).tolist()), 0.03, 0.15) for g in range(GROUPS)
        ),
        "turnover": 0.10,
        "trade": np.full(n, 0.05),
        "volatility": 0.30,
        "gross": 1.0,
        "holding": np.full(n, 0.09),
    }


def _limits(kind: str, rng: np.random.Generator, p: Program) -> Program:
    """The programme of a kind, from the plain one."""
    n = len(p.assets)
    match kind:
        case "robust":
            return replace(p, radius=5e-4, mean_ambiguity=0.5)
        case "capped":
            calm = NewtonSolver().solve(replace(minimum_variance(p), turnover=math.inf))
            cap = 1.1 * volatility(p, calm.weights)
            return replace(p, volatility=cap, risk_aversion=1.0, current=calm.weights)
        case "overlapping":
            members = (tuple(np.flatnonzero(rng.random(n) < 0.3).tolist()) for _ in range(GROUPS))
            more = tuple(
                Group(f"H{g}", m, 0.9 * len(m) / n - 0.05, 0.95 * len(m) / n + 0.05)
                for g, m in enumerate(members)
            )
            return replace(p, groups=p.groups + more)
        case "long-short":
            groups = tuple(Group(g.name, g.members, -0.05, 0.15, 0.2, 0.22) for g in p.groups)
            return replace(p, lower=np.full(n, -0.04), groups=groups, gross=1.5, cash_upper=0.4)
        case "benchmark":
            benchmark = np.full(n, 0.97 / n)
            return replace(p, benchmark=benchmark, active=np.full(n, 0.03), tracking=0.02, current=benchmark)
    return p


class _Samples:
    """A sample covariance of full rank, one more sample on every bar."""

    def __init__(self, rng: np.random.Generator, p: Program) -> None:
        self._rng = rng
        sigma = p.factors @ p.factors.T + np.diag(p.idiosyncratic)
        self._root = np.linalg.cholesky(sigma)
        n = len(sigma)
        first = rng.normal(size=(3 * n, n)) @ self._root.T
        self._covariance = first.T @ first / len(first)

    def step(self) -> tuple[np.ndarray, np.ndarray]:
        """Factors and own variances of the new covariance: its least eigenvalue is every asset's own."""
        sample = self._root @ self._rng.normal(size=len(self._root))
        self._covariance = 0.997 * self._covariance + 0.003 * np.outer(sample, sample)
        values, vectors = np.linalg.eigh(self._covariance)
        return vectors[:, 1:] * np.sqrt(values[1:] - values[0]), np.full(len(values), values[0])


def random_programme(seed: int) -> Program:
    """A programme with random limits and terms, all of which a random portfolio can meet.

    Each limit and each term of the objective is there or not by the toss of a coin, tight or loose around a
    portfolio that is drawn first; 2 to 60 assets, a third of the programmes with shorts.
    """
    rng = np.random.default_rng([seed, 7])
    n = int(rng.integers(2, 61))
    k = int(rng.integers(0, min(n, 8) + 1))
    short = rng.random() < 1 / 3
    deviation = rng.uniform(0.1, 0.5, n)
    factors = rng.normal(size=(n, k)) * 0.3 * deviation[:, None]
    own = deviation**2 * rng.choice([0.1, 1.0], n)
    held = rng.dirichlet(np.ones(n)) * rng.uniform(0.5, 1.0)
    if short:
        held = held - rng.dirichlet(np.ones(n)) * rng.uniform(0.1, 0.5)
    possible = held + 0.1 * (rng.dirichlet(np.ones(n)) - rng.dirichlet(np.ones(n)))
    if not short:
        possible = np.maximum(possible, 0.0) / max(1.0, float(np.maximum(possible, 0.0).sum()))
    trade = np.abs(possible - held)

    def room(scale: float = 0.05) -> float:
        return float(scale * rng.choice([0.01, 1.0, 5.0]))

    def maybe(value: float, probability: float = 0.5) -> float:
        return float(value) if rng.random() < probability else math.inf

    cash = 1.0 - float(possible.sum())
    groups = []
    for g in range(int(rng.integers(0, 5))):
        members = np.flatnonzero(rng.random(n) < 0.5)
        if members.size:
            inside = possible[members]
            net, long, gross = inside.sum(), np.maximum(inside, 0.0).sum(), np.abs(inside).sum()
            low, high = -maybe(room() - net), maybe(net + room())
            groups.append(
                Group(
                    f"G{g}", tuple(members.tolist()), low, high, maybe(long + room()), maybe(gross + room())
                )
            )
    alpha = float(rng.choice([0.0, 0.0, 0.3]))
    benchmark = rng.dirichlet(np.ones(n)) if rng.random() < 0.3 else np.zeros(n)
    free = Program(
        assets=tuple(f"A{i}" for i in range(n)),
        mean=rng.normal(size=n) * 0.05 + 0.05,
        factors=factors,
        idiosyncratic=own,
        current=held,
        risk_aversion=float(np.exp(rng.uniform(0.0, 3.0))),
        radius=float(rng.choice([0.0, 1e-4, 1e-3])),
        mean_ambiguity=float(rng.choice([0.0, 0.5])) if alpha == 0.0 else 0.0,
        mean_evidence=float(rng.uniform(1.0, 20.0)),
        linear_cost=rng.uniform(0.0, 0.01, n) * rng.integers(0, 2),
        quadratic_cost=rng.uniform(0.0, 0.1, n) * rng.integers(0, 2),
        lower=np.minimum(possible, 0.0) - (room() if short else 0.0),
        upper=possible + rng.choice([0.0, 0.05, 0.3], n),
        cash_lower=cash - room(),
        cash_upper=cash + room(),
        groups=tuple(groups),
        turnover=maybe(trade.sum() + room(0.1), 0.7),
        trade=np.where(rng.random(n) < 0.5, trade + rng.choice([0.0, 0.02, 0.2], n), np.inf),
        volatility=math.inf,
        gross=maybe(np.abs(possible).sum() + room(), 0.4),
        holding=np.where(rng.random(n) < 0.3, np.abs(possible) + 0.05, np.inf),
        benchmark=benchmark,
        active=np.where(rng.random(n) < 0.3, np.abs(possible - benchmark) + 0.05, np.inf),
        deviation_aversion=alpha,
    )
    return replace(
        free,
        volatility=maybe(volatility(free, possible) * rng.choice([1.001, 1.05, 1.3]), 0.4),
        tracking=maybe(tracking_error(free, possible) * rng.choice([1.01, 1.3]), 0.4)
        if benchmark.any()
        else math.inf,
    )
