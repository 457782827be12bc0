"""The run-length posterior three more times: step by step, by enumeration of segmentations, in 40 digits."""

import itertools
import math

import mpmath
import numpy as np
from scipy.special import gammaln, logsumexp


def log_student(x, mean, rate, strength, shape, weight=1.0):
    """Log predictive density of x, with precision weight, under a normal-inverse-gamma posterior."""
    spread = rate / shape * (1.0 / strength + 1.0 / weight)
    df = 2.0 * shape
    return (
        math.lgamma((df + 1.0) / 2.0)
        - math.lgamma(df / 2.0)
        - 0.5 * math.log(df * math.pi * spread)
        - (df + 1.0) / 2.0 * math.log1p((x - mean) ** 2 / (df * spread))
    )


class NaiveRunLength:
    """Adams & MacKay's recursion in plain Python: a list of runs, newborn first."""

    def __init__(self, hazard, max_run, location=0.0, scale=1.0, kappa0=1.0, alpha0=1.0, outlier_df=math.inf):
        self.hazard, self.max_run, self.outlier_df = hazard, max_run, outlier_df
        self.prior = (location, alpha0 * scale**2, kappa0, alpha0)
        self.runs = [self.prior]
        self.probabilities = [1.0]
        self.log_evidence = 0.0

    def update(self, x):
        if not math.isfinite(x):
            return
        weight = 1.0
        if self.outlier_df < math.inf:
            nu = self.outlier_df
            weight = sum(
                p * (nu + 1.0) / (nu + (x - m) ** 2 / (b / a * (1.0 + 1.0 / k)))
                for p, (m, b, k, a) in zip(self.probabilities, self.runs, strict=True)
            )
        joint = [
            (math.log(p) if p > 0.0 else -math.inf) + log_student(x, *run, weight)
            for p, run in zip(self.probabilities, self.runs, strict=True)
        ]
        predictive = logsumexp(joint)
        self.log_evidence += predictive
        grown = [(1.0 - self.hazard) * math.exp(j - predictive) for j in joint]
        runs = []
        for mean, rate, strength, shape in self.runs:
            d = x - mean
            runs.append(
                (
                    (strength * mean + weight * x) / (strength + weight),
                    rate + weight * strength * d * d / (2.0 * (strength + weight)),
                    strength + weight,
                    shape + 0.5,
                )
            )
        self.runs = [self.prior, *runs]
        self.probabilities = [self.hazard, *grown]
        if len(self.runs) > self.max_run + 1:
            self._merge()

    def _merge(self):
        (mean, rate, strength, shape), (old_mean, old_rate, _, old_shape) = self.runs[-2:]
        young, old = self.probabilities[-2:]
        share = old / (young + old) if young + old > 0 else 0.0
        variance = (1 - share) * rate / shape + share * old_rate / old_shape
        self.runs[-2:] = [((1 - share) * mean + share * old_mean, variance * shape, strength, shape)]
        self.probabilities[-2:] = [young + old]


def log_marginal(values, location, scale, kappa0, alpha0):
    """Log marginal likelihood of one segment, by Murphy (2007), equation 95."""
    x = np.asarray(values, float)
    n, mean = len(x), np.mean(x)
    kappa, alpha = kappa0 + n, alpha0 + n / 2.0
    beta0 = alpha0 * scale**2
    beta = beta0 + 0.5 * np.sum((x - mean) ** 2) + kappa0 * n * (mean - location) ** 2 / (2.0 * kappa)
    return (
        gammaln(alpha)
        - gammaln(alpha0)
        + alpha0 * np.log(beta0)
        - alpha * np.log(beta)
        + 0.5 * np.log(kappa0 / kappa)
        - n / 2.0 * np.log(2.0 * np.pi)
    )


