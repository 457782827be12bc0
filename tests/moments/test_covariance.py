"""The long-run covariance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from naive_moments import naive_long_run, smallest_eigenvalue

from stream_allocator.moments import LongRunCovariance

RETURN = st.one_of(
    st.floats(-0.2, 0.2),
    st.sampled_from([0.0, 0.01, -0.01, 1e-300, 1e20, -1e200, math.nan, math.inf, -math.inf]),
)


@st.composite
def returns(draw):
    n = draw(st.integers(1, 5))
    rows = draw(arrays(float, (draw(st.integers(0, 25)), n), elements=RETURN))
    if n > 1 and draw(st.booleans()):
        rows[:, 1] = rows[:, 0]  # a duplicate
    if draw(st.booleans()):
        rows[:, -1] = draw(st.sampled_from([0.0, 0.01, math.nan]))  # a constant, or never seen
    if len(rows) and draw(st.booleans()):
        rows[draw(st.integers(0, len(rows) - 1))] = math.nan  # a bar without any return
    return rows


def fed(rows, **parameters):
    estimate = LongRunCovariance(rows.shape[1], **parameters)
    for row in rows:
        estimate.update(row)
    return estimate


def market(T=600, n=6, seed=0):
    rng = np.random.default_rng(seed)
    return 0.01 * (rng.normal(size=(T, 1)) + rng.normal(size=(T, n))) * np.linspace(0.5, 2.0, n)


@given(returns(), st.sampled_from([0.0, 0.1, 1.0]))
def test_matrix_is_symmetric_finite_and_semi_definite_whatever_the_returns(rows, shrinkage):
    matrix = fed(rows, shrinkage=shrinkage).matrix()
    assert np.isfinite(matrix).all()
    assert np.array_equal(matrix, matrix.T)
    assert (np.diag(matrix) >= 0.0).all()
    scale = np.sqrt(np.diag(matrix))
    scale[scale == 0.0] = 1.0
    assert smallest_eigenvalue(matrix / np.outer(scale, scale)) >= -1e-12


@pytest.mark.parametrize("variance", [None, 4e-4])
@pytest.mark.parametrize("n", [1, 3])
def test_estimate_is_that_of_the_definition(n, variance):
    rows = market(40, n)
    rows[17] *= 40.0  # winsorised
    found = fed(
        rows, volatility_half_life=7.0, correlation_half_life=12.0, shrinkage=0.2, prior_variance=variance
    ).matrix()
    np.testing.assert_allclose(found, naive_long_run(rows, 7.0, 12.0, 0.2, variance=variance), rtol=1e-11)


def test_covariance_of_stationary_returns_is_found():
    rows = market(6000, 4)
    found = fed(rows, volatility_half_life=1500, correlation_half_life=1500, shrinkage=0.0).matrix()
    np.testing.assert_allclose(found, np.cov(rows, rowvar=False), rtol=0.1)


@given(st.sampled_from([1e-6, 0.25, 100.0]))
def test_a_change_of_unit_scales_the_matrix_by_its_square(unit):
    rows = market(50)
    np.testing.assert_allclose(fed(unit * rows).matrix(), unit**2 * fed(rows).matrix(), rtol=1e-10)


def test_order_of_the_assets_does_not_matter():
    rows = market(80, 4)
    rows[::5, 2] = np.nan
    order = np.array([2, 0, 3, 1])
    shuffled = fed(rows[:, order]).matrix()
    np.testing.assert_allclose(shuffled, fed(rows).matrix()[np.ix_(order, order)], rtol=1e-10)


def test_a_bar_without_any_return_changes_nothing():
    rows = market(50)
    estimate = fed(rows)
    before = estimate.matrix()
    estimate.update(np.full(6, np.nan))
    assert estimate.matrix().tobytes() == before.tobytes()
    assert estimate.bars == 50


def test_before_the_first_return_there_is_no_covariance_but_the_prior():
    assert not LongRunCovariance(3).matrix().any()
    np.testing.assert_allclose(LongRunCovariance(3, prior_variance=4e-4).matrix(), 4e-4 * np.eye(3))


def test_a_zero_bar_at_the_start_carries_no_scale():
    estimate = LongRunCovariance(2)
    estimate.update([0.0, 0.0])
    assert estimate.bars == 0
    estimate.update([0.01, 0.02])
    np.testing.assert_allclose(estimate.volatility(), fed(np.array([[0.01, 0.02]])).volatility())


def test_an_asset_that_was_never_seen_is_as_volatile_as_the_first_bar():
    rows = market(100, 3)
    rows[:, 2] = np.nan
    volatility = fed(rows).volatility()
    assert volatility[2] == pytest.approx(math.sqrt(np.mean(rows[0, :2] ** 2)))


def test_missing_returns_do_not_bias_variance_or_correlation_down():
    rows = market(4000, 3, seed=2)
    slow = {"volatility_half_life": 1000, "correlation_half_life": 1000, "shrinkage": 0.0}
    full = fed(rows, **slow)
    holes = rows.copy()
    holes[np.random.default_rng(3).random(rows.shape) < 0.4] = np.nan
    sparse = fed(holes, **slow)
    np.testing.assert_allclose(sparse.volatility(), full.volatility(), rtol=0.06)
    np.testing.assert_allclose(sparse.correlation(), full.correlation(), atol=0.06)


def test_an_asset_that_falls_silent_keeps_its_volatility_and_its_correlations():
    rows = market(900, 4, seed=4)
    estimate = fed(rows[:600])
    volatility, correlation = estimate.volatility()[3], estimate.correlation()[3, :3]
    for row in rows[600:]:
        estimate.update([*row[:3], np.nan])
    assert estimate.volatility()[3] == volatility
    np.testing.assert_allclose(estimate.correlation()[3, :3], correlation, atol=0.2)


def test_missing_pair_takes_its_conditional_expectation_and_covariance():
    estimate = LongRunCovariance(2, prior_variance=1.0, shrinkage=0.0, prior_observations=2.0)
    for _ in range(30):
        estimate.update([1.0, 1.0])
        estimate.update([1.0, -0.2])
    rho = estimate.correlation()[0, 1]
    state = estimate.state()
    before, decay = state["products"], 0.5 ** (1 / 125)
    z = 0.7 / estimate.volatility()[0]
    estimate.update([0.7, np.nan])
    after = estimate.state()["products"]
    expected = decay * before + np.array([[z * z, rho * z * z], [rho * z * z, (rho * z) ** 2 + 1 - rho**2]])
    np.testing.assert_allclose(after, expected, rtol=1e-7)


@settings(max_examples=25)
@given(returns(), st.integers(0, 25))
def test_a_restored_estimate_goes_on_with_the_same_bits(rows, cut):
    estimate = fed(rows[:cut], volatility_half_life=9.0, correlation_half_life=11.0)
    restored = LongRunCovariance.from_state(estimate.state())
    for row in rows[cut:]:
        estimate.update(row)
        restored.update(row)
    assert estimate.matrix().tobytes() == restored.matrix().tobytes()
    for name, array in estimate.state().items():
        assert array.tobytes() == restored.state()[name].tobytes()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n": 0}, "n must"),
        ({"volatility_half_life": 0.0}, "volatility_half_life"),
        ({"correlation_half_life": math.nan}, "correlation_half_life"),
        ({"shrinkage": 1.1}, "shrinkage"),
        ({"prior_variance": 0.0}, "prior_variance"),
        ({"prior_observations": math.inf}, "prior_observations"),
    ],
)
def test_what_is_out_of_range_is_named(change, word):
    parameters = {"n": 2} | change
    with pytest.raises(ValueError, match=word):
        LongRunCovariance(**parameters)


def test_a_bar_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="shape"):
        LongRunCovariance(2).update([0.1])
