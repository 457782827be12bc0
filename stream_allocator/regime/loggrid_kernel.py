"""The compiled step of the run-length posterior on a logarithmic grid: one observation of one series."""

from __future__ import annotations

import math

import numpy as np

from stream_allocator.regime.elementary import (
    FloatArray,
    IntArray,
    binary_exponent,
    bits_of,
    exp2,
    float_of,
    fma,
    in_place,
    inlined,
    log2,
    log2_of,
)
from stream_allocator.regime.kernel import (
    ALPHA0,
    BIRTH,
    COUNT,
    DETECTING,
    EVIDENCE,
    EVIDENCE_BASE,
    FILTERED,
    HAZARD,
    KAPPA0,
    LOCATION,
    MAX_RUN,
    REBASE_EVERY,
    SCALE,
    SHARE,
    SINCE_REBASE,
    SMALLEST_SCALE,
    sample_moments,
    standardise,
)
from stream_allocator.regime.loggrid_rings import (
    ANCHOR,
    CLOCK,
    MEAN,
    RATE,
    RING,
    RINGS,
    USED,
    WEIGHT,
    make_room,
    merge_oldest,
    rebase,
    shed_oldest,
    slot_of,
    start_grid,
)

# Rows of the scratch
RATIO, EXPONENT, LEVEL = 0, 1, 2
SCRATCH = 3
# The oldest run is dropped when it has less than this weight; long before that it still has a say in which of
# two runs is the heavier.
NOTHING = 2.0**-240
# Loops go over a multiple of so many slots.
GROUP = np.uint64(8)


@in_place
def look_up(
    births: IntArray, j: np.uint64, width: np.uint64, table: FloatArray, clock: int, scratch: FloatArray
) -> None:
    """What every run will owe to its length; in a loop of its own, since it cannot be vectorised.

    It is read last: the processor would have to wait for it if it were read at once.
    """
    next_clock = np.uint64(clock + 1)
    for i in range(width):
        scratch[LEVEL, i] = table[next_clock - np.uint64(births[j, i])]


@inlined
def as_float(n: int) -> float:
    """An integer in [0, 2^52) as a float, with instructions that every processor has for vectors."""
    return float_of(n | np.int64(0x4330000000000000)) - 4503599627370496.0


