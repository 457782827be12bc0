"""The compiled step of the multivariate run-length posterior: one vector, all runs, all candidate hazards.

A run of observations with weights w has W = sum w, the weighted mean v and a normal-inverse-Wishart posterior

    kappa = kappa0 + W,  mu = W v / kappa,  Psi = B + c v v',  B = Psi0 + sum w (x - v)(x - v)',
    c = kappa0 W / kappa,

in whitened coordinates, whose origin is the prior's location and whose Psi0 is a multiple of the identity.
B is kept as its Cholesky factor, updated by rotations: errors stay at rounding times the square root of the
condition.  v is kept apart from the prior's mean, and log |Psi| = log |B| + log(1 + c v'B^-1 v), so that a
segment a million standard deviations from the prior does not drown the spread within it.

Layout: a row of ``runs`` is one number of every run, in the order of birth, oldest first, in positions
``first <= p < end``; the run at p has length ``end - 1 - p`` and the last one is the newborn.  Every loop
over runs is elementwise over a few rows, which is what LLVM vectorises.
"""

from __future__ import annotations

import math

from stream_allocator.regime.elementary import FloatArray, exp, in_place, log, serial_sum

# Rows of the runs; then d rows of the mean, d (d + 1) / 2 of the factor, and one anchor for each hazard
WEIGHT, PULL, PROBABILITY, MEAN = 0, 1, 2, 3
# Integers and floats of the state
FIRST, END, COUNT, DETECTING, FILTERED, SINCE_REBASE = 0, 1, 2, 3, 4, 5
COUNTERS = 6
EVIDENCE, EVIDENCE_BASE, LOG_VOLUME = 0, 1, 2
SCALARS = 3
# Rows of the frame; then d rows with the Cholesky factor of the prior's correlation matrix
LOCATION, SCALE, REFERENCE, ORIGIN, CORRELATION = 0, 1, 2, 3, 4
# Entries of the settings
MAX_RUN, WARMUP, KAPPA0, DEGREES0, OUTLIER_DF, FARTHEST = 0, 1, 2, 3, 4, 5
SETTINGS = 6
# Rows of what a run owes to its length alone, longest first
NORMALISER, HALF_DEGREES, PRECISION, LENGTH = 0, 1, 2, 3
TABLE_ROWS = 4
# Rows of the hazards
HAZARD, LOG_HAZARD, LOG_SURVIVAL, LOG_PRIOR, LOG_EVIDENCE, MASS = 0, 1, 2, 3, 4, 5
HAZARD_ROWS = 6
# Rows of the workspace; then d rows each of residuals and solutions and one of levels for each hazard
KEEP, SHARE, GAIN, COSINE, SINE, INVERSE, SQUARE, CROSS, PIVOTS, BASE, RESIDUAL = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
)

# A run's weight is at least e^NEGLIGIBLE of the largest, and a hazard with a share below SMALLEST_SHARE adds
# nothing to the runs' probabilities: products stay clear of the slow numbers below 1e-308.
NEGLIGIBLE = -600.0
SMALLEST_SHARE = 1e-40


@in_place
def factor_row(dimension: int, i: int, k: int) -> int:
    """Row of the entry (i, k) of the factor, k <= i."""
    return MEAN + dimension + i * (i + 1) // 2 + k


@in_place
def anchor_row(dimension: int) -> int:
    """Row of the first hazard's anchors."""
    return MEAN + dimension + dimension * (dimension + 1) // 2


@in_place
def largest(x: FloatArray) -> float:
    """Maximum of a non-empty array, in four chains."""
    a: float = x[0]
    b = c = d = a
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a = max(a, x[i])
        b = max(b, x[i + 1])
        c = max(c, x[i + 2])
        d = max(d, x[i + 3])
    for i in range(whole, x.size):
        a = max(a, x[i])
    return max(max(a, b), max(c, d))


@in_place
def whiten(x: FloatArray, origin: int, frame: FloatArray, farthest: float, out: FloatArray) -> None:
    """out = L^-1 (x - origin) with L L' the prior's covariance, no entry beyond what squares can bear."""
    for i in range(x.size):
        z = (x[i] - frame[origin, i]) / frame[SCALE, i]
        for k in range(i):
            z -= frame[CORRELATION + i, k] * out[k]
        z /= frame[CORRELATION + i, i]
        out[i] = min(max(z, -farthest), farthest)


@in_place
def blend(weight: float, w: FloatArray, keep: FloatArray, share: FloatArray, gain: FloatArray) -> None:
    """Add an observation to each run's weight: the parts of old and new in its mean, and sqrt(w W / W')."""
    for h in range(w.size):
        grown = w[h] + weight
        inverse = 1.0 / grown
        keep[h] = w[h] * inverse
        share[h] = weight * inverse
        gain[h] = math.sqrt(weight * keep[h])
        w[h] = grown


@in_place
def move_mean(
    y: float, mean: FloatArray, keep: FloatArray, share: FloatArray, gain: FloatArray, residual: FloatArray
) -> None:
    """One coordinate: residual = gain (y - mean), then the mean.

    Old and new are weighted, not the old corrected: after an outlier of weight 1e-100 a correction by the
    difference would leave nothing but its rounding.
    """
    for h in range(mean.size):
        residual[h] = gain[h] * (y - mean[h])
        mean[h] = keep[h] * mean[h] + share[h] * y


