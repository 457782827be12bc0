"""The compiled step of the run-length posterior: one observation of one series, and reductions of a panel.

Layout: a series' runs lie side by side in the order of their birth, oldest first, in positions
``first <= p < end`` of its block; the run at p has length ``end - 1 - p`` and the last one is the newborn.
So an observation shifts nothing.  When the block is full the live runs move to its front, once in as many
observations as there are runs.
"""

from __future__ import annotations

import math

from stream_allocator.regime.likelihood import FARTHEST, FloatArray, IntArray, compiled, exp, log

# Rows of a series' block
MEAN, RATE, STRENGTH, ANCHOR, PROBABILITY = 0, 1, 2, 3, 4
ROWS = 5
# Columns of the integers and floats kept for each series
FIRST, END, COUNT, DETECTING, SINCE_REBASE = 0, 1, 2, 3, 4
COUNTERS = 5
LOCATION, SCALE, EVIDENCE, EVIDENCE_BASE = 0, 1, 2, 3
SCALARS = 4
# Entries of the settings that kernels read
HAZARD, MAX_RUN, WARMUP, KAPPA0, ALPHA0, OUTLIER_DF = 0, 1, 2, 3, 4, 5
# Log weights are brought back to zero this often: their size bounds the rounding error.
REBASE_EVERY = 256
# A smaller scale than this counts as no spread at all.
SMALLEST_SCALE = 1e-300


@compiled
def start_runs(runs: FloatArray, counters: IntArray, scalars: FloatArray, settings: FloatArray) -> None:
    """Put a series at its beginning: one run of length 0, certain, without evidence."""
    runs[:] = 0.0
    runs[RATE, 0] = settings[ALPHA0]
    runs[STRENGTH, 0] = settings[KAPPA0]
    runs[PROBABILITY, 0] = 1.0
    counters[FIRST] = 0
    counters[END] = 1
    counters[SINCE_REBASE] = 0
    scalars[EVIDENCE] = 0.0
    scalars[EVIDENCE_BASE] = 0.0


@compiled
def common_weight(
    z: float,
    mean: FloatArray,
    rate: FloatArray,
    strength: FloatArray,
    probability: FloatArray,
    shape: FloatArray,
    outlier_df: float,
) -> float:
    """Weight of an observation, shared by all runs: the expected Student-t weight under their predictives."""
    weight = 0.0
    for i in range(mean.size):
        d = z - mean[i]
        square = d * d * shape[i] * strength[i] / (rate[i] * (1.0 + strength[i]))
        weight += probability[i] * (outlier_df + 1.0) / (outlier_df + square)
    return weight


@compiled
def absorb(
    z: float,
    weight: float,
    mean: FloatArray,
    rate: FloatArray,
    strength: FloatArray,
    anchor: FloatArray,
    level: FloatArray,
    normaliser: FloatArray,
    shape: FloatArray,
) -> None:
    """Update every run with an observation (Welford) and set its log weight."""
    for i in range(mean.size):
        d = z - mean[i]
        k = strength[i] + weight
        gain = weight * d / k
        rate[i] += 0.5 * strength[i] * gain * d
        mean[i] += gain
        strength[i] = k
    for i in range(mean.size):
        level[i] = normaliser[i] - shape[i] * log(rate[i])
    for i in range(mean.size):
        level[i] = (level[i] - 0.5 * log(strength[i])) + anchor[i]


@compiled
def largest(x: FloatArray) -> float:
    """Maximum of a non-empty array; four chains, so that the processor need not wait for one."""
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


@compiled
def total(x: FloatArray) -> float:
    """Sum in a fixed order, in four chains."""
    a = b = c = d = 0.0
    whole = x.size // 4 * 4
    for i in range(0, whole, 4):
        a += x[i]
        b += x[i + 1]
        c += x[i + 2]
        d += x[i + 3]
    for i in range(whole, x.size):
        a += x[i]
    return (a + b) + (c + d)


@compiled
def exponentiate(level: FloatArray, top: float) -> None:
    """Replace log weights by weights, the largest of which is one."""
    for i in range(level.size):
        level[i] = exp(level[i] - top)


@compiled
def merge_oldest(
    runs: FloatArray, old: int, evidence: float, normaliser: FloatArray, shape: FloatArray
) -> None:
    """Merge the run that has outgrown the cap into the next, which has just reached it.

    The masses are added, mean and variance become those of the mixture, shape and strength stay those of a
    run at the cap: a run older than the cap forgets what lies further back.  The anchor makes the merged
    run's log weight that of the sum.
    """
    young = old + 1
    mass = runs[PROBABILITY, old] + runs[PROBABILITY, young]
    share = runs[PROBABILITY, old] / mass if mass > 0.0 else 0.0
    variance = runs[RATE, young] / shape[1]
    variance += share * (runs[RATE, old] / shape[0] - variance)
    runs[MEAN, young] += share * (runs[MEAN, old] - runs[MEAN, young])
    runs[RATE, young] = variance * shape[1]
    own = normaliser[1] - shape[1] * math.log(runs[RATE, young]) - 0.5 * math.log(runs[STRENGTH, young])
    runs[ANCHOR, young] = (math.log(mass) if mass > 0.0 else -math.inf) + evidence - own
    runs[PROBABILITY, young] = mass


