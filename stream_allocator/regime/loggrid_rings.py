"""The rings of runs of the logarithmic grid: where a run is, how runs merge, what their masses add up to.

Level l of a series is a ring of slots, each a run that stands for 2^l births side by side.  All rings lie one
after another in the series' block, the youngest level first.  An observation's run enters level 0.  Where a
level is full its two oldest runs become one of the next, with the birth of the heavier, mean and variance of
the mixture and the weight of both.  So runs are told apart by a spacing that doubles with their age.

Slots without a run have anchor minus infinity: loops work on whole levels and go over them too.
A run's weight is relative to that of the run born in the step before; times SHARE it is a probability.
"""

from __future__ import annotations

import math

import numpy as np

from stream_allocator.regime.elementary import FloatArray, IntArray, fma, in_place, log2
from stream_allocator.regime.kernel import (
    ALPHA0,
    COUNTERS,
    DETECTING,
    EVIDENCE,
    EVIDENCE_BASE,
    FILTERED,
    KAPPA0,
    SETTINGS,
    SHARE,
    SINCE_REBASE,
    START,
)

# Rows of a series' block
MEAN, RATE, ANCHOR, WEIGHT = 0, 1, 2, 3
ROWS = 4
# Columns of the counters beside those of the exact kernel: levels in use, observations filtered since the
# start and, for each level, the slot of its oldest run and how many runs it has.
USED, CLOCK, RINGS = 0, 1, COUNTERS
# Settings beside those of the exact kernel: half a level's slots, then the slots of each level (the last one
# needs fewer).
RESOLUTION, RING = SETTINGS, SETTINGS + 1
# How a merged run's weight is shared between the births it stands for is remembered so far back.
WINDOW = 128


@in_place
def vacate(runs: FloatArray, births: IntArray, j: int, p: int, clock: int, settings: FloatArray) -> None:
    """Leave a slot without a run; its birth is kept near, because loops look it up all the same."""
    runs[j, MEAN, p] = 0.0
    runs[j, RATE, p] = settings[ALPHA0]
    runs[j, ANCHOR, p] = -math.inf
    runs[j, WEIGHT, p] = 0.0
    births[j, p] = clock


@in_place
def start_grid(
    runs: FloatArray, births: IntArray, j: int, counters: IntArray, scalars: FloatArray, settings: FloatArray
) -> None:
    """Put a series at its beginning: one run of length 0, certain, without evidence."""
    for p in range(runs.shape[2]):
        vacate(runs, births, j, p, 0, settings)
    for column in range(RINGS, counters.shape[1]):
        counters[j, column] = 0
    runs[j, ANCHOR, 0] = settings[START]
    runs[j, WEIGHT, 0] = 1.0
    counters[j, RINGS + 1] = 1
    counters[j, USED] = 1
    counters[j, CLOCK] = 0
    counters[j, SINCE_REBASE] = 0
    counters[j, FILTERED] = 0
    scalars[j, EVIDENCE] = 0.0
    scalars[j, EVIDENCE_BASE] = 0.0
    scalars[j, SHARE] = 1.0


@in_place
def slot_of(counters: IntArray, j: int, level: int, place: int, settings: FloatArray) -> int:
    """Slot of the run at a place of a level's ring, its oldest at place 0."""
    ring, within = np.int64(settings[RING + level]), counters[j, RINGS + 2 * level] + place
    if within >= ring:
        within -= ring
    slot: int = level * np.int64(settings[RING]) + within
    return slot


@in_place
def take_away(counters: IntArray, j: int, level: int, number: int, settings: FloatArray) -> None:
    """Count off the oldest runs of a level."""
    head = RINGS + 2 * level
    counters[j, head] += number
    if counters[j, head] >= settings[RING + level]:
        counters[j, head] -= np.int64(settings[RING + level])
    counters[j, head + 1] -= number


@in_place
def shed_oldest(runs: FloatArray, births: IntArray, j: int, counters: IntArray, settings: FloatArray) -> None:
    """Take the oldest run away."""
    level = counters[j, USED] - 1
    vacate(runs, births, j, slot_of(counters, j, level, 0, settings), counters[j, CLOCK], settings)
    take_away(counters, j, level, 1, settings)
    while counters[j, USED] > 1 and counters[j, RINGS + 2 * counters[j, USED] - 1] == 0:
        counters[j, USED] -= 1


@in_place
def merge_oldest(
    runs: FloatArray,
    births: IntArray,
    j: int,
    counters: IntArray,
    old: int,
    origin: float,
    table: FloatArray,
    settings: FloatArray,
) -> None:
    """Merge the run that has outgrown the cap into the next.

    As in the exact kernel: the masses are added, mean and variance become those of the mixture, length and
    strength stay those of the younger, and the anchor makes its log weight that of the sum.
    """
    level = counters[j, USED] - 1
    if counters[j, RINGS + 2 * level + 1] > 1:
        young = slot_of(counters, j, level, 1, settings)
    else:
        young = slot_of(counters, j, level - 1, 0, settings)
    mass = runs[j, WEIGHT, old] + runs[j, WEIGHT, young]
    share = runs[j, WEIGHT, old] / mass
    now = counters[j, CLOCK]
    length = now - np.int64(births[j, young])
    old_shape = settings[ALPHA0] + 0.5 * (now - births[j, old])
    shape = settings[ALPHA0] + 0.5 * length
    variance = runs[j, RATE, young] / shape
    variance += share * (runs[j, RATE, old] / old_shape - variance)
    rate = variance * shape
    runs[j, MEAN, young] += share * (runs[j, MEAN, old] - runs[j, MEAN, young])
    runs[j, RATE, young] = rate
    own = fma(-shape, log2(rate * (settings[KAPPA0] + length)), table[length])
    runs[j, ANCHOR, young] = (log2(mass) + origin) - own
    runs[j, WEIGHT, young] = mass


