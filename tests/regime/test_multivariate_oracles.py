"""The posterior of a universe against enumeration, 40 digits and a twin by the textbook's formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_multivariate import NaiveMultivariate, enumerate_segmentations

from stream_allocator.regime.multivariate import MultivariateRunLength

SCALE = np.array([[1.5, 0.6], [0.6, 0.8]])


def run(filtered, rows):
    for row in rows:
        filtered.update(row)
    return filtered


def distance(probabilities, others):
    """Total variation."""
    return 0.5 * np.abs(probabilities - others).sum()


@pytest.mark.parametrize(
    ("T", "hazards", "prior"),
    [(9, [0.2], [1.0]), (11, [1 / 250], [1.0]), (9, [0.01, 0.1, 0.6], [1.0, 2.0, 0.5])],
)
@pytest.mark.parametrize(("kappa0", "degrees0"), [(0.5, 4.5), (1.0, 3.0)])
def test_posterior_and_evidence_are_those_of_all_segmentations(T, hazards, prior, kappa0, degrees0):
    values = np.random.default_rng(T).normal(size=(T, 2)) * 2.0 + 1.0
    values[T // 2 :] += [4.0, -3.0]
    location = np.array([0.5, -0.2])
    filtered = MultivariateRunLength(
        2,
        hazards=hazards,
        hazard_weights=prior,
        warmup=0,
        prior_strength=kappa0,
        prior_degrees=degrees0,
        location=location,
        scale=SCALE,
    )
    run(filtered, values)
    joint, evidence = enumerate_segmentations(
        values, hazards, prior, np.ones(T), location, SCALE, kappa0, degrees0
    )
    runs, probabilities = filtered.posterior()
    assert runs.tolist() == list(range(T + 1))
    np.testing.assert_allclose(probabilities[1:], joint @ (1.0 - np.array(hazards)), rtol=0, atol=1e-13)
    assert probabilities[0] == pytest.approx((joint @ hazards).sum(), abs=1e-13)
    np.testing.assert_allclose(filtered.hazard_posterior()[1], joint.sum(axis=0), rtol=0, atol=1e-13)
    assert filtered.expected_hazard() == pytest.approx((joint @ hazards).sum(), abs=1e-13)
    assert filtered.log_evidence() == pytest.approx(evidence, abs=1e-12)


def test_given_the_shared_weights_the_posterior_is_that_of_all_segmentations():
    T, hazards = 10, [0.05, 0.3]
    values = np.random.default_rng(1).standard_t(2, size=(T, 2)) * 2.0
    values[5:] += 3.0
    location = np.zeros(2)
    filtered = MultivariateRunLength(2, hazards=hazards, warmup=0, outlier_df=4.0, scale=SCALE)
    # the weight of an observation is what the mass of a run that goes on with certainty has grown by
    weights = []
    for x in values:
        naive = run(NaiveMultivariate(location, SCALE, hazards, outlier_df=4.0), values[: len(weights)])
        naive.update(x)
        weights.append(float(naive.runs[1][1] - 1))
        filtered.update(x)
    assert min(weights) < 0.5 < 1.0 < max(weights)
    joint, evidence = enumerate_segmentations(values, hazards, [1, 1], weights, location, SCALE, 1.0, 3.0)
    np.testing.assert_allclose(
        filtered.posterior()[1][1:], joint @ (1.0 - np.array(hazards)), rtol=0, atol=1e-13
    )
    np.testing.assert_allclose(filtered.hazard_posterior()[1], joint.sum(axis=0), rtol=0, atol=1e-13)
    assert filtered.log_evidence() == pytest.approx(evidence, abs=1e-12)


def steps(kind):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 2))
    x[30:] = 2.5 + 0.5 * x[30:]
    x[45:, 1] = 0.9 * x[45:, 0] + 0.3 * x[45:, 1]
    far = np.array([1e6, 7e5])
    return {
        "plain": (x, np.zeros(2), SCALE),
        "far from zero": (x + far, far, SCALE),
        "far from the prior": (x + far, np.zeros(2), SCALE),
        "a far level": (x + far * (np.arange(60) >= 20)[:, None], np.zeros(2), SCALE),
        "there and back": (x + far * (np.arange(60) // 20 == 1)[:, None], np.zeros(2), SCALE),
        "tiny": (x * 1e-150, np.zeros(2), SCALE * 1e-300),
        "huge": (x * 1e150, np.zeros(2), SCALE * 1e300),
        "constant": (np.full((60, 2), 0.25), np.zeros(2), SCALE),
        "ties": (np.round(x), np.zeros(2), SCALE),
    }[kind]


@pytest.mark.parametrize("outlier_df", [math.inf, 8.0])
@pytest.mark.parametrize(
    "kind",
    [
        "plain",
        "far from zero",
        "far from the prior",
        "a far level",
        "there and back",
        "tiny",
        "huge",
        "constant",
        "ties",
    ],
)
def test_posterior_agrees_with_forty_digits(kind, outlier_df):
    values, location, scale = steps(kind)
    hazards = [0.01, 0.1]
    filtered = MultivariateRunLength(
        2, hazards=hazards, warmup=0, location=location, scale=scale, outlier_df=outlier_df
    )
    naive = NaiveMultivariate(location, scale, hazards, outlier_df=outlier_df, digits=60)
    worst = 0.0
    for t, x in enumerate(values):
        filtered.update(x)
        naive.update(x)
        if t % 5 == 4 or t in (20, 21, 22, 30, 40, 41, 42):
            worst = max(worst, distance(filtered.posterior()[1], naive.probabilities))
    # A level left again with soft weights: the runs across it are neither negligible nor well conditioned.
    allowed = 1e-9 if (kind, outlier_df) == ("there and back", 8.0) else 1e-12
    assert worst < allowed
    assert distance(filtered.hazard_posterior()[1], naive.hazard_probabilities) < allowed
    assert filtered.log_evidence() == pytest.approx(float(naive.log_evidence), rel=1e-12, abs=1e-9)
    mean, covariance = naive.moments()
    np.testing.assert_allclose(filtered.segment_mean(), mean, rtol=1e-9)
    np.testing.assert_allclose(filtered.segment_covariance(), covariance, rtol=1e-9)


@pytest.mark.parametrize(("d", "max_run", "outlier_df"), [(1, 5, 8.0), (2, 12, math.inf), (3, 9, 8.0)])
def test_step_agrees_with_its_naive_twin(d, max_run, outlier_df):
    values = np.random.default_rng(max_run).standard_t(4, size=(80, d))
    values[30:] *= 3.0
    values[50:] += 2.0
    values[5, 0], values[31, d - 1], values[32] = np.nan, np.inf, -np.inf
    hazards, prior = [0.004, 0.05, 0.2], [1.0, 2.0, 1.0]
    location, scale = np.full(d, 0.3), np.eye(d) + 0.2
    filtered = MultivariateRunLength(
        d,
        hazards=hazards,
        hazard_weights=prior,
        max_run=max_run,
        warmup=0,
        outlier_df=outlier_df,
        prior_strength=0.3,
        prior_degrees=d + 2.5,
        location=location,
        scale=scale,
    )
    naive = NaiveMultivariate(location, scale, hazards, prior, max_run, 0.3, d + 2.5, outlier_df, digits=30)
    for x in values:
        filtered.update(x)
        naive.update(x)
        np.testing.assert_allclose(filtered.posterior()[1], naive.probabilities, rtol=1e-10, atol=1e-14)
    assert filtered.observations() == 77
    np.testing.assert_allclose(filtered.hazard_posterior()[1], naive.hazard_probabilities, rtol=1e-10)
    mean, covariance = naive.moments()
    np.testing.assert_allclose(filtered.segment_mean(), mean, rtol=1e-10)
    np.testing.assert_allclose(filtered.segment_covariance(), covariance, rtol=1e-10)
    p = naive.probabilities[1:]
    lengths = np.arange(1, len(p) + 1)
    assert filtered.expected_run_length() == pytest.approx(p @ lengths, rel=1e-10)
    assert filtered.map_run_length() == lengths[::-1][np.argmax(p[::-1])]
    assert filtered.probability_at_most(3) == pytest.approx(naive.probabilities[:4].sum(), rel=1e-10)
    omega = np.array([sum(p[r - 1] / r for r in lengths if r > a) for a in range(len(p))])
    omega /= omega.sum()
    np.testing.assert_allclose(filtered.survivor_weights(len(p)), omega, rtol=1e-10)
    assert filtered.survivor_weights(len(p) + 5)[len(p) :].tolist() == [0.0] * 5
    assert filtered.effective_sample_size() == pytest.approx(1.0 / (omega @ omega), rel=1e-10)


anything = st.one_of(
    st.floats(-10, 10),
    st.sampled_from([0.0, 1.0, -1.0, 1e6, 1e300, -1e300, 5e-324, math.nan, math.inf]),
)


@settings(max_examples=30)
@given(
    data=st.data(),
    d=st.integers(1, 3),
    hazards=st.lists(st.floats(1e-4, 0.9), min_size=1, max_size=3),
    max_run=st.integers(2, 8),
    outlier_df=st.sampled_from([math.inf, 8.0]),
)
def test_step_agrees_with_its_naive_twin_on_anything(data, d, hazards, max_run, outlier_df):
    values = data.draw(st.lists(st.lists(anything, min_size=d, max_size=d), max_size=14))
    filtered = MultivariateRunLength(d, hazards=hazards, max_run=max_run, warmup=0, outlier_df=outlier_df)
    naive = NaiveMultivariate(
        np.zeros(d), np.eye(d), hazards, max_run=max_run, outlier_df=outlier_df, digits=250
    )
    farthest = 1e60 ** (1.0 / d)
    for x in values:
        filtered.update(x)
        naive.update(np.where(np.isfinite(x), np.clip(x, -farthest, farthest), x))
    np.testing.assert_allclose(filtered.posterior()[1], naive.probabilities, rtol=1e-6, atol=1e-8)
