"""How good probability forecasts were: the probability integral transform, and proper scores."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import binom, chi2, kstest, norm, t

from stream_allocator.backtest.forecasts import Forecasts
from stream_allocator.backtest.inference import BLOCK, LEVEL, RESAMPLES, Interval, mean_difference

__all__ = [
    "Berkowitz",
    "Histogram",
    "ScoreRow",
    "Surprise",
    "berkowitz",
    "compare_scores",
    "crps_normal",
    "fit_degrees_of_freedom",
    "histogram",
    "log_density",
    "surprises",
    "transform",
    "uniformity",
]

Array = NDArray[np.float64]

#: Probabilities are kept this far from 0 and 1, where their normal scores are infinite.
EDGE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of a probability integral transform in bins of equal width.

    Attributes
    ----------
    counts : ndarray of int64, shape (bins,)
    expected : float
        Of each, if the forecasts are right.
    low, high : float
        A bin's count then lies between them with probability ``level``.
    level : float
    """

    counts: NDArray[np.int64]
    expected: float
    low: float
    high: float
    level: float

    @property
    def outside(self) -> int:
        """Bins outside the band; about ``bins * (1 - level)`` where forecasts are right."""
        return int(((self.counts < self.low) | (self.counts > self.high)).sum())


@dataclass(frozen=True, slots=True)
class Berkowitz:
    """Likelihood ratio test that normal scores are independent and standard normal.

    Attributes
    ----------
    statistic : float
    p_value : float
        By its limit, chi-squared with three degrees of freedom.
    mean, deviation : float
        Of the normal scores: below one the forecasts were too wide, above one too narrow.
    autocorrelation : float
        Of the first order.
    """

    statistic: float
    p_value: float
    mean: float
    deviation: float
    autocorrelation: float


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A forecaster's mean scores, and how much better the market's are; smaller scores are better.

    Attributes
    ----------
    name : str
    crps : float
        In units of the return.
    log_score : float
        Minus the logarithm of the density, nats.
    crps_gain, log_gain : Interval or None
        This forecaster's mean score minus the market's, over the same bars; None for the market itself.
    """

    name: str
    crps: float
    log_score: float
    crps_gain: Interval | None
    log_gain: Interval | None


@dataclass(frozen=True, slots=True)
class Surprise:
    """One-step forecasts of similar confidence.

    Attributes
    ----------
    low, high : float
        Confidence of the least and the most sure of them.
    bars : int
    scale : float
        Root mean square of the standardised returns: above 1 the forecasts were too narrow.
    beyond : float
        Share further than two deviations from the mean; 4.6 % of a normal distribution is.
    """

    low: float
    high: float
    bars: int
    scale: float
    beyond: float


def transform(standardised: Array, degrees_of_freedom: float = math.inf) -> Array:
    """Probability integral transform: the forecast probability of no more than what came, in [0, 1].

    Uniform and independent if the forecasts are right (Dawid 1984).

    Parameters
    ----------
    standardised : ndarray
        ``(x - mean) / deviation``.
    degrees_of_freedom : float
        Of a Student t scaled to variance 1, above 2; infinite for the normal distribution.
    """
    if math.isinf(degrees_of_freedom):
        return np.asarray(norm.cdf(standardised))
    return np.asarray(t.cdf(standardised * _widening(degrees_of_freedom), degrees_of_freedom))


def log_density(standardised: Array, degrees_of_freedom: float = math.inf) -> Array:
    """Logarithm of the density of variance 1 behind :func:`transform`."""
    z, nu = standardised, degrees_of_freedom
    if math.isinf(nu):
        return np.asarray(-0.5 * z * z - 0.5 * math.log(2.0 * math.pi))
    constant = float(gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu)) - 0.5 * math.log(math.pi * (nu - 2.0))
    return np.asarray(constant - 0.5 * (nu + 1.0) * np.log1p(z * z / (nu - 2.0)))


def fit_degrees_of_freedom(standardised: Array) -> float:
    """Degrees of freedom in [2.1, 200] under which standardised returns are most likely, with variance 1.

    The scale is left alone: it is the forecast's to get right.
    """
    found = minimize_scalar(
        lambda x: -float(log_density(standardised, 2.0 + math.exp(x)).mean()),
        bounds=(math.log(0.1), math.log(198.0)),
        method="bounded",
    )
    return 2.0 + math.exp(float(found.x))


def histogram(probabilities: Array, bins: int = 20, level: float = 0.95) -> Histogram:
    """Histogram of a probability integral transform with the band in which a bin's count should be."""
    counts, _ = np.histogram(probabilities, bins, (0.0, 1.0))
    size = probabilities.size
    low, high = binom.ppf(((1.0 - level) / 2.0, (1.0 + level) / 2.0), size, 1.0 / bins)
    return Histogram(counts.astype(np.int64), size / bins, float(low), float(high), level)


