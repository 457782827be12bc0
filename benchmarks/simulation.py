"""False alarms and delays of a detector by simulation: noises, changes, estimators and their standard errors.

A detector turns an array of observations (steps, paths) into an alarm statistic of the same shape; it alarms
when the statistic exceeds a threshold.  The average run length to a false alarm (ARL0) and the delay after a
change are both estimated from the step before which a path has been quiet, so that any threshold can be set
afterwards from the same simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CHANGES",
    "NOISES",
    "average_run_length",
    "calibrated_threshold",
    "changed",
    "groups",
    "jackknife_error",
    "log_odds",
    "mean_delay",
    "noise",
    "records",
]

FloatArray = NDArray[np.float64]
StatisticArray = NDArray[np.float32]

NOISES = ("gaussian", "t4", "outliers", "garch")
#: change -> (shift of the mean, factor of the volatility), in standard deviations of the noise before it
CHANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "shift 1 sigma": (1.0, 1.0),
        "shift 2 sigma": (2.0, 1.0),
        "volatility x1.5": (0.0, 1.5),
        "volatility x2": (0.0, 2.0),
        "volatility /2": (0.0, 0.5),
    }
)
OUTLIER_SHARE, OUTLIER_SIZE = 0.01, 10.0
GARCH_SHOCK, GARCH_PERSISTENCE, GARCH_START = 0.08, 0.90, 200
#: A path that alarms this shortly before a change is left out: its alarm was false.
QUIET = 20


def noise(kind: str, steps: int, paths: int, generator: np.random.Generator) -> FloatArray:
    """In-control observations, of shape (steps, paths).

    ``gaussian``: N(0, 1).  ``t4``: Student's t with 4 degrees of freedom scaled to variance one.
    ``outliers``: N(0, 1) of which 1% are multiplied by ten.  ``garch``: Gaussian GARCH(1, 1) with
    h' = .02 + .08 x^2 + .90 h, stationary variance one.

    Raises
    ------
    ValueError
        If the kind is not one of `NOISES`.
    """
    shape = (steps, paths)
    if kind == "gaussian":
        return generator.standard_normal(shape)
    if kind == "t4":
        return generator.standard_t(4, shape) / math.sqrt(2.0)
    if kind == "outliers":
        x = generator.standard_normal(shape)
        return np.where(generator.random(shape) < OUTLIER_SHARE, OUTLIER_SIZE * x, x)
    if kind == "garch":
        shocks = generator.standard_normal((GARCH_START + steps, paths))
        variance = np.ones(paths)
        for i in range(len(shocks)):
            shocks[i] *= np.sqrt(variance)
            variance = (
                1.0
                - GARCH_SHOCK
                - GARCH_PERSISTENCE
                + GARCH_SHOCK * shocks[i] ** 2
                + GARCH_PERSISTENCE * variance
            )
        return shocks[GARCH_START:]
    raise ValueError(f"noise must be one of {', '.join(NOISES)}, got {kind!r}")


def changed(values: FloatArray, change: str) -> FloatArray:
    """Observations of variance one after a change: shift + factor x."""
    shift, factor = CHANGES[change]
    return shift + factor * values


def log_odds(probability: FloatArray) -> StatisticArray:
    """Probabilities as log odds, within what double precision can tell from 0 and from 1."""
    p = np.clip(probability, 1e-300, 1.0 - 2.0**-53)
    return (np.log(p) - np.log1p(-p)).astype(np.float32)


def records(statistic: StatisticArray) -> StatisticArray:
    """Highest value so far along a path, of shape (steps, paths): above a threshold once the alarm is out.

    The first row is the step before the run begins: a path that is above the threshold there does not count.
    """
    record = statistic.copy()
    np.maximum.accumulate(record[1:], axis=0, out=record[1:])
    return record


def average_run_length(record: StatisticArray, threshold: float) -> float:
    """ARL0 of a threshold: steps at risk over alarms.

    The maximum-likelihood estimate when the wait for an alarm is geometric, with the paths that are still
    quiet at the end censored there.  Infinite without an alarm, NaN without a path that starts quiet.

    Parameters
    ----------
    record : (1 + steps, paths) array
        From `records`.
    threshold : float
    """
    record = record[:, record[0] <= threshold]
    steps = len(record) - 1
    if record.shape[1] == 0:
        return math.nan
    quiet = quiet_steps(record, threshold)
    alarms = np.count_nonzero(quiet < steps)
    return int(np.minimum(quiet + 1, steps).sum()) / alarms if alarms else math.inf


def quiet_steps(record: StatisticArray, threshold: float) -> NDArray[np.int64]:
    """Steps of each path before its first alarm; its steps altogether if there is none.

    By bisection along each path, whose record never falls.
    """
    paths = np.arange(record.shape[1])
    low, high = np.zeros(len(paths), np.int64), np.full(len(paths), len(record) - 1)
    while (low < high).any():
        middle = (low + high + 1) // 2
        quiet = record[middle, paths] <= threshold
        low, high = np.where(quiet, middle, low), np.where(quiet, high, middle - 1)
    return low


def calibrated_threshold(record: StatisticArray, arl: float) -> float:
    """Least threshold whose ARL0 is at least ``arl``, by bisection (ARL0 rises with the threshold)."""
    low, high = float(record.min()) - 1.0, float(record.max()) + 1.0
    for _ in range(24):
        middle = 0.5 * (low + high)
        if average_run_length(record, middle) >= arl:
            high = middle
        else:
            low = middle
    return high


def mean_delay(statistic: StatisticArray, change_at: int, threshold: float) -> float:
    """Mean number of observations from a change to the alarm, over the paths that were quiet just before.

    Parameters
    ----------
    statistic : (steps, paths) array
        Its row ``change_at`` is the first with a changed observation; an alarm there is a delay of one.
    change_at : int
        Quiet means no alarm in the `QUIET` rows before.
    threshold : float
        A path without alarm counts with the steps it was watched.
    """
    kept = (statistic[max(change_at - QUIET, 0) : change_at] <= threshold).all(axis=0)
    after = statistic[change_at:, kept] > threshold
    watched = len(after)
    waits = np.where(after.any(axis=0), after.argmax(axis=0) + 1, watched)
    return float(waits.mean()) if waits.size else math.nan


def groups(paths: int, number: int) -> list[NDArray[np.bool_]]:
    """Masks that keep all paths but one of ``number`` equal groups, for `jackknife_error`."""
    member = np.arange(paths) * number // paths
    return [member != g for g in range(number)]


def jackknife_error(
    figures: Callable[[NDArray[np.bool_]], Mapping[str, float]], paths: int, number: int = 20
) -> dict[str, float]:
    """Standard errors of figures that are computed from paths, by the delete-a-group jackknife.

    The groups go through the whole computation, the calibration of the threshold included, so the error of
    the threshold is in the error of what was measured with it.

    Parameters
    ----------
    figures : callable
        From a mask over the paths to named figures.
    paths, number : int
        Number of paths and of groups.
    """
    left = [figures(mask) for mask in groups(paths, number)]
    errors = {}
    for key in left[0]:
        values = np.array([f[key] for f in left])
        spread = float(((values - values.mean()) ** 2).sum())
        errors[key] = math.sqrt((number - 1) / number * spread)
    return errors
