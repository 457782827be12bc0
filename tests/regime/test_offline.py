"""The most probable segmentation against all segmentations, and what it must not depend on."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from stream_allocator.regime import RunLengthPanel
from stream_allocator.regime.offline import map_segmentation


def naive_fit(t, y, length, trend, strength, shape):
    """log p of one dimension of one segment: the multivariate Student-t, by its covariance matrix."""
    t, y = t[np.isfinite(y)], y[np.isfinite(y)]
    n = len(y)
    if n == 0:
        return 0.0
    matrix = np.eye(n) + np.ones((n, n)) / strength
    if trend:
        u = t - t.mean()
        matrix += np.outer(u, u) / (strength * max(length**2 - 1, 1) / 12)
    half = shape + n / 2
    return (
        math.lgamma(half)
        - math.lgamma(shape)
        - n / 2 * math.log(2 * math.pi * shape)
        - np.linalg.slogdet(matrix)[1] / 2
        - half * math.log1p(y @ np.linalg.solve(matrix, y) / (2 * shape))
    )


def naive_prior(x, trend):
    """Residuals of the line (or mean) of each dimension in units of their standard deviation, and these."""
    z, units = np.empty_like(x), np.empty(x.shape[1])
    for j, y in enumerate(x.T):
        seen = np.isfinite(y)
        t = np.arange(len(y))
        fit = np.polyval(np.polyfit(t[seen], y[seen], int(trend)), t)
        units[j] = np.sqrt(np.nansum((y - fit) ** 2) / (seen.sum() - 1 - trend))
        z[:, j] = (y - fit) / units[j]
    return z, units


def naive_fits(z, *, trend, strength, shape):
    """log p of every segment [a, b), all dimensions together."""
    length = len(z)
    t = np.arange(length, dtype=float)
    return {
        (a, b): sum(naive_fit(t[a:b], y, length, trend, strength, shape) for y in z[a:b].T)
        for b in range(1, length + 1)
        for a in range(b)
    }


def naive_joint(fits, length, changes, hazard):
    joint = len(changes) * math.log(hazard) + (length - 1 - len(changes)) * math.log1p(-hazard)
    return joint + sum(fits[segment] for segment in pairwise((0, *changes, length)))


def all_segmentations(length):
    for count in range(length):
        yield from combinations(range(1, length), count)


def series(seed, length, dimensions=1, missing=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(length, dimensions)) + 30.0
    for _ in range(rng.integers(0, 3)):
        x[rng.integers(1, length) :] += rng.normal(size=dimensions) * 4.0
    x += 0.5 * rng.normal() * np.arange(length)[:, None]
    x[rng.random(x.shape) < missing] = np.nan
    return x


@pytest.mark.parametrize(
    ("length", "dimensions", "trend", "hazard", "strength", "shape", "missing"),
    [
        (9, 1, True, 0.1, 1.0, 1.0, 0.0),
        (9, 2, False, 0.2, 0.5, 1.5, 0.0),
        (10, 1, False, 0.05, 2.0, 5.0, 0.2),
        (11, 2, True, 1 / 30, 1.0, 2.0, 0.2),
        (12, 1, True, 0.3, 0.3, 0.6, 0.0),
    ],
)
def test_no_segmentation_is_more_probable(length, dimensions, trend, hazard, strength, shape, missing):
    for seed in range(3):
        x = series(100 * length + seed, length, dimensions, missing)
        z, units = naive_prior(x, trend)
        fits = naive_fits(z, trend=trend, strength=strength, shape=shape)
        joints = {c: naive_joint(fits, length, c, hazard) for c in all_segmentations(length)}
        found = map_segmentation(x, trend=trend, hazard=hazard, prior_strength=strength, prior_shape=shape)
        best = max(joints, key=joints.__getitem__)
        assert found.changes == best
        scale = (np.isfinite(x).sum(axis=0) * np.log(units)).sum()
        assert found.log_joint == pytest.approx(joints[best] - scale, abs=1e-11)
        posterior = joints[best] - logsumexp(list(joints.values()))
        assert found.log_posterior == pytest.approx(posterior, abs=1e-11)


def naive_recursion(fits, length, hazard):
    """The recursion over run starts in plain Python."""
    best, lists = [0.0], [()]
    for e in range(1, length + 1):
        candidates = [
            best[s] + (math.log(hazard) if s else 0.0) + (e - s - 1) * math.log1p(-hazard) + fits[s, e]
            for s in range(e)
        ]
        s = int(np.argmax(candidates))
        best.append(candidates[s])
        lists.append((*lists[s], s) if s else ())
    return best[-1], lists[-1]


@pytest.mark.parametrize(("trend", "missing"), [(True, 0.0), (False, 0.3), (True, 0.3)])
def test_kernel_agrees_with_plain_python(trend, missing):
    x = series(7, 45, 2, missing)
    x[:, 0] = np.where(np.arange(45) == 30, 300.0, x[:, 0])  # an outlier
    x[20:24, 1] = np.round(x[20:24, 1])  # and a gap in the other dimension
    x[24:29, 1] = np.nan
    z, units = naive_prior(x, trend)
    fits = naive_fits(z, trend=trend, strength=1.0, shape=2.0)
    joint, changes = naive_recursion(fits, len(x), 0.02)
    found = map_segmentation(x, trend=trend, hazard=0.02, prior_shape=2.0)
    assert found.changes == changes
    scale = (np.isfinite(x).sum(axis=0) * np.log(units)).sum()
    assert found.log_joint == pytest.approx(joint - scale, abs=1e-10)


def test_evidence_is_that_of_the_online_posterior():
    x = series(11, 200)[:, 0]
    panel = RunLengthPanel(
        1, hazard=1 / 50, max_run=256, warmup=0, location=29.0, scale=1.5, outlier_df=math.inf
    )
    for value in x:
        panel.update([value])
    found = map_segmentation(x, trend=False, hazard=1 / 50, prior_shape=1.0, location=29.0, scale=1.5)
    assert found.log_joint - found.log_posterior == pytest.approx(panel.log_evidence()[0], abs=1e-9)


def test_of_equals_the_fewest_changes_are_chosen():
    # nothing was observed: with hazard 1/2 all segmentations are equal
    assert map_segmentation([math.nan] * 6, hazard=0.5).changes == ()
    assert map_segmentation([math.nan] * 6, hazard=0.5).log_posterior == pytest.approx(-5 * math.log(2))


@settings(max_examples=25)
@given(
    st.integers(0, 10**6),
    st.floats(-1e3, 1e3),
    st.floats(-1e3, 1e3),
    st.sampled_from([1e-300, 1e-3, 7.0, 1e280]),
)
def test_shifting_tilting_and_rescaling_change_nothing(seed, shift, tilt, unit):
    x = series(seed, 60)
    moved = (x + shift + tilt * np.arange(60)[:, None] / 60) * unit
    before, after = map_segmentation(x), map_segmentation(moved)
    assert after.changes == before.changes
    assert after.log_posterior == pytest.approx(before.log_posterior, abs=1e-6)
    np.testing.assert_allclose(after.standard_deviation, before.standard_deviation * unit, rtol=1e-6)
    np.testing.assert_allclose(after.slope, (before.slope + tilt / 60) * unit, rtol=1e-6, atol=1e-6 * unit)


def test_a_step_a_kink_and_a_calm_are_found_where_they_are():
    rng = np.random.default_rng(5)
    noise = rng.normal(size=120)
    step = noise + np.where(np.arange(120) >= 70, 6.0, 0.0)
    kink = noise + np.maximum(0.0, np.arange(120) - 50) * 0.8
    calm = np.where(np.arange(120) >= 60, 0.05, 1.0) * noise
    assert map_segmentation(step).changes == (70,)
    assert len(map_segmentation(kink).changes) == 1
    assert abs(map_segmentation(kink).changes[0] - 50) <= 8
    assert len(map_segmentation(calm).changes) == 1
    assert abs(map_segmentation(calm).changes[0] - 60) <= 3


def test_segments_are_described_in_the_units_of_the_series():
    rng = np.random.default_rng(6)
    t = np.arange(400.0)
    x = 1e4 + np.where(t < 150, 2.0 * t, 3000.0 - 1.0 * t) + 5.0 * rng.normal(size=400)
    found = map_segmentation(x)
    assert found.segments == ((0, 150), (150, 400))
    np.testing.assert_allclose(found.slope[:, 0], [2.0, -1.0], atol=0.05)
    np.testing.assert_allclose(found.mean[:, 0], [10149.0, 12725.5], atol=3.0)
    np.testing.assert_allclose(found.standard_deviation[:, 0], 5.0, rtol=0.15)
    halves = map_segmentation(x, trend=False, hazard=1e-3)
    for (a, b), mean, deviation in zip(halves.segments, halves.mean, halves.standard_deviation, strict=True):
        np.testing.assert_allclose([mean[0], deviation[0]], [x[a:b].mean(), x[a:b].std(ddof=1)], rtol=1e-9)
    assert (halves.slope == 0.0).all()


def test_gaps_do_not_bend_the_description():
    x = 5.0 + 3.0 * np.arange(40.0)
    x[[0, 3, 4, 5, 30, 39]] = math.nan
    found = map_segmentation(x)
    assert found.changes == ()
    assert found.mean[0, 0] == pytest.approx(5.0 + 3.0 * 19.5)
    assert found.slope[0, 0] == pytest.approx(3.0)


def test_noise_alone_hardly_ever_changes():
    rng = np.random.default_rng(8)
    assert sum(len(map_segmentation(rng.normal(size=200)).changes) for _ in range(200)) <= 4
    sloping = 0.3 * np.arange(200)
    assert sum(len(map_segmentation(rng.normal(size=200) + sloping).changes) for _ in range(200)) <= 4


@pytest.mark.parametrize("trend", [True, False])
@pytest.mark.parametrize(
    "values", [[5.0], [1.0, 2.0], [0.0] * 20, [3e8] * 20, [math.nan] * 9, [math.nan, 4.0, math.nan]]
)
def test_series_that_tell_nothing_are_one_segment(values, trend):
    found = map_segmentation(values, trend=trend)
    assert found.changes == ()
    assert np.isfinite(found.log_joint)
    assert found.log_posterior <= 0.0


def test_a_straight_line_is_one_segment_whatever_its_unit():
    for unit in (1e-200, 0.1, 1e200):
        assert map_segmentation((7.0 + 0.3 * np.arange(300)) * unit).changes == ()


def test_a_dimension_that_tells_nothing_takes_no_part():
    x = series(3, 80)
    constant = np.full((80, 1), 2.5)
    alone, beside = map_segmentation(x), map_segmentation(np.hstack([x, constant]))
    assert beside.changes == alone.changes
    assert beside.log_joint == alone.log_joint
    assert (beside.mean[:, 1] == 2.5).all()


def test_dimensions_add_their_evidence():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(60, 6))
    x[30:] += 1.5
    together = map_segmentation(x).changes
    assert len(together) == 1
    assert abs(together[0] - 30) <= 1
    assert map_segmentation(x[:, :1]).changes == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: map_segmentation([]), "not empty"),
        (lambda: map_segmentation(np.zeros((2, 2, 2))), r"of shape \(T,\) or \(T, d\)"),
        (lambda: map_segmentation([1.0, math.inf, 2.0]), "inf at 1, dimension 0"),
        (
            lambda: map_segmentation([1.0, 2.0], hazard=1.0),
            "hazard must be strictly between 0 and 1, got 1.0",
        ),
        (lambda: map_segmentation([1.0, 2.0], prior_strength=0.0), "prior_strength must be positive"),
        (lambda: map_segmentation([1.0, 2.0], prior_shape=math.nan), "prior_shape must be positive"),
        (lambda: map_segmentation([1.0, 2.0], scale=1.0), "both location and scale"),
        (lambda: map_segmentation([1.0, 2.0], location=0.0, scale=0.0), "scale positive"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
