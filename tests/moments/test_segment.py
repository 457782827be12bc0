"""The present segment's mean and evidence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream_allocator.moments import SegmentWindow

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


def naive_mean(rows_newest_first, omega, i):
    """The mean of one asset by its definition."""
    seen = [
        (w, row[i])
        for w, row in zip(omega, rows_newest_first, strict=False)
        if math.isfinite(row[i]) and abs(row[i]) < 1e100
    ]
    mass = sum(w for w, _ in seen)
    return sum(w * x for w, x in seen) / mass if mass > 0.0 else math.nan


@given(windows(), st.integers(1, 12))
def test_segment_mean_is_its_definition(case, length):
    rows, omega = case
    found = filled(rows, length).average(omega)[0]
    expected = [naive_mean(rows[::-1][:length], omega, i) for i in range(rows.shape[1])]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-14)


def test_equal_weights_give_the_sample_moments():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    window = filled(rows, 64)
    weights = np.full(50, 1 / 50)
    np.testing.assert_allclose(window.average(weights)[0], rows.mean(axis=0))
    np.testing.assert_allclose(window.average(weights)[1], 1.0)


def test_weights_belong_to_the_newest_first_and_count_only_bars_there_are():
    window = filled(np.array([[1.0], [2.0], [3.0], [4.0]]), 3)
    assert len(window) == 3
    assert window.latest(9)[:, 0].tolist() == [4.0, 3.0, 2.0]
    assert window.latest(2)[:, 0].tolist() == [4.0, 3.0]
    assert window.average([1.0, 0.0])[0][0] == 4.0
    assert window.average([0.0, 0.0, 1.0])[0][0] == 2.0
    assert window.average([0.25, 0.25, 0.0, 9.0])[0][0] == 3.5


def test_an_empty_window_knows_nothing():
    window = SegmentWindow(2, 5)
    assert np.isnan(window.average(np.ones(5))[0]).all()
    assert window.average(np.ones(5))[1].tolist() == [0.0, 0.0]
    assert len(window) == 0


def test_an_asset_never_seen_has_no_coverage_and_no_moments():
    window = filled(np.array([[1.0, np.nan], [2.0, np.nan]]), 4)
    omega = [0.5, 0.5]
    assert window.average(omega)[1].tolist() == [1.0, 0.0]
    assert np.isnan(window.average(omega)[0][1])


@given(windows(), st.integers(0, 12), st.integers(1, 7))
def test_a_restored_window_goes_on_with_the_same_bits(case, cut, length):
    rows, omega = case
    window = filled(rows[:cut], length)
    restored = SegmentWindow.from_state(window.state())
    for row in rows[cut:]:
        window.append(row)
        restored.append(row)
    assert window.average(omega)[0].tobytes() == restored.average(omega)[0].tobytes()
    assert len(window) == len(restored)


@pytest.mark.parametrize("weights", [[-0.1, 1.0], [math.nan], [[1.0]]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="survivor_weights"):
        filled(np.ones((3, 1)), 3).average(weights)