@in_place
def rotate_pivot(
    pivot: FloatArray, residual: FloatArray, cosine: FloatArray, sine: FloatArray, inverse: FloatArray
) -> None:
    """The rotation that brings a residual into the pivot, and one over the pivot."""
    for h in range(pivot.size):
        inverse[h] = 1.0 / math.sqrt(pivot[h] * pivot[h] + residual[h] * residual[h])
    for h in range(pivot.size):
        cosine[h] = pivot[h] * inverse[h]
        sine[h] = residual[h] * inverse[h]
    for h in range(pivot.size):
        pivot[h] = cosine[h] * pivot[h] + sine[h] * residual[h]


@in_place
def rotate(entry: FloatArray, residual: FloatArray, cosine: FloatArray, sine: FloatArray) -> None:
    """Turn an entry below the pivot with its residual."""
    for h in range(entry.size):
        turned = cosine[h] * entry[h] + sine[h] * residual[h]
        residual[h] = cosine[h] * residual[h] - sine[h] * entry[h]
        entry[h] = turned


@in_place
def solve_pivot(inverse: FloatArray, solved: FloatArray, square: FloatArray) -> None:
    """One entry of a forward substitution, and its square, by one over the pivot."""
    for h in range(inverse.size):
        solved[h] *= inverse[h]
        square[h] += solved[h] * solved[h]


@in_place
def eliminate(entry: FloatArray, pivot_solution: FloatArray, solved: FloatArray) -> None:
    """Forward substitution below a pivot."""
    for h in range(entry.size):
        solved[h] -= entry[h] * pivot_solution[h]


@in_place
def add_product(a: FloatArray, b: FloatArray, out: FloatArray) -> None:
    """out += a b."""
    for h in range(out.size):
        out[h] += a[h] * b[h]


@in_place
def multiply(a: FloatArray, out: FloatArray) -> None:
    """out *= a."""
    for h in range(out.size):
        out[h] *= a[h]


@in_place
def common_weight(
    y: FloatArray,
    runs: FloatArray,
    frame: FloatArray,
    half_degrees: FloatArray,
    outlier_df: float,
    work: FloatArray,
    first: int,
    end: int,
) -> float:
    """Weight of an observation, shared by all runs: the expected Student-t weight under their predictives.

    With g = L^-1 (x - v), u = L^-1 v and h = g + gamma u = L^-1 (x - mu), where L L' = B and gamma = kappa0 /
    kappa, (x - mu)' Psi^-1 (x - mu) = (|h|^2 + c (|g|^2 |u|^2 - (g'u)^2)) / (1 + c |u|^2), and g may be h in
    the bracket.  Whichever is shorter is solved for, so that nothing cancels.
    """
    dimension, live = frame.shape[1], end - first
    w, pull = runs[WEIGHT, first:end], runs[PULL, first:end]
    square, cross, gap = work[SQUARE, :live], work[CROSS, :live], work[BASE, :live]
    near, far, part = work[COSINE, :live], work[SINE, :live], work[SHARE, :live]
    inverse = work[INVERSE, :live]
    square[:], cross[:], gap[:], near[:], far[:] = 0.0, 0.0, 0.0, 0.0, 0.0
    for h in range(live):
        part[h] = w[h] / (w[h] + pull[h])
    for i in range(dimension):
        mean, solved = runs[MEAN + i, first:end], work[RESIDUAL + dimension + i, :live]
        x, origin = y[i], frame[ORIGIN, i]
        for h in range(live):
            solved[h] = mean[h] + origin
        for h in range(live):
            near[h] += (x - mean[h]) ** 2
        for h in range(live):
            far[h] += (x + origin - part[h] * solved[h]) ** 2
    for h in range(live):  # from now on how much of u is to be added to what is solved for
        far[h] = 1.0 - part[h] if near[h] < far[h] else 0.0
    for i in range(dimension):
        mean, residual = runs[MEAN + i, first:end], work[RESIDUAL + i, :live]
        x, origin = y[i], frame[ORIGIN, i]
        for h in range(live):
            direct = x - mean[h]
            shrunk = x + origin - part[h] * (mean[h] + origin)
            residual[h] = direct if far[h] > 0.0 else shrunk
    for k in range(dimension):
        residual, solved = work[RESIDUAL + k, :live], work[RESIDUAL + dimension + k, :live]
        pivot = runs[factor_row(dimension, k, k), first:end]
        for h in range(live):
            inverse[h] = 1.0 / pivot[h]
        solve_pivot(inverse, residual, square)
        solve_pivot(inverse, solved, gap)
        add_product(residual, solved, cross)
        for i in range(k + 1, dimension):
            entry = runs[factor_row(dimension, i, k), first:end]
            eliminate(entry, residual, work[RESIDUAL + i, :live])
            eliminate(entry, solved, work[RESIDUAL + dimension + i, :live])
    for h in range(live):
        near[h] = square[h] * gap[h] - cross[h] * cross[h]
    for h in range(live):
        square[h] += far[h] * (2.0 * cross[h] + far[h] * gap[h])
    for h in range(live):
        c = pull[h] * part[h]
        square[h] = (square[h] + c * near[h]) / (1.0 + c * gap[h])
    for h in range(live):
        kappa = w[h] + pull[h]
        square[h] *= kappa / (kappa + 1.0) * (2.0 * half_degrees[h] - (dimension - 1.0))
    for h in range(live):
        square[h] = (outlier_df + dimension) / (outlier_df + square[h])
    multiply(runs[PROBABILITY, first:end], square)
    return serial_sum(square)


