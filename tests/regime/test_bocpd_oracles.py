"""The kernel against enumeration, 40 digits and a plain Python twin."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_run_length import (
    NaiveRunLength,
    enumerate_segmentations,
    extended_precision,
    forty_digits,
)

from stream_allocator.regime import RunLengthPanel


def filtered(values, **settings_):
    panel = RunLengthPanel(1, **settings_)
    for x in values:
        panel.update([x])
    return panel


@pytest.mark.parametrize(
    ("T", "hazard", "kappa0", "alpha0"), [(9, 0.2, 0.5, 1.5), (11, 1 / 250, 1.0, 1.0), (12, 0.05, 2.0, 0.8)]
)
def test_posterior_and_evidence_are_those_of_all_segmentations(T, hazard, kappa0, alpha0):
    rng = np.random.default_rng(T)
    values = rng.normal(size=T) * 2.0 + 1.0
    values[T // 2 :] += 6.0
    panel = filtered(
        values, hazard=hazard, warmup=0, prior_strength=kappa0, prior_shape=alpha0, location=0.5, scale=1.5
    )
    lengths, evidence = enumerate_segmentations(values, hazard, 0.5, 1.5, kappa0, alpha0)
    runs, probabilities = panel.posterior(0)
    assert runs.tolist() == list(range(T + 1))
    np.testing.assert_allclose(probabilities[1:] / (1.0 - hazard), lengths, rtol=0, atol=1e-13)
    assert panel.log_evidence()[0] == pytest.approx(evidence, abs=1e-11)


def total_variation(p, q):
    return 0.5 * np.abs(p - q).sum()


def steps(kind, length=300):
    rng = np.random.default_rng(3)
    noise = rng.normal(size=length)
    noise[length // 2 :] = 2.5 + 0.5 * noise[length // 2 :]
    return {
        "plain": (noise, 0.0, 1.0),
        "far from zero": (noise + 1e6, 1e6, 1.0),
        "far from the prior": (noise + 1e6, 0.0, 1.0),
        "tiny": (noise * 1e-150, 0.0, 1e-150),
        "huge": (noise * 1e150, 0.0, 1e150),
        "constant": (np.full(length, 0.25), 0.0, 1.0),
        "ties": (np.round(noise), 0.0, 1.0),
        "an outlier": (np.where(np.arange(length) == 99, 1e8, noise), 0.0, 1.0),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["plain", "far from zero", "far from the prior", "tiny", "huge", "constant", "ties", "an outlier"],
)
def test_posterior_agrees_with_forty_digits(kind):
    values, location, scale = steps(kind)
    values = values[60:220]
    panel = filtered(values, hazard=1 / 100, warmup=0, location=location, scale=scale)
    exact, evidence = forty_digits(values, 1 / 100, location, scale)
    _, probabilities = panel.posterior(0)
    assert total_variation(probabilities, exact) < 1e-13
    assert total_variation(extended_precision(values, 1 / 100, location, scale), exact) < 1e-15
    assert panel.log_evidence()[0] == pytest.approx(evidence, rel=1e-12, abs=1e-10)


@pytest.mark.parametrize("kind", ["plain", "far from zero", "far from the prior", "tiny", "constant", "ties"])
def test_five_thousand_observations_are_within_1e_12_of_exact_arithmetic(kind):
    values, location, scale = steps(kind, 10_000)
    values = values[2_500:7_500]
    panel = filtered(values, hazard=1 / 250, max_run=5_000, warmup=0, location=location, scale=scale)
    exact = extended_precision(values, 1 / 250, location, scale)
    assert total_variation(panel.posterior(0)[1], exact) < 1e-12


@pytest.mark.parametrize("outlier_df", [math.inf, 8.0])
@pytest.mark.parametrize("max_run", [2, 30, 400])
def test_kernel_agrees_with_its_naive_twin(max_run, outlier_df):
    rng = np.random.default_rng(max_run)
    values = rng.standard_t(4, size=320)
    values[120:] *= 3.0
    values[200:] += 2.0
    values[[5, 130, 131]] = np.nan, np.inf, -np.inf
    panel = RunLengthPanel(1, hazard=0.02, max_run=max_run, warmup=0, outlier_df=outlier_df)
    naive = NaiveRunLength(0.02, max_run, outlier_df=outlier_df)
    for x in values:
        panel.update([x])
        naive.update(x)
        np.testing.assert_allclose(panel.posterior(0)[1], naive.probabilities, rtol=1e-9, atol=1e-13)
    p = np.array(naive.probabilities)[1:]
    means = np.array([run[0] for run in naive.runs])[1:]
    variances = np.array([run[1] / run[3] for run in naive.runs])[1:]
    lengths = np.arange(1, len(p) + 1)
    assert panel.segment_mean()[0] == pytest.approx(p @ means / p.sum(), rel=1e-10)
    assert panel.segment_variance()[0] == pytest.approx(p @ variances / p.sum(), rel=1e-10)
    assert panel.expected_run_length()[0] == pytest.approx(p @ lengths, rel=1e-10)
    assert panel.map_run_length()[0] == lengths[::-1][np.argmax(p[::-1])]
    omega = np.array([sum(p[r - 1] / r for r in lengths if r > a) for a in range(len(p))])
    omega /= omega.sum()
    np.testing.assert_allclose(panel.survivor_weights(0, len(p)), omega, rtol=1e-9, atol=1e-14)
    if max_run >= 320 and outlier_df == math.inf:
        assert panel.log_evidence()[0] == pytest.approx(naive.log_evidence, rel=1e-11)


@settings(max_examples=25)
@given(
    values=st.lists(
        st.one_of(
            st.floats(-10, 10),
            st.sampled_from([0.0, 1.0, -1.0, 1e8, 1e300, -1e300, 5e-324, math.nan, math.inf, -math.inf]),
        ),
        max_size=40,
    ),
    hazard=st.floats(1e-4, 0.9),
    max_run=st.integers(2, 12),
)
def test_kernel_agrees_with_its_naive_twin_on_anything(values, hazard, max_run):
    panel = RunLengthPanel(1, hazard=hazard, max_run=max_run, warmup=0)
    naive = NaiveRunLength(hazard, max_run)
    for x in values:
        panel.update([x])
        naive.update(min(max(x, -1e100), 1e100) if math.isfinite(x) else x)
    np.testing.assert_allclose(panel.posterior(0)[1], naive.probabilities, rtol=1e-6, atol=1e-10)
