"""The compiled step of the run-length posterior: one observation of one series.

Layout: a series' runs lie side by side in the order of their birth, oldest first, in positions
``first <= p < end`` of its block; the run at p has length ``end - 1 - p`` and the last one is the newborn.
So an observation shifts nothing.  When the block is full the live runs move to its front.  Before ``first``
lie dead runs, with anchor minus infinity: loops work on whole vectors and may touch some of them.

A run's weight is relative to that of the run born in the step before; times SHARE it is a probability.
"""

from __future__ import annotations

import math

import numpy as np

from stream_allocator.regime.elementary import FloatArray, IntArray, fma, in_place, log2
from stream_allocator.regime.likelihood import NORMALISER, PRECISION, SHAPE, VECTOR
from stream_allocator.regime.passes import (
    ANCHOR,
    MEAN,
    RATE,
    RATE_REST,
    ROWS,
    STRENGTH,
    WEIGHT,
    absorb,
    absorb_compensated,
    absorb_weighted,
    common_weight,
    total_weight,
    weigh,
    weigh_weighted,
)

# Columns of the integers and floats kept for each series
FIRST, END, COUNT, DETECTING, SINCE_REBASE, FILTERED = 0, 1, 2, 3, 4, 5
COUNTERS = 6
LOCATION, SCALE, EVIDENCE, EVIDENCE_BASE, SHARE = 0, 1, 2, 3, 4
SCALARS = 5
# Entries of the settings that kernels read
HAZARD, MAX_RUN, WARMUP, KAPPA0, ALPHA0, OUTLIER_DF, FARTHEST, BIRTH, START = 0, 1, 2, 3, 4, 5, 6, 7, 8
SETTINGS = 9
# Log weights are brought back to zero this often: their size bounds the rounding error.
REBASE_EVERY = 256
# A block holds this many more runs than can live, so that they move to its front only so often.
SLACK = 64
# The oldest run is dropped when it has less than this weight.  It could come back at most by the odds against
# a change and what it knows better than a newborn: from 1e-36 never to what a double can notice.
NOTHING = 2.0**-120
# With runs longer than this the rounding of the rate is compensated.
LONG_RUN = 256
# A smaller scale than this counts as no spread at all.
SMALLEST_SCALE = 1e-300


@in_place
def bury(runs: FloatArray, j: int, begin: int, end: int, settings: FloatArray) -> None:
    """Put dead runs in a range of positions."""
    for p in range(begin, end):
        runs[j, MEAN, p] = 0.0
        runs[j, RATE, p] = settings[ALPHA0]
        runs[j, STRENGTH, p] = settings[KAPPA0]
        runs[j, ANCHOR, p] = -math.inf
        runs[j, WEIGHT, p] = 0.0
        runs[j, RATE_REST, p] = 0.0


@in_place
def start_runs(
    runs: FloatArray, j: int, counters: IntArray, scalars: FloatArray, settings: FloatArray
) -> None:
    """Put a series at its beginning: one run of length 0, certain, without evidence."""
    bury(runs, j, 0, runs.shape[2], settings)
    runs[j, ANCHOR, VECTOR] = settings[START]
    runs[j, WEIGHT, VECTOR] = 1.0
    counters[j, FIRST] = VECTOR
    counters[j, END] = VECTOR + 1
    counters[j, SINCE_REBASE] = 0
    counters[j, FILTERED] = 0
    scalars[j, EVIDENCE] = 0.0
    scalars[j, EVIDENCE_BASE] = 0.0
    scalars[j, SHARE] = 1.0


@in_place
def own_level(
    runs: FloatArray, j: int, p: int, tables: FloatArray, column: int, settings: FloatArray
) -> float:
    """Log weight of one run less its anchor, in bits; ``column`` is that of its length."""
    variance = log2(runs[j, RATE, p] * tables[PRECISION, column])
    level = fma(-tables[SHAPE, column], variance, tables[NORMALISER, column])
    if settings[OUTLIER_DF] < math.inf:
        level = fma(-0.5, log2(runs[j, STRENGTH, p]), level)
    return level