def enumerate_segmentations(values, hazard, location=0.0, scale=1.0, kappa0=1.0, alpha0=1.0):
    """Posterior of the length of the last segment, 1..T, and log evidence, over all 2^(T-1) segmentations."""
    T = len(values)
    segment = {
        (a, b): log_marginal(values[a:b], location, scale, kappa0, alpha0)
        for a in range(T)
        for b in range(a + 1, T + 1)
    }
    by_length = [[] for _ in range(T + 1)]
    for changes in itertools.product((False, True), repeat=T - 1):
        cuts = [0, *(i + 1 for i, change in enumerate(changes) if change), T]
        count = sum(changes)
        log_joint = count * math.log(hazard) + (T - 1 - count) * math.log1p(-hazard)
        log_joint += sum(segment[pair] for pair in itertools.pairwise(cuts))
        by_length[cuts[-1] - cuts[-2]].append(log_joint)
    evidence = logsumexp(np.concatenate([np.array(terms) for terms in by_length if terms]))
    return np.array([math.exp(logsumexp(terms) - evidence) for terms in by_length[1:]]), evidence


def forty_digits(values, hazard, location=0, scale=1, kappa0=1, alpha0=1):
    """Posterior over run lengths 0..T and log evidence in 40 digits, from the predictive recursion."""
    with mpmath.workdps(40):
        mpf = mpmath.mpf
        hazard, kappa0, alpha0 = mpf(hazard), mpf(kappa0), mpf(alpha0)
        mean, rate, mass = [mpf(0)], [alpha0], [mpf(1)]
        evidence = mpf(0)
        factor = []  # the Student-t constant of a run of n observations
        for t, value in enumerate(values):
            x = (mpf(float(value)) - mpf(float(location))) / mpf(float(scale))
            shape, strength = alpha0 + mpf(t) / 2, kappa0 + t
            factor.append(
                mpmath.exp(mpmath.loggamma(shape + mpf(1) / 2) - mpmath.loggamma(shape))
                * mpmath.sqrt(strength / (strength + 1) / (2 * mpmath.pi))
            )
            weighted = []
            for n in range(t + 1):
                shape, strength = alpha0 + mpf(n) / 2, kappa0 + n
                d = x - mean[n]
                b = rate[n] + strength * d * d / (2 * (strength + 1))
                density = factor[n] / mpmath.sqrt(rate[n]) * (rate[n] / b) ** (shape + mpf(1) / 2)
                weighted.append(mass[n] * density)
                mean[n] += d / (strength + 1)
                rate[n] = b
            total = mpmath.fsum(weighted)
            evidence += mpmath.log(total / mpf(float(scale)))
            mass = [hazard, *((1 - hazard) * w / total for w in weighted)]
            mean, rate = [mpf(0), *mean], [alpha0, *rate]
        return np.array([float(p) for p in mass]), float(evidence)


def extended_precision(values, hazard, location, scale):
    """Posterior over run lengths 0..T, uncapped, with 64 bits of mantissa (kappa0 = alpha0 = 1).

    For series too long for 40 digits; itself within 1e-15 of those where both are affordable.
    """
    real = np.longdouble
    z = (np.array(values, real) - real(location)) / real(scale)
    steps = len(z)
    normaliser = np.empty(steps + 1, real)
    with mpmath.workdps(40):
        per_step = mpmath.log(1 - mpmath.mpf(hazard)) - mpmath.log(2 * mpmath.pi) / 2
        for n in range(steps + 1):
            exact = mpmath.loggamma(1 + mpmath.mpf(n) / 2) - mpmath.log(1 + mpmath.mpf(n)) / 2 + n * per_step
            normaliser[n] = real(float(exact)) + real(float(exact - float(exact)))
    shape = 1 + np.arange(steps + 1, dtype=real) / 2
    mean, rate, anchor = np.zeros(steps + 1, real), np.ones(steps + 1, real), np.zeros(steps + 1, real)
    for t in range(steps):
        born = slice(t + 1)  # runs by birth, the oldest first
        length = np.arange(t + 1, 0, -1)
        d = z[t] - mean[born]
        rate[born] += length.astype(real) / (2 * (1 + length.astype(real))) * d * d
        mean[born] += d / (1 + length.astype(real))
        level = anchor[born] + normaliser[length] - shape[length] * np.log(rate[born])
        weight = np.exp(level - level.max())
        anchor[t + 1] = level.max() + np.log(weight.sum() * real(hazard) / (1 - real(hazard)))
    return np.concatenate(([hazard], (weight / weight.sum() * (1 - real(hazard)))[::-1])).astype(float)
