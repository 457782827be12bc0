"""One observation of the multivariate run-length posterior: warm-up, update, merge at the cap, birth."""

from __future__ import annotations

import math

from stream_allocator.regime.elementary import (
    FloatArray,
    IntArray,
    compiled,
    exp,
    in_place,
    log,
)
from stream_allocator.regime.multivariate_kernel import (
    BASE,
    CORRELATION,
    COUNT,
    DEGREES0,
    DETECTING,
    END,
    EVIDENCE,
    EVIDENCE_BASE,
    FARTHEST,
    FILTERED,
    FIRST,
    HALF_DEGREES,
    HAZARD,
    KAPPA0,
    LENGTH,
    LOCATION,
    LOG_EVIDENCE,
    LOG_HAZARD,
    LOG_PRIOR,
    LOG_SURVIVAL,
    LOG_VOLUME,
    MEAN,
    NORMALISER,
    ORIGIN,
    OUTLIER_DF,
    PIVOTS,
    PRECISION,
    PROBABILITY,
    PULL,
    REFERENCE,
    RESIDUAL,
    SCALE,
    SINCE_REBASE,
    SQUARE,
    WEIGHT,
    absorb,
    anchor_row,
    common_weight,
    factor_row,
    log_weights,
    weigh,
    whiten,
)
from stream_allocator.regime.multivariate_prior import sample_frame

# Log weights are brought back to zero this often: their size bounds the rounding error.
REBASE_EVERY = 256
# Observations are measured from one of them once the segment's mean lies this many prior scales away.
REFERENCE_REACH = 16.0
# An observation's evidence in each coordinate that is left out of the tables: then log weights stay small.
LOG_2_PI_E = 2.8378770664093453


@in_place
def bear(runs: FloatArray, counters: IntArray, frame: FloatArray, settings: FloatArray) -> None:
    """Append a run without observations.  Its anchors and its probability are the caller's to set."""
    dimension, p = frame.shape[1], counters[END]
    runs[:, p] = 0.0
    runs[PULL, p] = settings[KAPPA0]
    for i in range(dimension):
        runs[factor_row(dimension, i, i), p] = math.sqrt(settings[DEGREES0])
    counters[END] = p + 1


@in_place
def start_runs(
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    hazards: FloatArray,
    frame: FloatArray,
    settings: FloatArray,
) -> None:
    """Put the filter at its beginning: one run of length 0, certain, and the hazards as their prior."""
    counters[FIRST] = 0
    counters[END] = 0
    counters[FILTERED] = 0
    counters[SINCE_REBASE] = 0
    scalars[EVIDENCE] = 0.0
    scalars[EVIDENCE_BASE] = 0.0
    bear(runs, counters, frame, settings)
    anchors = anchor_row(frame.shape[1])
    for m in range(hazards.shape[1]):
        hazards[LOG_EVIDENCE, m] = hazards[LOG_PRIOR, m]
        runs[anchors + m, 0] = hazards[LOG_PRIOR, m]
    runs[PROBABILITY, 0] = 1.0


@in_place
def add_to_factor(runs: FloatArray, p: int, dimension: int, z: FloatArray) -> None:
    """The factor of B + z z' for the run at p; z is used up."""
    for k in range(dimension):
        row = factor_row(dimension, k, k)
        pivot = runs[row, p]
        root = math.sqrt(pivot * pivot + z[k] * z[k])
        if root == 0.0:
            continue  # an empty column, of a run whose share in a merger is none
        cosine, sine = pivot / root, z[k] / root
        runs[row, p] = root
        for i in range(k + 1, dimension):
            row = factor_row(dimension, i, k)
            turned = cosine * runs[row, p] + sine * z[i]
            z[i] = cosine * z[i] - sine * runs[row, p]
            runs[row, p] = turned


