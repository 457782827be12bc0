"""The static risk-budget portfolios."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import (
    covariance,
    equal_risk_contribution,
    inverse_volatility,
    static_weights,
    violations,
    volatility,
)

SOFT = ("lower", "upper", "cash", "group")


def random_covariance(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 15))
    f = rng.normal(size=(n, max(1, n // 2))) * rng.uniform(0.01, 0.5)
    return f @ f.T + np.diag(rng.uniform(1e-6, 0.1, n))


@given(st.integers(0, 500))
def test_every_asset_contributes_the_same_risk(seed):
    sigma = random_covariance(seed)
    w = equal_risk_contribution(sigma)
    contribution = w * (sigma @ w)
    assert w.sum() == pytest.approx(1.0, abs=1e-14)
    assert (w > 0.0).all()
    np.testing.assert_allclose(contribution, contribution.mean(), rtol=1e-9)


def test_two_assets_contribute_alike_whatever_their_correlation():
    for correlation in (-0.9, 0.0, 0.5, 0.999):
        sigma = np.array([[0.04, correlation * 0.06], [correlation * 0.06, 0.09]])
        np.testing.assert_allclose(equal_risk_contribution(sigma), [0.6, 0.4], rtol=1e-12)
        np.testing.assert_allclose(inverse_volatility(sigma), [0.6, 0.4], rtol=1e-14)


def test_without_correlation_equal_risk_is_inverse_volatility():
    sigma = np.diag([0.01, 0.04, 0.09, 0.16])
    np.testing.assert_allclose(equal_risk_contribution(sigma), inverse_volatility(sigma), rtol=1e-12)


def test_equal_risk_is_the_minimum_that_its_definition_names():
    # x minimises 1/2 x'Sigma x - sum log x; any other positive vector has a larger value
    sigma = random_covariance(7)
    w = equal_risk_contribution(sigma)
    scale = np.sqrt(len(w) / (w @ sigma @ w))
    x = scale * w

    def value(v):
        return 0.5 * v @ sigma @ v - np.log(v).sum()

    rng = np.random.default_rng(0)
    for _ in range(50):
        assert value(x * np.exp(0.1 * rng.normal(size=len(x)))) >= value(x) - 1e-12


def test_an_asset_without_variance_does_not_take_all():
    for weights in (inverse_volatility, equal_risk_contribution):
        w = weights(np.diag([0.0, 0.04, 0.04]))
        assert np.isfinite(w).all()
        assert w[1] == pytest.approx(w[2])
        assert w[0] > w[1]
        np.testing.assert_allclose(weights(np.zeros((2, 2))), [0.5, 0.5])


@given(
    st.sampled_from(KINDS),
    st.integers(0, 100),
    st.sampled_from(["inverse_volatility", "equal_risk_contribution"]),
)
def test_static_weights_stand_within_box_cash_and_groups_where_that_is_possible(kind, seed, static):
    p = programme(kind, seed)
    w = static_weights(p, static)
    assert (w >= p.lower).all()
    assert (w <= p.upper).all()
    room = p.lower.sum() <= 1.0 - p.cash_lower and p.upper.sum() >= 1.0 - p.cash_upper
    if room and not p.groups:
        found = violations(p, w)
        assert max((x for name, x in found.items() if name.startswith(SOFT)), default=0.0) <= 1e-12


def test_static_weights_are_scaled_down_to_the_volatility_cap_as_far_as_cash_allows():
    p = programme("cash", 2, n=8, volatility=0.05, upper=np.ones(8))
    w = static_weights(p, "inverse_volatility")
    assert volatility(p, w) == pytest.approx(0.05, rel=1e-9)
    np.testing.assert_allclose(w / w.sum(), inverse_volatility(covariance(p)), rtol=1e-12)
    invested = programme("cash", 2, n=8, volatility=0.05, upper=np.ones(8), cash_upper=0.2)
    assert static_weights(invested, "inverse_volatility").sum() == pytest.approx(0.8, rel=1e-12)


def test_static_weights_do_not_look_at_the_mean_or_at_what_is_held():
    p = programme("plain", 4)
    q = programme("plain", 4, mean=-p.mean, current=p.current[::-1].copy())
    assert (
        static_weights(p, "inverse_volatility").tobytes() == static_weights(q, "inverse_volatility").tobytes()
    )


def test_caps_are_filled_and_the_rest_shared_in_proportion():
    p = programme("fully_invested", 0, n=4, factors=np.zeros((4, 0)), idiosyncratic=np.full(4, 0.04),
                  upper=np.array([0.1, 1.0, 1.0, 1.0]), volatility=np.inf)  # fmt: skip
    np.testing.assert_allclose(static_weights(p, "inverse_volatility"), [0.1, 0.3, 0.3, 0.3], rtol=1e-12)