@in_place
def absorb(
    y: FloatArray, weight: float, runs: FloatArray, frame: FloatArray, work: FloatArray, first: int, end: int
) -> None:
    """Update every run with an observation; leave the factor's determinant and v'B^-1 v in the workspace."""
    dimension, live = frame.shape[1], end - first
    keep, share, gain = work[KEEP, :live], work[SHARE, :live], work[GAIN, :live]
    cosine, sine, inverse = work[COSINE, :live], work[SINE, :live], work[INVERSE, :live]
    square, pivots = work[SQUARE, :live], work[PIVOTS, :live]
    square[:], pivots[:] = 0.0, 1.0
    blend(weight, runs[WEIGHT, first:end], keep, share, gain)
    for i in range(dimension):
        mean, solved = runs[MEAN + i, first:end], work[RESIDUAL + dimension + i, :live]
        move_mean(y[i], mean, keep, share, gain, work[RESIDUAL + i, :live])
        origin = frame[ORIGIN, i]
        for h in range(live):
            solved[h] = mean[h] + origin
    for k in range(dimension):
        pivot, solved = (
            runs[factor_row(dimension, k, k), first:end],
            work[RESIDUAL + dimension + k, :live],
        )
        rotate_pivot(pivot, work[RESIDUAL + k, :live], cosine, sine, inverse)
        multiply(pivot, pivots)
        solve_pivot(inverse, solved, square)
        for i in range(k + 1, dimension):
            entry = runs[factor_row(dimension, i, k), first:end]
            rotate(entry, work[RESIDUAL + i, :live], cosine, sine)
            eliminate(entry, solved, work[RESIDUAL + dimension + i, :live])


@in_place
def log_weights(
    w: FloatArray,
    pull: FloatArray,
    square: FloatArray,
    pivots: FloatArray,
    normaliser: FloatArray,
    half_degrees: FloatArray,
    precision: FloatArray,
    half_dimension: float,
    out: FloatArray,
) -> None:
    """Log likelihood of each run up to what all runs share."""
    for h in range(w.size):
        gap = 1.0 + pull[h] * w[h] / (w[h] + pull[h]) * square[h]
        pivots[h] = pivots[h] * pivots[h] * precision[h] * gap  # |Psi / nu|
    for h in range(w.size):
        out[h] = normaliser[h] - half_degrees[h] * log(pivots[h])
    for h in range(w.size):
        out[h] -= half_dimension * log(w[h] + pull[h])


@in_place
def weigh(
    runs: FloatArray,
    hazards: FloatArray,
    scalars: FloatArray,
    anchors: int,
    length: FloatArray,
    work: FloatArray,
    levels: int,
    first: int,
    end: int,
) -> None:
    """Posterior over runs and hazards from the log likelihoods of the runs; the newborn is not among them."""
    live, candidates = end - first, hazards.shape[1]
    base, probability = work[BASE, :live], runs[PROBABILITY, first:end]
    for m in range(candidates):
        level, anchor = work[levels + m, :live], runs[anchors + m, first:end]
        survival = hazards[LOG_SURVIVAL, m]
        for h in range(live):
            level[h] = base[h] + anchor[h] + survival * length[h]
        top = largest(level)
        for h in range(live):
            level[h] = exp(max(level[h] - top, NEGLIGIBLE))
        mass = serial_sum(level)
        hazards[LOG_EVIDENCE, m] = top + log(mass) - survival
        hazards[MASS, m] = mass
    evidence = log_total(hazards[LOG_EVIDENCE])
    scalars[EVIDENCE] = evidence
    probability[:] = 0.0
    for m in range(candidates):
        level = work[levels + m, :live]
        posterior = exp(hazards[LOG_EVIDENCE, m] - evidence)
        if posterior < SMALLEST_SHARE:
            continue
        scale = posterior * (1.0 - hazards[HAZARD, m]) / hazards[MASS, m]
        for h in range(live):
            probability[h] += scale * level[h]


@in_place
def log_total(x: FloatArray) -> float:
    """log sum exp of a few numbers."""
    top = largest(x)
    if x.size == 1:
        return top
    mass = 0.0
    for value in x:
        mass += exp(value - top)
    return top + log(mass)


@in_place
def hazard_probabilities(hazards: FloatArray, evidence: float, out: FloatArray) -> None:
    """Posterior of each hazard, summed over runs; the prior before detection."""
    for m in range(out.size):
        out[m] = exp(hazards[LOG_EVIDENCE, m] - evidence)