@in_place
def absorb(
    z: float,
    runs: FloatArray,
    births: IntArray,
    j: np.uint64,
    width: np.uint64,
    clock: int,
    kappa0: float,
    scratch: FloatArray,
) -> None:
    """Update every run (Welford); begin the logarithm of its rate times strength.

    That product needs no quotient, so one division serves both the logarithm and the gain 1 / strength.
    """
    for i in range(width):
        strength = kappa0 + as_float(clock - births[j, i])
        grown = strength + 1.0
        d = z - runs[j, MEAN, i]
        product = fma(0.5 * strength * d, d, runs[j, RATE, i] * grown)
        shifted = bits_of(product) + np.int64(0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
        m = float_of((shifted & np.int64(0x000FFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD))
        above = m + 1.0
        quotient = 1.0 / (above * grown)
        gain = above * quotient
        scratch[RATIO, i] = (m - 1.0) * (grown * quotient)
        scratch[EXPONENT, i] = binary_exponent(product)
        runs[j, MEAN, i] = fma(d, gain, runs[j, MEAN, i])
        runs[j, RATE, i] = product * gain


@in_place
def weigh(
    runs: FloatArray,
    births: IntArray,
    j: np.uint64,
    width: np.uint64,
    clock: int,
    shape0: float,
    origin: float,
    scratch: FloatArray,
) -> None:
    """Every run's weight: two to the power of its log weight less the origin."""
    for i in range(width):
        rate = log2_of(scratch[RATIO, i], scratch[EXPONENT, i])
        shape = fma(0.5, as_float(clock - births[j, i]), shape0)
        scratch[RATIO, i] = fma(-shape, rate, scratch[LEVEL, i]) + (runs[j, ANCHOR, i] - origin)
    for i in range(width):
        runs[j, WEIGHT, i] = exp2(scratch[RATIO, i])


@in_place
def total_weight(runs: FloatArray, j: np.uint64, width: np.uint64) -> float:
    """Sum of the weights, in eight chains, so that the order does not depend on the vector width."""
    a = b = c = d = e = f = g = h = 0.0
    i = np.uint64(0)
    while i < width:
        a += runs[j, WEIGHT, i]
        b += runs[j, WEIGHT, i + np.uint64(1)]
        c += runs[j, WEIGHT, i + np.uint64(2)]
        d += runs[j, WEIGHT, i + np.uint64(3)]
        e += runs[j, WEIGHT, i + np.uint64(4)]
        f += runs[j, WEIGHT, i + np.uint64(5)]
        g += runs[j, WEIGHT, i + np.uint64(6)]
        h += runs[j, WEIGHT, i + np.uint64(7)]
        i += GROUP
    return ((a + e) + (b + f)) + ((c + g) + (d + h))


@in_place
def take_in(
    z: float,
    runs: FloatArray,
    births: IntArray,
    j: int,
    counters: IntArray,
    scalars: FloatArray,
    settings: FloatArray,
    table: FloatArray,
    scratch: FloatArray,
) -> float:
    """Update all runs and set their weights; the origin of the weights is returned."""
    series = np.uint64(j)
    width = min(
        (np.uint64(counters[j, USED]) * np.uint64(settings[RING]) + GROUP - np.uint64(1)) // GROUP * GROUP,
        np.uint64(runs.shape[2]),
    )
    newborn = slot_of(counters, j, 0, counters[j, RINGS + 1] - 1, settings)
    clock = counters[j, CLOCK]
    look_up(births, series, width, table, clock, scratch)
    absorb(z, runs, births, series, width, clock, settings[KAPPA0], scratch)
    shape0 = settings[ALPHA0] + 0.5
    rate = log2_of(scratch[RATIO, newborn], scratch[EXPONENT, newborn])
    origin: float = runs[j, ANCHOR, newborn] + fma(-shape0, rate, scratch[LEVEL, newborn])
    weigh(runs, births, series, width, clock, shape0, origin, scratch)
    mass = total_weight(runs, series, width)
    scalars[j, EVIDENCE] = origin + log2(mass)
    scalars[j, SHARE] = (1.0 - settings[HAZARD]) / mass
    return origin


@in_place
def observe(
    z: float,
    runs: FloatArray,
    births: IntArray,
    shares: FloatArray,
    j: int,
    counters: IntArray,
    scalars: FloatArray,
    settings: FloatArray,
    table: FloatArray,
    scratch: FloatArray,
) -> None:
    """One standardised observation of one series."""
    origin = take_in(z, runs, births, j, counters, scalars, settings, table, scratch)
    counters[j, CLOCK] += 1
    clock = counters[j, CLOCK]
    oldest = slot_of(counters, j, counters[j, USED] - 1, 0, settings)
    while runs[j, WEIGHT, oldest] < NOTHING and births[j, oldest] < clock - 1:
        shed_oldest(runs, births, j, counters, settings)
        oldest = slot_of(counters, j, counters[j, USED] - 1, 0, settings)
    if clock - births[j, oldest] > settings[MAX_RUN]:
        merge_oldest(runs, births, j, counters, oldest, origin, table, settings)
        shed_oldest(runs, births, j, counters, settings)
    make_room(runs, births, shares, j, counters, settings)
    newborn = slot_of(counters, j, 0, counters[j, RINGS + 1], settings)
    runs[j, MEAN, newborn] = 0.0
    runs[j, RATE, newborn] = settings[ALPHA0]
    runs[j, ANCHOR, newborn] = scalars[j, EVIDENCE] + settings[BIRTH]
    runs[j, WEIGHT, newborn] = settings[HAZARD] / scalars[j, SHARE]
    births[j, newborn] = clock
    counters[j, RINGS + 1] += 1
    counters[j, FILTERED] += 1
    counters[j, SINCE_REBASE] += 1
    if counters[j, SINCE_REBASE] >= REBASE_EVERY:
        rebase(runs, births, j, counters, scalars)


@in_place
def warm_up(
    x: float,
    runs: FloatArray,
    births: IntArray,
    shares: FloatArray,
    j: int,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    table: FloatArray,
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
    start_grid(runs, births, j, counters, scalars, settings)
    for i in range(length):
        z = standardise(recent[j, (counters[j, COUNT] + i) % length], j, scalars, settings)
        observe(z, runs, births, shares, j, counters, scalars, settings, table, scratch)
    rebase(runs, births, j, counters, scalars)
    scalars[j, EVIDENCE_BASE] = 0.0
    counters[j, FILTERED] = 0


@in_place
def update_grid(
    values: FloatArray,
    index: IntArray,
    runs: FloatArray,
    births: IntArray,
    shares: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    table: FloatArray,
    scratch: FloatArray,
) -> None:
    """One tick of the named series; what is not finite is missing and leaves its series as it was."""
    for i in range(values.size):
        x, j = values[i], index[i]
        if not math.isfinite(x):
            continue
        counters[j, COUNT] += 1
        if counters[j, DETECTING] == 0:
            warm_up(x, runs, births, shares, j, counters, scalars, recent, settings, table, scratch)
        else:
            z = standardise(x, j, scalars, settings)
            observe(z, runs, births, shares, j, counters, scalars, settings, table, scratch)