@in_place
def merge_pair(
    runs: FloatArray,
    births: IntArray,
    shares: FloatArray,
    j: int,
    level: int,
    counters: IntArray,
    settings: FloatArray,
) -> None:
    """Make the two oldest runs of a level one of the next, with the weight of both.

    It has the birth of the heavier, and mean and variance of the mixture.  From then on the two go on in
    proportion: the older one's share is kept by the first birth of the younger, which is merged with the one
    before only once; this level and those below it are full.
    """
    old, young = slot_of(counters, j, level, 0, settings), slot_of(counters, j, level, 1, settings)
    heavy, light = old, young
    if runs[j, WEIGHT, young] > runs[j, WEIGHT, old]:
        heavy, light = young, old
    mass = runs[j, WEIGHT, old] + runs[j, WEIGHT, young]
    share = runs[j, WEIGHT, light] / mass
    now = counters[j, CLOCK]
    shape = settings[ALPHA0] + 0.5 * (now - births[j, heavy])
    variance = runs[j, RATE, heavy] / shape
    mixed = runs[j, RATE, light] / (settings[ALPHA0] + 0.5 * (now - births[j, light]))
    mixed = variance + share * (mixed - variance)
    mean = runs[j, MEAN, heavy]
    # the log weight, of which the table's part stays, is to be that of the sum
    gained = fma(shape, log2(mixed / variance), log2(mass / runs[j, WEIGHT, heavy]))
    place = slot_of(counters, j, level + 1, counters[j, RINGS + 2 * level + 3], settings)
    runs[j, MEAN, place] = mean + share * (runs[j, MEAN, light] - mean)
    runs[j, RATE, place] = shape * mixed
    runs[j, ANCHOR, place] = runs[j, ANCHOR, heavy] + gained
    runs[j, WEIGHT, place] = mass
    births[j, place] = births[j, heavy]
    counters[j, RINGS + 2 * level + 3] += 1
    boundary = (
        counters[j, CLOCK] - np.int64(settings[RING]) * ((np.int64(2) << level) - 1) + (np.int64(1) << level)
    )
    shares[j, boundary % WINDOW] = runs[j, WEIGHT, old] / mass
    vacate(runs, births, j, old, counters[j, CLOCK], settings)
    vacate(runs, births, j, young, counters[j, CLOCK], settings)
    take_away(counters, j, level, 2, settings)


@in_place
def make_room(
    runs: FloatArray, births: IntArray, shares: FloatArray, j: int, counters: IntArray, settings: FloatArray
) -> None:
    """Merge pairs upwards until level 0 has room for a run."""
    level = 0
    while counters[j, RINGS + 2 * level + 1] == settings[RING + level]:
        level += 1
    if level == counters[j, USED]:
        counters[j, USED] += 1
    while level > 0:
        level -= 1
        merge_pair(runs, births, shares, j, level, counters, settings)


@in_place
def rebase(runs: FloatArray, births: IntArray, j: int, counters: IntArray, scalars: FloatArray) -> None:
    """Measure log weights from the present evidence, which moves into the base."""
    evidence = scalars[j, EVIDENCE]
    for p in range(runs.shape[2]):
        runs[j, ANCHOR, p] -= evidence
        if runs[j, ANCHOR, p] == -math.inf:
            births[j, p] = counters[j, CLOCK]
    scalars[j, EVIDENCE_BASE] += evidence
    scalars[j, EVIDENCE] = 0.0
    counters[j, SINCE_REBASE] = 0


@in_place
def youngest_share(shares: FloatArray, j: int, start: int, span: int, wanted: int, clock: int) -> float:
    """Share of a run's weight that belongs to the youngest of the ``span`` births from ``start`` on.

    A birth too long ago to be remembered has one half on each side.
    """
    found, share = 0.0, 1.0
    while wanted > 0:
        span //= 2
        older = 0.5
        if start + span > clock - WINDOW:
            older = shares[j, (start + span) % WINDOW]
        if wanted >= span:
            found += share * (1.0 - older)
            share *= older
            wanted -= span
        else:
            share *= 1.0 - older
            start += span
    return found


@in_place
def mass_at_most(
    k: int,
    runs: FloatArray,
    shares: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    settings: FloatArray,
    out: FloatArray,
) -> None:
    """P(run length <= k) of each series that detects, else 0."""
    for j in range(out.size):
        out[j] = 0.0
        if counters[j, DETECTING] == 0:
            continue
        clock = counters[j, CLOCK]
        left, newest, mass = k + 1, clock, 0.0  # births still to be counted, the youngest of them
        for level in range(counters[j, USED]):
            span = 1 << level
            for place in range(counters[j, RINGS + 2 * level + 1] - 1, -1, -1):
                weight = runs[j, WEIGHT, slot_of(counters, j, level, place, settings)]
                if left < span:
                    weight *= youngest_share(shares, j, newest - span + 1, span, left, clock)
                mass += weight
                newest -= span
                left -= span
                if left <= 0:
                    break
            if left <= 0:
                break
        out[j] = min(scalars[j, SHARE] * mass, 1.0)
