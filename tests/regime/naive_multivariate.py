"""The multivariate run-length posterior twice more: step by step in many digits, and by enumeration."""

import functools
import itertools
import math

import mpmath
import numpy as np
from mpmath import mpf
from scipy.special import logsumexp, multigammaln


class NaiveMultivariate:
    """Adams & MacKay's recursion over (run, hazard) in mpmath: a list of runs, newborn first.

    A run is (mean, kappa, Psi, nu) of its normal-inverse-Wishart posterior, updated by the textbook's
    formulas; every predictive density is the multivariate Student t.
    """

    def __init__(
        self,
        location,
        scale,
        hazards,
        hazard_weights=None,
        max_run=10**9,
        kappa0=1.0,
        degrees0=None,
        outlier_df=math.inf,
        digits=40,
    ):
        self.digits, self.max_run, self.outlier_df = digits, max_run, outlier_df
        d = self.dimension = len(location)
        self.hazards = [mpf(h) for h in hazards]
        weights = [1.0] * len(hazards) if hazard_weights is None else hazard_weights
        with mpmath.workdps(digits):
            degrees = mpf(d + 1 if degrees0 is None else degrees0)
            self.prior = (
                [mpf(float(v)) for v in location],
                mpf(kappa0),
                [[degrees * mpf(float(v)) for v in row] for row in np.asarray(scale)],
                degrees,
            )
            self.runs = [self.prior]
            self.joint = [[mpf(w) / mpmath.fsum(weights) for w in weights]]
            self.log_evidence = mpf(0)

    def update(self, values):
        if not np.isfinite(values).all():
            return
        with mpmath.workdps(self.digits):
            d = self.dimension
            x = [mpf(float(v)) for v in values]
            away = [[a - b for a, b in zip(x, run[0], strict=True)] for run in self.runs]
            distances = [
                distance_and_determinant(difference, run[2])
                for difference, run in zip(away, self.runs, strict=True)
            ]
            weight = mpf(1)
            if self.outlier_df < math.inf:
                nu = mpf(self.outlier_df)
                weight = mpmath.fsum(
                    mpmath.fsum(p) * (nu + d) / (nu + q * k / (k + 1) * (dof - d + 1))
                    for p, (q, _), (_, k, _, dof) in zip(self.joint, distances, self.runs, strict=True)
                )
            weighted, grown = [], []
            for p, difference, (q, determinant), (mean, k, psi, dof) in zip(
                self.joint, away, distances, self.runs, strict=True
            ):
                part = weight * k / (k + weight)
                density = (
                    student_constant(dof, d, self.digits)
                    * mpmath.sqrt(part**d / determinant)
                    / mpmath.sqrt(1 + part * q) ** int(dof + 1)
                    / (1 + part * q) ** ((dof - int(dof)) / 2)
                )
                weighted.append([density * v for v in p])
                step = weight / (k + weight)
                scaled = [part * a for a in difference]
                grown.append(
                    (
                        [m + step * a for m, a in zip(mean, difference, strict=True)],
                        k + weight,
                        [
                            [entry + s * a for entry, a in zip(row, difference, strict=True)]
                            for row, s in zip(psi, scaled, strict=True)
                        ],
                        dof + 1,
                    )
                )
            total = mpmath.fsum(v for row in weighted for v in row)
            self.log_evidence += mpmath.log(total)
            born = [h * mpmath.fsum(row[m] for row in weighted) / total for m, h in enumerate(self.hazards)]
            kept = [[(1 - h) * v / total for h, v in zip(self.hazards, row, strict=True)] for row in weighted]
            self.runs, self.joint = [self.prior, *grown], [born, *kept]
            if len(self.runs) > self.max_run + 1:
                self._merge()

    def _merge(self):
        (mean, k, psi, dof), (old_mean, _, old_psi, old_dof) = self.runs[-2:]
        young, old = self.joint[-2:]
        mass = mpmath.fsum(young) + mpmath.fsum(old)
        share = mpmath.fsum(old) / mass if mass else mpf(0)
        merged = [
            [(1 - share) * a + share * b * dof / old_dof for a, b in zip(row, old_row, strict=True)]
            for row, old_row in zip(psi, old_psi, strict=True)
        ]
        centre = [(1 - share) * a + share * b for a, b in zip(mean, old_mean, strict=True)]
        self.runs[-2:] = [(centre, k, merged, dof)]
        self.joint[-2:] = [[a + b for a, b in zip(young, old, strict=True)]]

    @property
    def probabilities(self):
        with mpmath.workdps(self.digits):
            return np.array([float(mpmath.fsum(p)) for p in self.joint])

    @property
    def hazard_probabilities(self):
        with mpmath.workdps(self.digits):
            return np.array([float(mpmath.fsum(p[m] for p in self.joint)) for m in range(len(self.hazards))])

    def moments(self):
        """Mean and covariance of the segment, averaged over the runs that have seen data."""
        with mpmath.workdps(self.digits):
            p = [mpmath.fsum(row) for row in self.joint[1:]]
            d, mass = range(self.dimension), mpmath.fsum(p)
            shares = [(v / mass, run) for v, run in zip(p, self.runs[1:], strict=True)]
            return (
                np.array([float(mpmath.fsum(s * run[0][i] for s, run in shares)) for i in d]),
                np.array(
                    [
                        [float(mpmath.fsum(s * run[2][i][k] / run[3] for s, run in shares)) for k in d]
                        for i in d
                    ]
                ),
            )


