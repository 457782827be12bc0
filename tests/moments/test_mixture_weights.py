"""The weights of the experts: derivatives, an independent solver, the bound on what is left to gain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from stream_allocator.moments.weights import (
    CombinationWeights,
    maximise,
    non_negative_maximum,
    penalise,
    penalised,
)
from stream_allocator.moments.weights import derivatives as weight_derivatives


def problem(seed, bars=40, K=4, n=6, spread=0.4):
    """Random diagonals with an absent asset, decayed weights, and squares that suit them."""
    rng = np.random.default_rng(seed)
    diagonals = np.exp(spread * rng.normal(size=(K, bars, n)) + 5.0 * rng.normal(size=(bars, n)))
    diagonals[:, : bars // 2, -1] = 0.0
    weights = 0.5 ** (np.arange(bars) / 30.0)
    y = rng.normal(size=(K, n * bars)) * np.exp(spread * rng.normal(size=(K, 1))) + rng.normal(size=n * bars)
    gram = y @ y.T * weights.sum() / bars
    return diagonals, weights, gram, 0.2 * n, 1.0 * n


def value(p, diagonals, weights, gram, to_equal, to_one):
    total = np.einsum("k,kui->ui", p, diagonals)
    logs = (weights[:, None] * np.log(np.where(total > 0.0, total, 1.0))).sum()
    pull = to_equal * ((p - 1.0 / len(p)) ** 2).sum() + to_one * (p.sum() - 1.0) ** 2
    return logs - 0.5 * p @ gram @ p - 0.5 * pull


def derivatives(p, parts):
    K = len(p)
    work = np.empty((2 + 2 * K + K * (K + 1) // 2, 16))  # several blocks
    gradient, curvature = np.empty(K), np.empty((K, K))
    diagonals, weights, *pulls = parts
    weight_derivatives(diagonals, weights, p, work, gradient, curvature)
    penalise(*pulls, p, gradient, curvature)
    return penalised(*parts, p, work), gradient, curvature


@pytest.mark.parametrize("seed", range(3))
def test_objective_and_its_derivatives_are_those_of_the_definition(seed):
    parts = problem(seed)
    p = np.random.default_rng(seed).uniform(0.1, 1.0, 4)
    found, gradient, curvature = derivatives(p, parts)
    assert found == pytest.approx(value(p, *parts), rel=1e-12)
    for k, step in enumerate(1e-5 * np.eye(4)):
        slope = (value(p + step, *parts) - value(p - step, *parts)) / 2e-5
        assert gradient[k] == pytest.approx(slope, rel=1e-6, abs=1e-4)
        bend = (derivatives(p - step, parts)[1] - derivatives(p + step, parts)[1]) / 2e-5
        np.testing.assert_allclose(curvature[k], bend, rtol=1e-6, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.4, 2.0]), st.integers(1, 5))
def test_weights_maximise_and_an_independent_solver_finds_no_better(seed, spread, K):
    parts = problem(seed, K=K, spread=spread)
    start = np.full(K, 1.0 / K)
    p = maximise(*parts, start)
    assert (p >= 0.0).all()
    reached = value(p, *parts)
    assert reached >= value(start, *parts) - 1e-9
    other = minimize(
        lambda q: -value(q, *parts), start, bounds=[(1e-9, None)] * K, method="SLSQP", options={"ftol": 1e-14}
    )
    assert reached >= -other.fun - 1e-5
    # the conditions of Karush, Kuhn and Tucker
    _, gradient, curvature = derivatives(p, parts)
    scale = np.sqrt(np.diag(curvature))
    inside = p > 0.0
    assert np.abs(gradient[inside] / scale[inside]).max() < 1e-2
    assert (gradient[~inside] / scale[~inside] < 1e-2).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_weights_do_not_depend_on_where_the_search_starts(seed):
    parts = problem(seed)
    rng = np.random.default_rng(seed)
    near = maximise(*parts, np.full(4, 0.25))
    far = maximise(*parts, rng.uniform(0.0, 5.0, 4))
    np.testing.assert_allclose(near, far, atol=1e-3)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_non_negative_maximum_is_that_of_least_squares(seed, K):
    rng = np.random.default_rng(seed)
    design, target = rng.normal(size=(K + 2, K)), rng.normal(size=K + 2)
    expected, _ = nnls(design, target)
    found = non_negative_maximum(design.T @ design, design.T @ target)
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_an_expert_that_is_right_beats_one_whose_volatility_is_half_the_truth():
    rng = np.random.default_rng(5)
    weights = CombinationWeights(2, 8)
    for _ in range(200):
        x = rng.normal(size=8)
        y = np.stack([x, 2.0 * x])
        weights.update(np.stack([np.ones(8), np.full(8, 2.0)]), y @ y.T, 8)
    assert weights.p @ [1.0, 2.0] == pytest.approx(1.0, abs=0.1)


def test_an_absent_asset_has_no_say():
    rng = np.random.default_rng(6)
    few, more = CombinationWeights(3, 4), CombinationWeights(3, 6)
    for _ in range(50):
        y, d = rng.normal(size=(3, 4)), np.exp(rng.normal(size=(3, 4)))
        few.update(d, y @ y.T, 4)
        more.update(np.hstack([d[:, :2], np.zeros((3, 2)), d[:, 2:]]), y @ y.T, 4)
        np.testing.assert_allclose(few.p, more.p, atol=1e-6)