@in_place
def merge_oldest(
    runs: FloatArray, j: int, old: int, origin: float, tables: FloatArray, settings: FloatArray
) -> None:
    """Merge the run that has outgrown the cap into the next, which has just reached it.

    The masses are added, mean and variance become those of the mixture, shape and strength stay those of a
    run at the cap: a run older than the cap forgets what lies further back.  The anchor makes the merged
    run's log weight that of the sum.
    """
    young = old + 1
    capped = tables.shape[1] - 1 - np.int64(settings[MAX_RUN])  # the column of a run at the cap
    mass = runs[j, WEIGHT, old] + runs[j, WEIGHT, young]
    share = runs[j, WEIGHT, old] / mass
    variance = runs[j, RATE, young] * tables[PRECISION, capped]
    variance += share * (runs[j, RATE, old] * tables[PRECISION, capped - 1] - variance)
    runs[j, MEAN, young] += share * (runs[j, MEAN, old] - runs[j, MEAN, young])
    runs[j, RATE, young] = variance * tables[SHAPE, capped]
    runs[j, RATE_REST, young] = 0.0
    runs[j, ANCHOR, young] = (log2(mass) + origin) - own_level(runs, j, young, tables, capped, settings)
    runs[j, WEIGHT, young] = mass


@in_place
def drop(runs: FloatArray, j: int, p: int) -> None:
    """Let the oldest run die."""
    runs[j, ANCHOR, p] = -math.inf
    runs[j, WEIGHT, p] = 0.0


@in_place
def move_to_front(runs: FloatArray, j: int, first: int, end: int, settings: FloatArray) -> None:
    """Move the live runs to the front of their block, behind a vector of dead ones."""
    for row in range(ROWS):
        for p in range(end - first):
            runs[j, row, VECTOR + p] = runs[j, row, first + p]
    bury(runs, j, 0, VECTOR, settings)


@in_place
def rebase(runs: FloatArray, j: int, counters: IntArray, scalars: FloatArray) -> None:
    """Measure log weights from the present evidence, which moves into the base."""
    evidence = scalars[j, EVIDENCE]
    for p in range(counters[j, FIRST], counters[j, END]):
        runs[j, ANCHOR, p] -= evidence
    scalars[j, EVIDENCE_BASE] += evidence
    scalars[j, EVIDENCE] = 0.0
    counters[j, SINCE_REBASE] = 0