@in_place
def settle(runs: FloatArray, p: int, frame: FloatArray, z: FloatArray) -> None:
    """Let the run at p take the prior's mean as data of its own: then v = mu, W = kappa and Psi = B."""
    dimension = frame.shape[1]
    w, pull = runs[WEIGHT, p], runs[PULL, p]
    kappa = w + pull
    for i in range(dimension):
        z[i] = math.sqrt(pull * w / kappa) * (runs[MEAN + i, p] + frame[ORIGIN, i])
        runs[MEAN + i, p] = w / kappa * runs[MEAN + i, p] - pull / kappa * frame[ORIGIN, i]
    add_to_factor(runs, p, dimension, z)
    runs[WEIGHT, p] = kappa
    runs[PULL, p] = 0.0


@in_place
def merge_oldest(
    runs: FloatArray, old: int, frame: FloatArray, hazards: FloatArray, tables: FloatArray, work: FloatArray
) -> None:
    """Merge the run that has outgrown the cap into the next, which has just reached it.

    The masses are added for each hazard; mean and covariance become those of the mixture, over hazards too;
    strength and degrees of freedom stay those of a run at the cap: a run older than the cap forgets what lies
    further back.  The anchors make the merged run's log weights those of the sums.
    """
    young, dimension = old + 1, frame.shape[1]
    mass = runs[PROBABILITY, old] + runs[PROBABILITY, young]
    share = runs[PROBABILITY, old] / mass if mass > 0.0 else 0.0
    z = work[RESIDUAL, :dimension]
    settle(runs, old, frame, z)
    settle(runs, young, frame, z)
    own, other = math.sqrt(1.0 - share), math.sqrt(share * tables[HALF_DEGREES, 1] / tables[HALF_DEGREES, 0])
    for i in range(dimension):
        runs[MEAN + i, young] += share * (runs[MEAN + i, old] - runs[MEAN + i, young])
        for k in range(i + 1):
            runs[factor_row(dimension, i, k), young] *= own
    for k in range(dimension):
        z[:] = 0.0
        for i in range(k, dimension):
            z[i] = other * runs[factor_row(dimension, i, k), old]
        add_to_factor(runs, young, dimension, z)
    runs[PROBABILITY, young] = mass
    volume = 1.0
    for k in range(dimension):
        volume *= runs[factor_row(dimension, k, k), young]
    base = tables[NORMALISER, 1] - tables[HALF_DEGREES, 1] * log(volume * volume * tables[PRECISION, 1])
    base -= 0.5 * dimension * log(runs[WEIGHT, young])
    anchors = anchor_row(dimension)
    for m in range(hazards.shape[1]):
        row = anchors + m
        a = work[BASE, 0] + runs[row, old] + hazards[LOG_SURVIVAL, m]
        b = work[BASE, 1] + runs[row, young]
        runs[row, young] = max(a, b) + log(1.0 + exp(-abs(a - b))) - base


@in_place
def rebase(
    runs: FloatArray, counters: IntArray, scalars: FloatArray, hazards: FloatArray, dimension: int
) -> None:
    """Measure log weights from the present evidence, which moves into the base."""
    evidence = scalars[EVIDENCE]
    for row in range(anchor_row(dimension), runs.shape[0]):
        for p in range(counters[FIRST], counters[END]):
            runs[row, p] -= evidence
    for m in range(hazards.shape[1]):
        hazards[LOG_EVIDENCE, m] -= evidence
    scalars[EVIDENCE_BASE] += evidence
    scalars[EVIDENCE] = 0.0
    counters[SINCE_REBASE] = 0


@in_place
def move_reference(
    x: FloatArray,
    y: FloatArray,
    runs: FloatArray,
    counters: IntArray,
    frame: FloatArray,
    farthest: float,
) -> None:
    """Measure from the observation x, at y, if the most probable run's mean has moved that far.

    What is near a segment is then measured without the rounding of its distance from the prior.
    """
    dimension, first, newborn = frame.shape[1], counters[FIRST], counters[END] - 1
    best = first
    for p in range(first + 1, newborn):
        if runs[PROBABILITY, p] > runs[PROBABILITY, best]:
            best = p
    faith = runs[WEIGHT, best] / (runs[WEIGHT, best] + runs[PULL, best])
    reach = 0.0
    for i in range(dimension):
        reach = max(reach, faith * abs(runs[MEAN + i, best]))
        if not abs(y[i]) < farthest:
            return
    if reach < REFERENCE_REACH:
        return
    for i in range(dimension):
        for p in range(first, newborn):
            runs[MEAN + i, p] -= y[i]
        frame[REFERENCE, i] = x[i]
    whiten(x, LOCATION, frame, farthest, frame[ORIGIN])


