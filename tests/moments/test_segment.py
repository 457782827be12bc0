"""The present segment's moments and their blend with the long run's."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from naive_moments import naive_segment, smallest_eigenvalue

from stream_allocator.moments import SegmentWindow, blend

ENTRY = st.one_of(st.floats(-1, 1), st.sampled_from([0.0, 0.01, math.nan, math.inf, 1e200]))
WEIGHT = st.one_of(st.floats(0, 1), st.just(0.0))


@st.composite
def windows(draw):
    n, T = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    rows = draw(arrays(float, (T, n), elements=ENTRY))
    omega = draw(arrays(float, draw(st.integers(1, 12)), elements=WEIGHT))
    omega[0] = max(omega[0], 0.01)
    return rows, omega


def filled(rows, length):
    window = SegmentWindow(rows.shape[1], length)
    for row in rows:
        window.append(row)
    return window


@given(windows(), st.integers(1, 12), st.booleans())
def test_segment_covariance_is_its_definition_and_semi_definite(case, length, center):
    rows, omega = case
    found = filled(rows, length).covariance(omega, center=center)
    newest_first = [np.where(np.abs(row) < 1e100, row, np.nan) for row in rows[::-1][:length]]
    expected = naive_segment(newest_first, omega, center)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)
    assert np.array_equal(found, found.T)
    assert smallest_eigenvalue(found) >= -1e-12


def test_equal_weights_give_the_sample_moments():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    window = filled(rows, 64)
    weights = np.full(50, 1 / 50)
    np.testing.assert_allclose(window.mean(weights), rows.mean(axis=0))
    np.testing.assert_allclose(window.covariance(weights), rows.T @ rows / 50)
    np.testing.assert_allclose(window.covariance(weights, center=True), np.cov(rows, rowvar=False, ddof=0))
    assert window.effective_sample_size(weights) == pytest.approx(50.0)
    np.testing.assert_allclose(window.coverage(weights), 1.0)


def test_weights_belong_to_the_newest_first_and_count_only_bars_there_are():
    window = filled(np.array([[1.0], [2.0], [3.0], [4.0]]), 3)
    assert len(window) == 3
    assert window.latest()[:, 0].tolist() == [4.0, 3.0, 2.0]
    assert window.mean([1.0, 0.0])[0] == 4.0
    assert window.mean([0.0, 0.0, 1.0])[0] == 2.0
    assert window.mean([0.25, 0.25, 0.0, 9.0])[0] == 3.5
    assert window.effective_sample_size([0.5, 0.5, 0.0, 9.0]) == pytest.approx(2.0)


def test_an_empty_window_knows_nothing():
    window = SegmentWindow(2, 5)
    assert not window.covariance(np.ones(5)).any()
    assert np.isnan(window.mean(np.ones(5))).all()
    assert window.coverage(np.ones(5)).tolist() == [0.0, 0.0]
    assert window.effective_sample_size(np.ones(5)) == 0.0
    assert len(window) == 0


def test_an_asset_never_seen_has_no_coverage_and_no_moments():
    window = filled(np.array([[1.0, np.nan], [2.0, np.nan]]), 4)
    omega = [0.5, 0.5]
    assert window.coverage(omega).tolist() == [1.0, 0.0]
    assert np.isnan(window.mean(omega)[1])
    assert window.covariance(omega)[1].tolist() == [0.0, 0.0]


def test_missing_returns_do_not_bias_a_variance_down():
    rows = np.ones((10, 1))
    rows[::2] = np.nan
    assert filled(rows, 10).covariance(np.full(10, 0.1))[0, 0] == pytest.approx(1.0)


@given(windows(), st.integers(0, 12), st.integers(1, 7))
def test_a_restored_window_goes_on_with_the_same_bits(case, cut, length):
    rows, omega = case
    window = filled(rows[:cut], length)
    restored = SegmentWindow.from_state(window.state())
    for row in rows[cut:]:
        window.append(row)
        restored.append(row)
    assert window.covariance(omega).tobytes() == restored.covariance(omega).tobytes()
    assert len(window) == len(restored)


@pytest.mark.parametrize("weights", [[-0.1, 1.0], [math.nan], [[1.0]]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="survivor_weights"):
        filled(np.ones((3, 1)), 3).covariance(weights)


def gram(rng, n):
    A = rng.normal(size=(n, n))
    return A @ A.T


def test_blend_is_the_posterior_mean_of_an_inverse_wishart():
    rng = np.random.default_rng(1)
    long_run, segment = gram(rng, 4), gram(rng, 4)
    expected = (60.0 * long_run + 25.0 * segment) / 85.0
    np.testing.assert_allclose(blend(long_run, segment, 25.0, 60.0), expected, rtol=1e-14)
    np.testing.assert_allclose(blend(long_run, segment, np.full(4, 25.0), 60.0), expected, rtol=1e-14)
    assert np.array_equal(blend(long_run, segment, 0.0, 60.0), long_run)


@given(st.integers(0, 10_000), arrays(float, 3, elements=st.floats(0, 1e4)), st.floats(0.01, 1e4))
def test_blend_is_semi_definite_with_evidence_per_asset(seed, sizes, strength):
    rng = np.random.default_rng(seed)
    long_run = gram(rng, 3)
    segment = np.outer(rng.normal(size=3), 1.0) @ np.ones((1, 3))
    segment = segment @ segment.T
    mixed = blend(long_run, segment, sizes, strength)
    assert np.array_equal(mixed, mixed.T)
    assert smallest_eigenvalue(mixed) >= -1e-12
    share = sizes / (sizes + strength)
    expected = (1 - share) * np.diag(long_run) + share * np.diag(segment)
    np.testing.assert_allclose(np.diag(mixed), expected, rtol=1e-12)


def test_an_asset_without_evidence_keeps_its_long_run_variance():
    rng = np.random.default_rng(2)
    long_run = gram(rng, 2)
    mixed = blend(long_run, np.diag([9.0, 0.0]), [30.0, 0.0], 60.0)
    assert mixed[1, 1] == pytest.approx(long_run[1, 1])


def test_blend_refuses_what_does_not_fit():
    for arguments, word in (
        ((np.eye(2), np.eye(3), 1.0, 1.0), "alike"),
        ((np.eye(2), np.eye(2), -1.0, 1.0), "effective_sample_size"),
        ((np.eye(2), np.eye(2), math.nan, 1.0), "effective_sample_size"),
        ((np.eye(2), np.eye(2), 1.0, 0.0), "prior_strength"),
    ):
        with pytest.raises(ValueError, match=word):
            blend(*arguments)
