"""The run-length posterior in more digits than the kernel has, by the predictive recursion.

One formula in two arithmetics: NumPy's extended precision (64 bits of mantissa) where there are thousands of
observations, and 40 digits, too slow for that, to prove the former on the first few hundred.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import mpmath
import numpy as np

__all__ = ["EXTENDED", "FORTY_DIGITS", "Arithmetic", "posteriors"]


class Arithmetic(NamedTuple):
    """Numbers of one precision in NumPy arrays."""

    array: Any  # of floats
    exact: Any  # from an mpmath number
    log1p: Any
    log: Any
    exp: Any


def _extended(x: mpmath.mpf) -> np.longdouble:
    return np.longdouble(float(x)) + np.longdouble(float(x - mpmath.mpf(float(x))))


EXTENDED = Arithmetic(lambda x: np.asarray(x, np.longdouble), _extended, np.log1p, np.log, np.exp)
FORTY_DIGITS = Arithmetic(
    lambda x: np.array([mpmath.mpf(float(v)) for v in np.ravel(x)], object),
    lambda x: x,
    np.frompyfunc(mpmath.log1p, 1, 1),
    np.frompyfunc(mpmath.log, 1, 1),
    np.frompyfunc(mpmath.exp, 1, 1),
)


def posteriors(
    values: np.ndarray,
    hazard: float,
    location: float,
    scale: float,
    max_run: int,
    at: Collection[int],
    number: Arithmetic,
) -> dict[int, np.ndarray]:
    """Posterior over run lengths 0, 1, ... after each of the given numbers of observations.

    The prior has strength 1 and shape 1.  Runs longer than ``max_run`` are merged as the panel's are: masses
    are added, mean and variance are the mixture's, the length is the cap's.
    """
    with mpmath.workdps(40):
        half = mpmath.mpf(1) / 2
        constants = []  # log of what a Student-t density owes to the length alone
        for n in range(min(len(values), max_run) + 1):
            shape, strength = 1 + mpmath.mpf(n) / 2, mpmath.mpf(1 + n)
            constant = mpmath.loggamma(shape + half) - mpmath.loggamma(shape)
            constants.append(
                number.exact(constant + mpmath.log(strength / (strength + 1) / (2 * mpmath.pi)) / 2)
            )
        constant = np.array(constants)
        origin, unit, h = number.array([location]), number.array([scale]), number.array([hazard])
        z = (number.array(values) - origin) / unit
        lengths = number.array(np.arange(len(constants) + 1.0))
        strengths, shapes = lengths + 1, lengths / 2 + 1
        mean, rate, mass = number.array([0.0]), number.array([1.0]), number.array([1.0])
        found = {}
        for t, x in enumerate(z, 1):
            n = len(mass)
            strength, shape = strengths[:n], shapes[:n]
            d = x - mean
            grown = strength * d * d / (2 * (strength + 1))
            density = constant[:n] - number.log(rate) / 2
            density = number.exp(density - (2 * shape + 1) / 2 * number.log1p(grown / rate))
            weighted = mass * density
            mass = np.concatenate((h, (1 - h) * weighted / weighted.sum()))
            mean = np.concatenate((number.array([0.0]), mean + d / (strength + 1)))
            rate = np.concatenate((number.array([1.0]), rate + grown))
            if n > max_run:
                share = mass[-1] / (mass[-1] + mass[-2])
                variance = (1 - share) * rate[-2] / shapes[n - 1] + share * rate[-1] / shapes[n]
                mean[-2] += share * (mean[-1] - mean[-2])
                rate[-2], mass[-2] = variance * shapes[n - 1], mass[-2] + mass[-1]
                mean, rate, mass = mean[:-1], rate[:-1], mass[:-1]
            if t in at:
                found[t] = mass.astype(float)
        return found