def uniformity(probabilities: Array) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance from the uniform distribution, and its p-value if bars are independent."""
    found = kstest(probabilities, "uniform")
    return float(found.statistic), float(found.pvalue)


def berkowitz(probabilities: Array) -> Berkowitz:
    """Test of uniformity and independence by the normal scores ``z = Phi^-1(u)``.

    The likelihood of ``z_t - m = rho (z_{t-1} - m) + e`` at its maximum (given the first) against that of
    independent standard normal scores.

    Raises
    ------
    ValueError
        For fewer than four probabilities.

    References
    ----------
    J. Berkowitz, Testing Density Forecasts, with Applications to Risk Management, JBES 19 (2001), 465-474.
    """
    if probabilities.size < 4:
        raise ValueError(f"the test needs four probabilities, got {probabilities.size}")
    z = norm.ppf(np.clip(probabilities, EDGE, 1.0 - EDGE))
    before, after = z[:-1], z[1:]
    design = np.stack((np.ones_like(before), before), axis=1)
    coefficients = np.linalg.lstsq(design, after, rcond=None)[0]
    variance = float(np.mean((after - design @ coefficients) ** 2))
    size = after.size
    free = -0.5 * size * (math.log(2.0 * math.pi * variance) + 1.0)
    statistic = max(0.0, 2.0 * (free - float(norm.logpdf(after).sum())))
    return Berkowitz(
        statistic, float(chi2.sf(statistic, 3)), float(z.mean()), float(z.std()), float(coefficients[1])
    )


def crps_normal(realised: Array, mean: Array, deviation: Array) -> Array:
    """Continuous ranked probability score of normal forecasts, in units of the return; smaller is better.

    ``E|X - x| - E|X - X'| / 2 = s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))``, ``z = (x - m) / s``.

    References
    ----------
    T. Gneiting, A. E. Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 102 (2007).
    """
    z = (realised - mean) / deviation
    return np.asarray(
        deviation * (z * (2.0 * norm.cdf(z) - 1.0) + 2.0 * norm.pdf(z) - 1.0 / math.sqrt(math.pi))
    )


def surprises(forecasts: Forecasts, bins: int = 10) -> tuple[Surprise, ...]:
    """How far returns were from their forecasts, by confidence, least sure first."""
    order = np.argsort(forecasts.confidence, kind="stable")
    confidence, z = forecasts.confidence[order], forecasts.standardised[order]
    return tuple(
        Surprise(
            low=float(confidence[part[0]]),
            high=float(confidence[part[-1]]),
            bars=part.size,
            scale=float(np.sqrt(np.mean(z[part] ** 2))),
            beyond=float(np.mean(np.abs(z[part]) > 2.0)),
        )
        for part in np.array_split(np.arange(z.size), bins)
        if part.size
    )


def compare_scores(
    forecasts: Forecasts, *, block: float = BLOCK, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[ScoreRow, ...]:
    """Scores of normal forecasts with the market's deviation and with those of static covariances.

    All have the market's mean and speak of the same holdings, so they differ by the covariance alone; scored
    are the bars of which all of them say something.

    Parameters
    ----------
    forecasts : Forecasts
    block, resamples, level
        Of the paired stationary bootstrap of the differences.

    Returns
    -------
    tuple of ScoreRow
        The market first.

    Raises
    ------
    ValueError
        If there is no such bar.
    """
    chosen = forecasts.select((forecasts.rolling > 0.0) & (forecasts.expanding > 0.0))
    if chosen.times.size == 0:
        raise ValueError("no bar has a forecast by every covariance")

    def scores(deviation: Array) -> tuple[Array, Array]:
        z = (chosen.realised - chosen.mean) / deviation
        return crps_normal(chosen.realised, chosen.mean, deviation), np.log(deviation) - log_density(z)

    own = scores(chosen.deviation)
    rows = [ScoreRow("market", float(own[0].mean()), float(own[1].mean()), None, None)]
    for name, deviation in (("rolling sample", chosen.rolling), ("expanding sample", chosen.expanding)):
        other = scores(deviation)
        gains = [
            mean_difference(theirs, ours, block=block, resamples=resamples, level=level)
            for theirs, ours in zip(other, own, strict=True)
        ]
        rows.append(ScoreRow(name, float(other[0].mean()), float(other[1].mean()), *gains))
    return tuple(rows)


def _widening(degrees_of_freedom: float) -> float:
    """From a variable of variance 1 to a Student t.

    Raises
    ------
    ValueError
        Where a t has no variance.
    """
    if not degrees_of_freedom > 2.0:
        raise ValueError(f"degrees of freedom must be above 2, got {degrees_of_freedom}")
    return math.sqrt(degrees_of_freedom / (degrees_of_freedom - 2.0))
