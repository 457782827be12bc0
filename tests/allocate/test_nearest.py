"""The nearest weights inside every limit, against a cone solver's."""

from dataclasses import replace

import numpy as np
import pytest
from cone import solve_cone
from programmes import KINDS, programme

from stream_allocator.allocate import Infeasible, solve, violations
from stream_allocator.allocate.nearest import nearest


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_inside_every_limit_and_no_feasible_weights_are_nearer(kind):
    for seed in range(6):
        p = programme(kind, seed)
        n = len(p.assets)
        target = p.current + np.random.default_rng(seed).normal(size=n) * 0.2
        try:
            w = nearest(p, target)
        except Infeasible:
            with pytest.raises(Infeasible):
                solve(p)
            continue
        assert max(violations(p, w).values(), default=0.0) <= 1e-12
        nothing = np.zeros(n)
        # the same as a programme with unit variances, which leaves no room for the caps of p
        if np.isfinite(p.volatility) or np.isfinite(p.tracking):
            continue
        squares = replace(
            p, mean=target, factors=np.zeros((n, 0)), idiosyncratic=np.ones(n), risk_aversion=1.0, radius=0.0,
            mean_ambiguity=0.0, deviation_aversion=0.0, linear_cost=nothing, quadratic_cost=nothing,
        )  # fmt: skip
        _, oracle = solve_cone(squares)
        ours, theirs = np.sum((w - target) ** 2), np.sum((oracle - target) ** 2)
        assert ours <= theirs + 1e-8


def test_what_is_inside_already_stays():
    p = programme("plain", 1, volatility=np.inf, turnover=1.0, cash_upper=1.0)
    w = solve(p).weights
    assert np.abs(nearest(p, w) - w).max() <= 1e-14