def distance_and_determinant(difference, psi):
    """difference' psi^-1 difference, and the determinant of psi, by elimination."""
    rows = [list(row) for row in psi]
    right = list(difference)
    square, determinant = mpf(0), mpf(1)
    for k in range(len(rows)):
        pivot = rows[k][k]
        square += right[k] ** 2 / pivot
        determinant *= pivot
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / pivot
            right[i] -= factor * right[k]
            for j in range(k + 1, len(rows)):
                rows[i][j] -= factor * rows[k][j]
    return square, determinant


@functools.cache
def student_constant(dof, dimension, digits):
    """Gamma((nu + 1) / 2) / Gamma((nu + 1 - d) / 2) / pi^(d / 2)."""
    with mpmath.workdps(digits):
        half = (dof + 1) / 2
        top, bottom = mpmath.gamma(half), mpmath.gamma(half - mpf(dimension) / 2)
        return top / bottom / mpmath.pi ** (mpf(dimension) / 2)


def log_marginal(values, weights, location, scale, kappa0, degrees0):
    """Log marginal likelihood of one segment with given weights, by Murphy (2007), equation 266."""
    x, w = np.asarray(values, float), np.asarray(weights, float)
    n, d = x.shape
    whole = w.sum()
    mean = w @ x / whole
    kappa, degrees = kappa0 + whole, degrees0 + n
    psi0 = degrees0 * np.asarray(scale, float)
    scatter = (x - mean).T @ (w[:, None] * (x - mean))
    gap = np.outer(mean - location, mean - location)
    psi = psi0 + scatter + kappa0 * whole / kappa * gap
    return (
        multigammaln(degrees / 2.0, d)
        - multigammaln(degrees0 / 2.0, d)
        + degrees0 / 2.0 * np.linalg.slogdet(psi0)[1]
        - degrees / 2.0 * np.linalg.slogdet(psi)[1]
        + d / 2.0 * (np.log(kappa0 / kappa) + np.log(w).sum() - n * np.log(np.pi))
    )


def enumerate_segmentations(values, hazards, hazard_weights, weights, location, scale, kappa0, degrees0):
    """Posterior of the last segment's length 1..T and of the hazard, and the log evidence.

    A sum over all 2^(T-1) segmentations for each hazard, the observations' weights being given.
    """
    T = len(values)
    segment = {
        (a, b): log_marginal(values[a:b], weights[a:b], location, scale, kappa0, degrees0)
        for a in range(T)
        for b in range(a + 1, T + 1)
    }
    prior = np.asarray(hazard_weights, float) / np.sum(hazard_weights)
    terms = np.full((T + 1, len(hazards), 2 ** (T - 1)), -np.inf)
    for number, changes in enumerate(itertools.product((False, True), repeat=T - 1)):
        cuts = [0, *(i + 1 for i, change in enumerate(changes) if change), T]
        count = sum(changes)
        likelihood = sum(segment[pair] for pair in itertools.pairwise(cuts))
        for m, hazard in enumerate(hazards):
            terms[cuts[-1] - cuts[-2], m, number] = (
                math.log(prior[m])
                + count * math.log(hazard)
                + (T - 1 - count) * math.log1p(-hazard)
                + likelihood
            )
    evidence = logsumexp(terms)
    joint = np.exp(logsumexp(terms, axis=2) - evidence)[1:]
    return joint, evidence
