"""Other people's robust run-length posteriors, for comparison: one plain engine, one observation rule each.

The recursion is Adams & MacKay's with a normal-inverse-gamma state (mean, rate, strength, shape) per run, and
no bound on the run length.  To be quick enough it drops runs whose probability is below ``NEGLIGIBLE`` and
keeps runs older than ``FULL_RESOLUTION`` at ever coarser births: neighbours add their mass and the likelier
one's state stands for both.  Its ``gaussian`` and ``shared weight`` are the package's own models: the tests
compare them without thinning, `benchmarks.detection --figure` with it.

Sources: Gaussian, Adams & MacKay 2007; Student-t by weights per run, the usual scale-mixture (EM) step;
Huber, clipped residuals; epsilon-outlier mixture, each run's own responsibility; beta-divergence, Knoblauch,
Jewson & Damoulas 2018 (arXiv 1806.02261), with a one-step update in the place of their variational one.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["LIKELIHOODS", "recent_change"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

GAUSSIAN, SHARED, STUDENT, HUBER, MIXTURE, BETA = range(6)
#: name -> (rule, its first, its second parameter)
LIKELIHOODS: dict[str, tuple[int, float, float]] = {
    "gaussian": (GAUSSIAN, 0.0, 0.0),
    "shared weight": (SHARED, 8.0, 0.0),  # degrees of freedom
    "weight per run": (STUDENT, 4.0, 0.0),  # degrees of freedom
    "huber": (HUBER, 2.5, 0.0),  # clip in predictive standard deviations
    "outlier mixture": (MIXTURE, 0.01, 5.0),  # share of outliers and factor of their scale
    "beta divergence": (BETA, 0.15, 0.0),
}
OUTLIER_DF = 2.0
NEGLIGIBLE = 1e-6
FULL_RESOLUTION = 16
MEAN, RATE, STRENGTH, SHAPE = range(4)

compiled = njit(cache=True, error_model="numpy")


@compiled
def gamma_ratio(a: float) -> float:
    """Gamma(a + 1/2) / Gamma(a) for a >= 1/2, to 1e-7: the asymptotic series two steps further up."""
    r = 1.0 / (a + 2.0)
    series = 1.0 - r * (1 / 8 - r * (1 / 128 + r * (5 / 1024 - r * (21 / 32768 + r * 399 / 262144))))
    return math.sqrt(a + 2.0) * series * (a * (a + 1.0)) / ((a + 0.5) * (a + 1.5))


@compiled
def log_student(square: float, df: float, spread: float) -> float:
    """Log Student-t density at squared standardised distance ``square``, with squared scale ``spread``."""
    peak = gamma_ratio(0.5 * df) / math.sqrt(df * math.pi * spread)
    return math.log(peak) - 0.5 * (df + 1.0) * math.log(1.0 + square / df)


@compiled
def beta_score(log_density: float, df: float, spread: float, beta: float) -> float:
    """(p^beta - 1) / beta - integral p^(1 + beta) / (1 + beta) of a Student-t density p."""
    tail = 0.5 * ((df + 1.0) * (1.0 + beta) - 1.0)
    peak = gamma_ratio(0.5 * df) / math.sqrt(df * math.pi * spread)
    integral = peak ** (1.0 + beta) * math.sqrt(df * math.pi * spread) / gamma_ratio(tail)
    return math.expm1(beta * log_density) / beta - integral / (1.0 + beta)


@compiled
def clipped_second_moment(clip: float) -> float:
    """E min(z^2, clip^2) of a standard normal z."""
    inside = math.erf(clip / math.sqrt(2.0))
    density = math.exp(-0.5 * clip * clip) / math.sqrt(2.0 * math.pi)
    return inside - 2.0 * clip * density + clip * clip * (1.0 - inside)


@compiled
def absorb(
    x: float, weight: float, rule: int, first: float, second: float, runs: FloatArray, i: int
) -> float:
    """Give run i an observation; return the log of what it had predicted."""
    strength, shape, rate = runs[STRENGTH, i], runs[SHAPE, i], runs[RATE, i]
    d = x - runs[MEAN, i]
    df = 2.0 * shape
    if rule == SHARED:
        spread = rate / shape * (1.0 / strength + 1.0 / weight)
    else:
        spread = rate / shape * (1.0 + 1.0 / strength)
    square = d * d / spread
    if rule == BETA:
        log_density = log_student(square, df, spread)
        score = beta_score(log_density, df, spread, first)
        trust = math.exp(-0.5 * first * square)
        slope = 2.0 * (1.0 + first) ** 2.5 / (2.0 + first * first)
        step = 1.0 + slope * (trust * (square - 1.0) + first * (1.0 + first) ** -1.5)
        runs[MEAN, i] += math.sqrt(1.0 + first) * trust * d / (strength + 1.0)
        runs[RATE, i] = rate + 0.5 * rate / shape * max(step, -0.9)
        runs[STRENGTH, i] = strength + 1.0
        runs[SHAPE, i] = shape + 0.5
        return score
    own, information, consistency = weight, 1.0, 1.0
    if rule == STUDENT:
        own = (first + 1.0) / (first + square)
        log_predictive = log_student(square, 1.0 / (1.0 / first + 1.0 / df), spread)
    elif rule == MIXTURE:
        wide = second * second
        inlier = log_student(square, df, spread) + math.log1p(-first)
        outlier = log_student(square / wide, OUTLIER_DF, spread * wide) + math.log(first)
        own = information = 1.0 / (1.0 + math.exp(outlier - inlier))
        log_predictive = inlier - math.log(own)
    else:
        if rule == HUBER and square > first * first:
            d *= first / math.sqrt(square)
            square = first * first
        if rule == HUBER:
            consistency = clipped_second_moment(first)
        log_predictive = log_student(square, df, spread)
    total = strength + own
    runs[MEAN, i] += own * d / total
    runs[RATE, i] = rate + 0.5 * own * strength / total * d * d / consistency
    runs[STRENGTH, i] = total
    runs[SHAPE, i] = shape + 0.5 * information
    return log_predictive


@compiled
def shared_weight(x: float, df: float, runs: FloatArray, probability: FloatArray, live: int) -> float:
    """Expected Student-t weight of an observation under the runs' predictives."""
    weight = 0.0
    for i in range(live):
        d = x - runs[MEAN, i]
        square = d * d * runs[SHAPE, i] / (runs[RATE, i] * (1.0 + 1.0 / runs[STRENGTH, i]))
        weight += probability[i] * (df + 1.0) / (df + square)
    return weight