@in_place
def take_in(
    z: float,
    runs: FloatArray,
    j: int,
    end: int,
    live: int,
    scalars: FloatArray,
    settings: FloatArray,
    tables: FloatArray,
    scratch: FloatArray,
) -> float:
    """Update all runs and set their weights; the origin of the weights is returned."""
    size = tables.shape[1]
    series = np.uint64(j)
    width = np.uint64((live + VECTOR - 1) // VECTOR * VECTOR)
    begin = np.uint64(end) - width
    column = np.uint64(size - 1) - width
    if settings[OUTLIER_DF] == math.inf:
        if settings[MAX_RUN] > LONG_RUN:
            absorb_compensated(z, runs, series, begin, width, tables, column, scratch)
        else:
            absorb(z, runs, series, begin, width, tables, column, scratch)
        origin: float = runs[j, ANCHOR, end - 1] + own_level(runs, j, end - 1, tables, size - 2, settings)
        weigh(runs, series, begin, width, tables, column, scratch, origin)
    else:
        before = column + np.uint64(1)
        terms = common_weight(z, settings[OUTLIER_DF], runs, series, begin, width, tables, before, scratch)
        given = scalars[j, SHARE] * terms
        scalars[j, EVIDENCE_BASE] += 0.5 * log2(given)
        absorb_weighted(z, given, runs, series, begin, width, tables, column, scratch)
        origin = runs[j, ANCHOR, end - 1] + own_level(runs, j, end - 1, tables, size - 2, settings)
        weigh_weighted(runs, series, begin, width, tables, column, scratch, origin)
        for p in range(end - np.int64(width), end - live):
            runs[j, WEIGHT, p] = 0.0  # the dead, which have 2^-1022 now, have no say in the next weight
    mass = total_weight(runs, series, begin, width, scratch)
    scalars[j, EVIDENCE] = origin + log2(mass)
    scalars[j, SHARE] = (1.0 - settings[HAZARD]) / mass
    return origin


@in_place
def observe(
    z: float,
    runs: FloatArray,
    j: int,
    counters: IntArray,
    scalars: FloatArray,
    settings: FloatArray,
    tables: FloatArray,
    scratch: FloatArray,
) -> None:
    """One standardised observation of one series."""
    first, end = counters[j, FIRST], counters[j, END]
    origin = take_in(z, runs, j, end, end - first, scalars, settings, tables, scratch)
    while runs[j, WEIGHT, first] < NOTHING and first < end - 1:
        drop(runs, j, first)
        first += 1
    if end - first > settings[MAX_RUN]:
        merge_oldest(runs, j, first, origin, tables, settings)
        drop(runs, j, first)
        first += 1
    if end == runs.shape[2]:
        move_to_front(runs, j, first, end, settings)
        end += VECTOR - first
        first = VECTOR
    runs[j, MEAN, end] = 0.0
    runs[j, RATE, end] = settings[ALPHA0]
    runs[j, STRENGTH, end] = settings[KAPPA0]
    runs[j, RATE_REST, end] = 0.0
    runs[j, ANCHOR, end] = scalars[j, EVIDENCE] + settings[BIRTH]
    runs[j, WEIGHT, end] = settings[HAZARD] / scalars[j, SHARE]
    counters[j, FIRST] = first
    counters[j, END] = end + 1
    counters[j, FILTERED] += 1
    counters[j, SINCE_REBASE] += 1
    if counters[j, SINCE_REBASE] >= REBASE_EVERY:
        rebase(runs, j, counters, scalars)


@in_place
def standardise(x: float, j: int, scalars: FloatArray, settings: FloatArray) -> float:
    """An observation in prior scales from the prior location, as far away as a square can bear."""
    z: float = (x - scalars[j, LOCATION]) / scalars[j, SCALE]
    farthest: float = settings[FARTHEST]
    return min(max(z, -farthest), farthest)


@in_place
def sample_moments(values: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation (divisor n - 1) without overflow; (mean, 0) of a constant or one value."""
    mean = 0.0
    for x in values:
        mean += x / values.size
    low, high = values[0], values[0]
    for x in values:
        low, high = min(low, x), max(high, x)
    reach = max(high - mean, mean - low)
    if values.size < 2 or not high > low or not 0.0 < reach < math.inf:
        return mean, 0.0
    squares = 0.0
    for x in values:
        squares += ((x - mean) / reach) ** 2
    return mean, reach * math.sqrt(squares / (values.size - 1))


@in_place
def warm_up(
    x: float,
    runs: FloatArray,
    j: int,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    tables: FloatArray,
    scratch: FloatArray,
) -> None:
    """Keep an observation; once there are enough and they differ, set the prior by them and filter them."""
    length = recent.shape[1]
    recent[j, (counters[j, COUNT] - 1) % length] = x
    if counters[j, COUNT] < length:
        return
    location, scale = sample_moments(recent[j])
    if not scale > SMALLEST_SCALE:
        return  # a constant has no scale; go on with the latest observations until they differ
    scalars[j, LOCATION] = location
    scalars[j, SCALE] = scale
    counters[j, DETECTING] = 1
    start_runs(runs, j, counters, scalars, settings)
    for i in range(length):
        z = standardise(recent[j, (counters[j, COUNT] + i) % length], j, scalars, settings)
        observe(z, runs, j, counters, scalars, settings, tables, scratch)
    rebase(runs, j, counters, scalars)
    scalars[j, EVIDENCE_BASE] = 0.0
    counters[j, FILTERED] = 0


@in_place
def update_panel(
    values: FloatArray,
    index: IntArray,
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    tables: FloatArray,
    scratch: FloatArray,
) -> None:
    """One tick of the named series; what is not finite is missing and leaves its series as it was."""
    for i in range(values.size):
        x, j = values[i], index[i]
        if not math.isfinite(x):
            continue
        counters[j, COUNT] += 1
        if counters[j, DETECTING] == 0:
            warm_up(x, runs, j, counters, scalars, recent, settings, tables, scratch)
        else:
            z = standardise(x, j, scalars, settings)
            observe(z, runs, j, counters, scalars, settings, tables, scratch)