@compiled
def rebase(runs: FloatArray, counters: IntArray, scalars: FloatArray) -> None:
    """Measure log weights from the present evidence, which moves into the base."""
    evidence = scalars[EVIDENCE]
    for p in range(counters[FIRST], counters[END]):
        runs[ANCHOR, p] -= evidence
    scalars[EVIDENCE_BASE] += evidence
    scalars[EVIDENCE] = 0.0
    counters[SINCE_REBASE] = 0


@compiled
def observe(
    z: float,
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    settings: FloatArray,
    normaliser: FloatArray,
    shape: FloatArray,
) -> None:
    """One standardised observation of one series."""
    first, end = counters[FIRST], counters[END]
    live, size = end - first, normaliser.size
    hazard = settings[HAZARD]
    weight = 1.0
    if settings[OUTLIER_DF] < math.inf:
        weight = common_weight(
            z,
            runs[MEAN, first:end],
            runs[RATE, first:end],
            runs[STRENGTH, first:end],
            runs[PROBABILITY, first:end],
            shape[size - live :],
            settings[OUTLIER_DF],
        )
        scalars[EVIDENCE_BASE] += 0.5 * math.log(weight)
    level = runs[PROBABILITY, first:end]
    absorb(
        z,
        weight,
        runs[MEAN, first:end],
        runs[RATE, first:end],
        runs[STRENGTH, first:end],
        runs[ANCHOR, first:end],
        level,
        normaliser[size - 1 - live : size - 1],
        shape[size - 1 - live : size - 1],
    )
    top = largest(level)
    exponentiate(level, top)
    mass = total(level)
    scale = (1.0 - hazard) / mass
    for i in range(live):
        level[i] *= scale
    evidence = top + math.log(mass) - math.log1p(-hazard)
    scalars[EVIDENCE] = evidence
    if live == size - 1:
        merge_oldest(runs, first, evidence, normaliser, shape)
        first += 1
    if end == runs.shape[1]:
        for row in range(ROWS):
            for p in range(first, end):
                runs[row, p - first] = runs[row, p]
        end -= first
        first = 0
    runs[MEAN, end] = 0.0
    runs[RATE, end] = settings[ALPHA0]
    runs[STRENGTH, end] = settings[KAPPA0]
    runs[ANCHOR, end] = evidence + math.log(hazard)
    runs[PROBABILITY, end] = hazard
    counters[FIRST] = first
    counters[END] = end + 1
    counters[SINCE_REBASE] += 1
    if counters[SINCE_REBASE] >= REBASE_EVERY:
        rebase(runs, counters, scalars)


@compiled
def standardise(x: float, scalars: FloatArray) -> float:
    """An observation in prior scales from the prior location, as far away as a square can bear."""
    z: float = (x - scalars[LOCATION]) / scalars[SCALE]
    return min(max(z, -FARTHEST), FARTHEST)


@compiled
def sample_moments(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation (divisor n - 1) without overflow; (mean, 0) of a constant or one value."""
    mean = 0.0
    for x in values:
        mean += x / values.size
    low, high = values.min(), values.max()
    reach = max(high - mean, mean - low)
    if values.size < 2 or not high > low or not 0.0 < reach < math.inf:
        return mean, 0.0
    squares = 0.0
    for x in values:
        squares += ((x - mean) / reach) ** 2
    return mean, reach * math.sqrt(squares / (values.size - 1))


@compiled
def warm_up(
    x: float,
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    normaliser: FloatArray,
    shape: FloatArray,
) -> None:
    """Keep an observation; once there are enough and they differ, set the prior by them and filter them."""
    length = recent.size
    recent[(counters[COUNT] - 1) % length] = x
    if counters[COUNT] < length:
        return
    location, scale = sample_moments(recent)
    if not scale > SMALLEST_SCALE:
        return  # a constant has no scale; go on with the latest observations until they differ
    scalars[LOCATION] = location
    scalars[SCALE] = scale
    counters[DETECTING] = 1
    start_runs(runs, counters, scalars, settings)
    for i in range(length):
        z = standardise(recent[(counters[COUNT] + i) % length], scalars)
        observe(z, runs, counters, scalars, settings, normaliser, shape)
    rebase(runs, counters, scalars)
    scalars[EVIDENCE_BASE] = 0.0


@compiled
def update_panel(
    values: FloatArray,
    index: IntArray,
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    normaliser: FloatArray,
    shape: FloatArray,
) -> None:
    """One tick of the named series; what is not finite is missing and leaves its series as it was."""
    for i in range(values.size):
        x = values[i]
        if not math.isfinite(x):
            continue
        j = index[i]
        counters[j, COUNT] += 1
        if counters[j, DETECTING] == 0:
            warm_up(x, runs[j], counters[j], scalars[j], recent[j], settings, normaliser, shape)
        else:
            z = standardise(x, scalars[j])
            observe(z, runs[j], counters[j], scalars[j], settings, normaliser, shape)
            scalars[j, EVIDENCE_BASE] -= math.log(scalars[j, SCALE])
