"""The most probable segmentation of a recorded series: exact, by a recursion over where the last run began.

A segment is Gaussian about a straight line (or about a constant) with unknown coefficients and variance, and
independent of the others; before every observation but the first a new segment begins with probability h, the
hazard.  With p(s:e) the marginal likelihood of observations s, ..., e - 1 as one segment,

    V(0) = -log h,   V(e) = max over 0 <= s < e of V(s) + log h + (e - s - 1) log(1 - h) + log p(s:e)

is the log joint probability of the first e observations and their best segmentation, and the starts s that
attain it, followed backwards from the end, are the segmentation.  Summing in place of taking the maximum
gives the evidence, so the posterior probability of the segmentation is known too.

With t the time, y the observation, S_ty = sum (t - mean t)(y - mean y) and so on over the n observations of a
segment, the normal-inverse-gamma prior (level at the segment's centre: location 0, strength kappa0; slope:
location 0, strength lambda0; variance: shape alpha0, rate beta0) has the closed form

    beta_n  = beta0 + (1/2) [S_yy - S_ty^2 / (lambda0 + S_tt) + kappa0 n (mean y)^2 / (kappa0 + n)]
    log p   = lgamma(alpha_n) - lgamma(alpha0) + alpha0 log beta0 - alpha_n log beta_n - (n/2) log(2 pi)
              + (1/2) log(kappa0 / (kappa0 + n)) + (1/2) log(lambda0 / (lambda0 + S_tt)),

alpha_n = alpha0 + n / 2.  For a constant mean the terms in the slope are absent.

References
----------
P. Fearnhead, Exact and efficient Bayesian inference for multiple changepoint problems, 2006, Statistics and
Computing 16, 203-213.
R. E. Kass, L. Wasserman, A reference Bayesian test for nested hypotheses and its relationship to the Schwarz
criterion, 1995, JASA 90, 928-934 (the unit information prior).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from stream_allocator.regime.elementary import FloatArray, IntArray, compiled, exp, log

# A residual below this share of the largest value is rounding: the series is its own line and tells nothing.
ROUNDING = 1e-13

# Log joints closer than this, relative to their size, are equal: the difference is rounding.
TIE = 1e-13

# Beyond this many scales an observation is taken to lie exactly there: its square still fits.
FARTHEST = 1e100


@dataclass(frozen=True)
class RecordedSegments:
    """The segmentation of a recorded series and what its segments look like.

    Attributes
    ----------
    changes : tuple of int
        Index of the first observation of every segment but the first, increasing.
    length : int
        Number of observations T.
    mean, slope, standard_deviation : (segments, dimensions) arrays
        Each segment's least-squares line: its value in the middle of the segment, its slope per observation,
        and the standard deviation about it (divisor n - 2).  Without a trend the sample mean, 0, and the
        sample standard deviation (divisor n - 1).  NaN where the observations are too few.
    log_joint : float
        log p(observations, segmentation), in the series' units.
    log_posterior : float
        log p(segmentation | observations), at most 0.
    """

    changes: tuple[int, ...]
    length: int
    mean: FloatArray
    slope: FloatArray
    standard_deviation: FloatArray
    log_joint: float
    log_posterior: float

    @property
    def segments(self) -> tuple[tuple[int, int], ...]:
        """Start and end (one past the last) of every segment."""
        return tuple(pairwise((0, *self.changes, self.length)))


def map_segmentation(
    observations: ArrayLike,
    *,
    trend: bool = True,
    hazard: float | None = None,
    prior_strength: float = 1.0,
    prior_shape: float = 2.0,
    location: ArrayLike | None = None,
    scale: ArrayLike | None = None,
) -> RecordedSegments:
    """The most probable segmentation of a recorded series.

    The default prior is the unit information prior of the hypothesis that nothing changed: one straight line
    (``trend=False``: one constant) through the whole series.  Level and slope of a segment are known
    beforehand as well as from one observation about that line, and the variance is that about that line.  So
    the answer does not change when the series is shifted, rescaled or, with a trend, tilted.

    Parameters
    ----------
    observations : (T,) or (T, d) array_like
        The series, in order of time, T at least 1; NaN is missing.  The d dimensions change together and are
        independent given the segmentation.
    trend : bool, default True
        Whether a segment has a slope.
    hazard : float, optional
        Probability of a change before any observation but the first, in (0, 1).  Default 1 / T^2 (at most
        1/2): the whole series has a change with probability about 1 / T, so a change must earn 2 log T nats
        beyond the price of its parameters.  Observations of real series are not independent given their
        segments, which makes evidence look stronger than it is.
    prior_strength : float, default 1
        Observations that the prior's level and slope are worth (kappa0 > 0; lambda0 is kappa0 times the
        variance of the time over the series).
    prior_shape : float, default 2
        Half the observations that the prior's variance is worth (alpha0 > 0; beta0 = alpha0).
    location, scale : array_like, optional
        Location and scale of the prior, scalars or of shape (d,), instead of those of the whole series; give
        both or neither.

    Returns
    -------
    RecordedSegments
        The maximum of the posterior.  Of segmentations that are equally probable up to rounding, the one with
        the fewest changes, and then the one whose last change is the earliest.

    Notes
    -----
    Time O(d T^2), memory O(d T): under three seconds for 10,000 observations.  A dimension that is its own
    line to rounding, or has fewer than three observations (two without a trend), tells nothing about changes
    and is left out of the probabilities, unless ``scale`` is given.

    Raises
    ------
    ValueError
        If the observations are not one or two-dimensional, none, or infinite, or a parameter is out of range.
    """
    x = _series(observations)
    length = len(x)
    chance = min(0.5, 1.0 / (length * length)) if hazard is None else hazard
    if not 0.0 < chance < 1.0:
        raise ValueError(f"hazard must be strictly between 0 and 1, got {hazard}")
    for name, value in (("prior_strength", prior_strength), ("prior_shape", prior_shape)):
        if not 0.0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    middle, tilt, unit, telling = _prior(x, trend, location, scale)
    time = np.arange(length) - 0.5 * (length - 1)
    z = np.clip((x - (middle + time[:, None] * tilt)) / unit, -FARTHEST, FARTHEST)
    slope_strength = prior_strength * max(length * length - 1.0, 1.0) / 12.0 if trend else math.inf
    best, evidence, starts = _recursion(
        np.ascontiguousarray(z[:, telling].T),
        chance,
        prior_strength,
        slope_strength,
        prior_shape,
        _normaliser(length, prior_strength, prior_shape),
    )
    changes: list[int] = []
    start = int(starts[length])
    while start > 0:
        changes.append(start)
        start = int(starts[start])
    changes.reverse()
    pieces = [slice(a, b) for a, b in pairwise((0, *changes, length))]
    described = [_describe(z[piece], trend) for piece in pieces]
    means, slopes, deviations = (np.array(column, np.float64) for column in zip(*described, strict=True))
    centres = np.array([time[piece].mean() for piece in pieces])
    observed = np.isfinite(x).sum(axis=0)
    return RecordedSegments(
        changes=tuple(changes),
        length=length,
        mean=middle + centres[:, None] * tilt + means * unit,
        slope=tilt + slopes * unit,
        standard_deviation=deviations * unit,
        log_joint=best - float((observed * np.log(unit))[telling].sum()),
        log_posterior=min(0.0, best - evidence),
    )


def _series(observations: ArrayLike) -> FloatArray:
    x = np.asarray(observations, np.float64)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] < 1:
        raise ValueError(f"observations must be of shape (T,) or (T, d) and not empty, got {x.shape}")
    if np.isinf(x).any():
        t, j = np.argwhere(np.isinf(x))[0]
        raise ValueError(
            f"observations must be finite, or NaN where missing: {x[t, j]} at {t}, dimension {j}"
        )
    return x


def _prior(
    x: FloatArray, trend: bool, location: ArrayLike | None, scale: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]:
    """Line through the series (value in the middle, slope), scale about it, and which dimensions tell."""
    length, dimensions = x.shape
    if (location is None) != (scale is None):
        raise ValueError("give both location and scale, or neither")
    if location is not None and scale is not None:
        middle = np.broadcast_to(np.asarray(location, np.float64), (dimensions,))
        unit = np.broadcast_to(np.asarray(scale, np.float64), (dimensions,))
        if not (np.isfinite(middle).all() and np.isfinite(unit).all() and (unit > 0.0).all()):
            raise ValueError("location must be finite and scale positive and finite")
        return middle, np.zeros(dimensions), unit, np.ones(dimensions, np.bool_)
    middle, tilt, unit = np.zeros(dimensions), np.zeros(dimensions), np.ones(dimensions)
    telling = np.zeros(dimensions, np.bool_)
    for j in range(dimensions):
        seen = np.isfinite(x[:, j])
        if not seen.any():
            continue
        largest = float(np.abs(x[seen, j]).max()) or 1.0  # so that no square overflows or vanishes
        t = np.flatnonzero(seen) - 0.5 * (length - 1)
        value, slope, deviation = _line(t, x[seen, j] / largest, trend)
        middle[j], tilt[j] = value * largest, 0.0 if math.isnan(slope) else slope * largest
        if deviation > ROUNDING:  # not if it is NaN
            unit[j], telling[j] = deviation * largest, True
    return middle, tilt, unit, telling


def _normaliser(length: int, strength: float, shape: float) -> FloatArray:
    """What a segment's log likelihood owes to its number of observations alone, for 0, 1, ..., length."""
    n = np.arange(length + 1, dtype=np.float64)
    normaliser = (
        gammaln(shape + 0.5 * n)
        - gammaln(shape)
        + shape * math.log(shape)
        + 0.5 * np.log(strength / (strength + n))
        - 0.5 * n * math.log(2.0 * math.pi)
    )
    return np.ascontiguousarray(normaliser)