@compiled
def block(birth: int, age: int) -> int:
    """Runs of one block are told apart no longer: blocks of 2, 4, 8... births as they grow older."""
    level, reach = 0, FULL_RESOLUTION
    while age > reach:
        level += 1
        reach *= 2
    return (birth >> level << 6) + level


@compiled
def thin(
    runs: FloatArray, probability: FloatArray, level: FloatArray, birth: IntArray, live: int, now: int
) -> int:
    """Drop negligible runs and merge neighbours of one block; returns the number of runs left."""
    kept = 0
    last = -1  # the block of the last run kept
    for i in range(live):
        if probability[i] < NEGLIGIBLE and now - birth[i] > 2:
            continue
        own = block(birth[i], now - birth[i])
        if own == last:
            target = kept - 1
            both = probability[i] + probability[target]
            if probability[i] > probability[target]:
                for row in range(4):
                    runs[row, target] = runs[row, i]
                birth[target] = birth[i]
            probability[target] = both
            level[target] = math.log(both)
            continue
        if kept != i:
            for row in range(4):
                runs[row, kept] = runs[row, i]
            birth[kept], probability[kept], level[kept] = birth[i], probability[i], level[i]
        last = own
        kept += 1
    return kept


@compiled
def follow(
    x: FloatArray, rule: int, first: float, second: float, hazard: float, k: int, thinned: bool
) -> FloatArray:
    """P(r <= k) after each observation of one series with prior N(0, 1), strength and shape 1."""
    out = np.empty(x.size)
    runs = np.empty((4, x.size))
    probability, level = np.empty(x.size), np.empty(x.size)
    birth = np.empty(x.size, np.int64)
    live = 0
    survival = math.log1p(-hazard)
    for t in range(x.size):
        runs[:, live] = 1.0
        runs[MEAN, live] = 0.0
        probability[live] = hazard if t > 0 else 1.0
        level[live] = math.log(probability[live])
        birth[live] = t
        live += 1
        weight = shared_weight(x[t], first, runs, probability, live) if rule == SHARED else 1.0
        top = -math.inf
        for i in range(live):
            level[i] += absorb(x[t], weight, rule, first, second, runs, i)
            top = max(top, level[i])
        mass = 0.0
        for i in range(live):
            probability[i] = math.exp(level[i] - top)
            mass += probability[i]
        young = 0.0
        shift = top + math.log(mass)
        for i in range(live):
            level[i] -= shift
            probability[i] /= mass
            if t + 1 - birth[i] <= k:
                young += probability[i]
        out[t] = hazard + (1.0 - hazard) * young
        if thinned:
            live = thin(runs, probability, level, birth, live, t + 1)
        for i in range(live):
            probability[i] *= 1.0 - hazard
            level[i] += survival
    return out


def recent_change(
    name: str, values: FloatArray, hazard: float, k: int, *, thinned: bool = True
) -> FloatArray:
    """P(r <= k) after each observation under a likelihood, for standard normal segments.

    Parameters
    ----------
    name : str
        One of `LIKELIHOODS`.
    values : (steps, paths) array
    hazard : float
        Probability of a change after any observation.
    k : int
        In observations; r = 0 just after a change.
    thinned : bool, default True
        False keeps every run: exact, and quadratic in the number of steps.

    Returns
    -------
    (steps, paths) array
    """
    rule, first, second = LIKELIHOODS[name]
    out = np.empty(values.shape)
    for j in range(values.shape[1]):
        out[:, j] = follow(np.ascontiguousarray(values[:, j]), rule, first, second, hazard, k, thinned)
    return out
