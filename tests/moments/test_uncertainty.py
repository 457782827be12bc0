"""Shrunk means, the radius and the confidence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.moments import certainty, confidence, radius, shrunk_mean


def test_shrunk_mean_is_the_posterior_of_a_normal_mean():
    premium, sample, n0, n = 0.02, 0.10, 40.0, 10.0
    mean, evidence = shrunk_mean([premium] * 2, [sample, -sample], n, n0)
    # precision-weighted: prior variance s^2 / n0, sampling variance s^2 / n
    np.testing.assert_allclose(mean, [(n0 * premium + n * sample) / 50, (n0 * premium - n * sample) / 50])
    assert evidence.tolist() == [50.0, 50.0]


def test_without_a_sample_the_premium_stands_alone():
    mean, evidence = shrunk_mean([0.02, 0.03, 0.04], [math.nan, 1.0, 1.0], [9.0, 0.0, math.nan], 5.0)
    assert mean.tolist() == [0.02, 0.03, 0.04]
    assert evidence.tolist() == [5.0, 5.0, 5.0]


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_shrunk_mean_lies_between_premium_and_sample(premium, sample, n, n0):
    mean, evidence = shrunk_mean(premium, sample, n, n0)
    low, high = sorted((premium, sample))
    assert low - 1e-15 <= mean <= high + 1e-15
    assert evidence == n0 + n


@pytest.mark.parametrize(
    "arguments",
    [(0.0, 0.0, 1.0, 0.0), (0.0, 0.0, -1.0, 1.0), (math.nan, 0.0, 1.0, 1.0), (0.0, 0.0, math.inf, 1.0)],
)
def test_a_mean_that_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match=r"prior_strength|effective_sample_size|premium"):
        shrunk_mean(*arguments)


def test_radius_is_the_budget_times_the_mean_variance_over_the_evidence():
    assert radius(2.0, [0.01, 0.03], 10.0) == pytest.approx(0.004)
    assert radius(0.0, [0.01], 10.0) == 0.0


@given(st.floats(0, 10), st.floats(1, 1e6), st.floats(1, 10))
def test_radius_is_widest_after_a_switch_and_never_grows_with_evidence(budget, n, factor):
    assert radius(budget, [0.04], n * factor) <= radius(budget, [0.04], n)
    assert radius(budget, [0.04], 0.0) == radius(budget, [0.04], 1.0) == radius(budget, [0.04], math.nan)


@pytest.mark.parametrize(
    "arguments", [(-1.0, [1.0], 5.0), (math.nan, [1.0], 5.0), (1.0, [], 5.0), (1.0, [-1.0], 5.0)]
)
def test_a_radius_that_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match=r"budget|variances"):
        radius(*arguments)


def test_certainty_is_one_for_a_point_and_zero_for_a_uniform_posterior():
    assert certainty([1.0]) == 1.0
    assert certainty([0.0, 1.0, 0.0]) == 1.0
    assert certainty([0.25] * 4) == pytest.approx(0.0, abs=1e-15)
    assert certainty([0.5, 0.5, 0.0, 0.0]) == pytest.approx(0.5)
    assert certainty([2.0, 2.0, 0.0, 0.0]) == pytest.approx(0.5)


@pytest.mark.parametrize("probabilities", [[], [0.0], [-0.1, 1.1], [math.nan]])
def test_certainty_of_what_is_no_posterior_is_refused(probabilities):
    with pytest.raises(ValueError, match="probabilities"):
        certainty(probabilities)


@given(st.floats(), st.floats(), st.floats())
def test_confidence_is_in_the_unit_interval_and_the_product_of_its_factors(n, segment, data):
    value, factors = confidence(n, segment, data)
    assert list(factors) == ["evidence", "segment", "data"]
    assert all(0.0 <= factor <= 1.0 for factor in factors.values())
    assert value == math.prod(factors.values())


def test_confidence_has_closed_forms():
    assert confidence(20.0, 1.0, 1.0)[0] == pytest.approx(0.5)
    assert confidence(60.0, 0.5, 0.8)[0] == pytest.approx(0.75 * 0.5 * 0.8)
    assert confidence(5.0, 1.0, 1.0, half_evidence=5.0)[0] == pytest.approx(0.5)
    assert confidence(0.0, 1.0, 1.0)[0] == 0.0
    assert confidence(math.nan, math.nan, math.nan)[1] == {"evidence": 0.0, "segment": 0.0, "data": 0.0}
    with pytest.raises(ValueError, match="half_evidence"):
        confidence(1.0, 1.0, 1.0, half_evidence=0.0)