@compiled
def _recursion(
    z: FloatArray,
    hazard: float,
    strength: float,
    slope_strength: float,
    shape: float,
    normaliser: FloatArray,
) -> tuple[float, float, IntArray]:
    """Log joint of the best segmentation, log evidence, and the start of the last segment for every end.

    ``z`` is of shape (dimensions, T), in the prior's units, NaN where missing.
    """
    dimensions, length = z.shape
    # Of the segment from each start to the present: observations, means of time and value, centred sums.
    count = np.zeros((dimensions, length), np.int64)
    times, values = np.zeros((dimensions, length)), np.zeros((dimensions, length))
    s_tt, s_ty = np.zeros((dimensions, length)), np.zeros((dimensions, length))
    s_yy = np.zeros((dimensions, length))
    best = np.zeros(length + 1)  # V + log(hazard): what the best segmentation so far brings to a new segment
    evidence = np.zeros(length + 1)
    changes = np.zeros(length + 1, np.int64)
    starts = np.zeros(length + 1, np.int64)
    fit = np.empty(length)
    rest = np.empty(length)
    change, no_change = math.log(hazard), math.log1p(-hazard)
    tilted = slope_strength < math.inf
    log_slope_strength = math.log(slope_strength) if tilted else 0.0
    for e in range(length):
        for s in range(e + 1):
            fit[s] = (e - s) * no_change
        for j in range(dimensions):
            y = z[j, e]
            if not math.isnan(y):
                for s in range(e + 1):
                    count[j, s] += 1
                    share = 1.0 / count[j, s]
                    dt, dy = e - times[j, s], y - values[j, s]
                    times[j, s] += dt * share
                    values[j, s] += dy * share
                    after = y - values[j, s]
                    s_tt[j, s] += dt * (e - times[j, s])
                    s_ty[j, s] += dt * after
                    s_yy[j, s] += dy * after
            for s in range(e + 1):
                rest[s] = s_yy[j, s]
            if tilted:
                for s in range(e + 1):
                    precision = slope_strength + s_tt[j, s]
                    rest[s] = max(rest[s] - s_ty[j, s] * s_ty[j, s] / precision, 0.0)
                    fit[s] += 0.5 * (log_slope_strength - log(precision))
            for s in range(e + 1):
                n = float(count[j, s])
                level = strength * n / (strength + n) * values[j, s] * values[j, s]
                rate = shape + 0.5 * (rest[s] + level)
                fit[s] += normaliser[count[j, s]] - (shape + 0.5 * n) * log(rate)
        highest = -math.inf
        for s in range(e + 1):
            highest = max(highest, best[s] + fit[s])
        near = highest - TIE * (1.0 + abs(highest))
        chosen = -1
        for s in range(e + 1):
            if best[s] + fit[s] >= near and (chosen < 0 or changes[s] < changes[chosen]):
                chosen = s
        starts[e + 1] = chosen
        changes[e + 1] = changes[chosen] + 1
        best[e + 1] = best[chosen] + fit[chosen] + change
        highest = -math.inf
        for s in range(e + 1):
            highest = max(highest, evidence[s] + fit[s])
        total = 0.0
        for s in range(e + 1):
            total += exp(evidence[s] + fit[s] - highest)
        evidence[e + 1] = highest + log(total) + change
    return float(best[length]) - change, float(evidence[length]) - change, starts


def _describe(z: FloatArray, trend: bool) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least-squares line of one segment at its middle, its slope, and the standard deviation about it."""
    n, dimensions = z.shape
    t = np.arange(n) - 0.5 * (n - 1)
    mean, slope, deviation = (np.full(dimensions, math.nan) for _ in range(3))
    for j in range(dimensions):
        seen = np.isfinite(z[:, j])
        mean[j], slope[j], deviation[j] = _line(t[seen], z[seen, j], trend)
    return mean, slope, deviation


def _line(t: FloatArray, y: FloatArray, trend: bool) -> tuple[float, float, float]:
    """Least-squares line: value at t = 0, slope, and standard deviation about it; NaN where undetermined."""
    n = len(y)
    if n == 0:
        return math.nan, math.nan, math.nan
    time, value = t.mean(), y.mean()
    slope = 0.0
    if trend:
        slope = float((t - time) @ (y - value) / ((t - time) @ (t - time))) if n > 1 else math.nan
    at_zero = float(value - slope * time) if n > 1 else float(value)
    freedom = n - (2 if trend else 1)
    residual = y - value - slope * (t - time)
    deviation = math.sqrt(residual @ residual / freedom) if freedom > 0 else math.nan
    return at_zero, slope, deviation