@in_place
def observe(
    x: FloatArray,
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    hazards: FloatArray,
    frame: FloatArray,
    settings: FloatArray,
    tables: FloatArray,
    work: FloatArray,
) -> None:
    """One observation; one with anything not finite is missing and leaves all as it was."""
    for value in x:
        if not math.isfinite(value):
            return
    dimension, candidates = frame.shape[1], hazards.shape[1]
    first, end = counters[FIRST], counters[END]
    live, size = end - first, tables.shape[1]
    levels = RESIDUAL + 2 * dimension
    anchors = anchor_row(dimension)
    y = work[levels + candidates, :dimension]
    whiten(x, REFERENCE, frame, settings[FARTHEST], y)
    weight = 1.0
    if settings[OUTLIER_DF] < math.inf:
        weight = common_weight(
            y, runs, frame, tables[HALF_DEGREES, size - live :], settings[OUTLIER_DF], work, first, end
        )
        scalars[EVIDENCE_BASE] += 0.5 * dimension * log(weight)
    absorb(y, weight, runs, frame, work, first, end)
    log_weights(
        runs[WEIGHT, first:end],
        runs[PULL, first:end],
        work[SQUARE, :live],
        work[PIVOTS, :live],
        tables[NORMALISER, size - 1 - live : size - 1],
        tables[HALF_DEGREES, size - 1 - live : size - 1],
        tables[PRECISION, size - 1 - live : size - 1],
        0.5 * dimension,
        work[BASE, :live],
    )
    weigh(
        runs, hazards, scalars, anchors, tables[LENGTH, size - 1 - live : size - 1], work, levels, first, end
    )
    if live == size - 1:
        merge_oldest(runs, first, frame, hazards, tables, work)
        first += 1
    if end == runs.shape[1]:
        for row in range(runs.shape[0]):
            for p in range(first, end):
                runs[row, p - first] = runs[row, p]
        end -= first
        first = 0
    counters[FIRST] = first
    counters[END] = end
    bear(runs, counters, frame, settings)
    for m in range(candidates):
        log_evidence = hazards[LOG_EVIDENCE, m]
        runs[anchors + m, end] = log_evidence + hazards[LOG_HAZARD, m]
        runs[PROBABILITY, end] += exp(log_evidence - scalars[EVIDENCE]) * hazards[HAZARD, m]
    for i in range(dimension):
        if abs(y[i]) > REFERENCE_REACH:
            move_reference(x, y, runs, counters, frame, settings[FARTHEST])
            break
    counters[COUNT] += 1
    counters[FILTERED] += 1
    counters[SINCE_REBASE] += 1
    if counters[SINCE_REBASE] >= REBASE_EVERY:
        rebase(runs, counters, scalars, hazards, dimension)


@in_place
def set_prior(
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    hazards: FloatArray,
    frame: FloatArray,
    settings: FloatArray,
) -> None:
    """Begin to detect, with the frame's location and covariance as prior."""
    volume = 0.5 * LOG_2_PI_E * frame.shape[1]
    for i in range(frame.shape[1]):
        frame[REFERENCE, i] = frame[LOCATION, i]
        frame[ORIGIN, i] = 0.0
        volume += log(frame[SCALE, i]) + log(frame[CORRELATION + i, i])
    scalars[LOG_VOLUME] = volume
    counters[DETECTING] = 1
    start_runs(runs, counters, scalars, hazards, frame, settings)


@compiled
def warm_up(x: FloatArray, counters: IntArray, recent: FloatArray, frame: FloatArray) -> bool:
    """Keep an observation; whether the latest ones now have a mean and covariance to be the prior."""
    for value in x:
        if not math.isfinite(value):
            return False
    length = recent.shape[0]
    for i in range(x.size):
        recent[counters[COUNT] % length, i] = x[i]
    counters[COUNT] += 1
    return bool(counters[COUNT] >= length) and sample_frame(recent, frame)
