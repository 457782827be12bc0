"""What is read from the run-length posterior of a panel: compiled sums over runs, one pass each."""

from __future__ import annotations

import math

import numpy as np

from stream_allocator.regime.elementary import FloatArray, IntArray, compiled, in_place, serial_sum
from stream_allocator.regime.kernel import (
    ALPHA0,
    COUNT,
    DETECTING,
    END,
    FIRST,
    LOCATION,
    MAX_RUN,
    SCALE,
    SHARE,
    sample_moments,
)
from stream_allocator.regime.passes import MEAN, RATE, WEIGHT


@in_place
def mass_of(j: int, k: int, runs: FloatArray, counters: IntArray, scalars: FloatArray) -> float:
    """P(run length <= k) of one series, 0 during its warm-up."""
    if counters[j, DETECTING] == 0:
        return 0.0
    end = counters[j, END]
    begin = max(counters[j, FIRST], end - 1 - k)
    mass: float = scalars[j, SHARE] * serial_sum(runs[j, WEIGHT, begin:end])
    return min(mass, 1.0)


@compiled
def mass_at_most(k: int, runs: FloatArray, counters: IntArray, scalars: FloatArray, out: FloatArray) -> None:
    """P(run length <= k) of each series that detects, else 0."""
    for j in range(out.size):
        out[j] = mass_of(j, k, runs, counters, scalars)


@compiled
def most_probable_length(runs: FloatArray, counters: IntArray, settings: FloatArray, out: IntArray) -> None:
    """The run length >= 1 with the largest probability; of equals the longest."""
    for j in range(out.size):
        out[j] = most_probable_of(j, runs, counters, settings)


@in_place
def most_probable_of(j: int, runs: FloatArray, counters: IntArray, settings: FloatArray) -> int:
    """The run length >= 1 of one series with the largest probability; of equals the longest."""
    if counters[j, DETECTING] == 0:
        waiting: int = min(counters[j, COUNT], np.int64(settings[MAX_RUN]))
        return waiting
    first, newborn = counters[j, FIRST], counters[j, END] - 1
    length: int = newborn - first
    if length > 0:
        weight = runs[j, WEIGHT]
        top = largest(weight[first:newborn])
        while weight[newborn - length] != top:
            length -= 1
    return length


@in_place
def largest(x: FloatArray) -> float:
    """Maximum of a non-empty array without NaN, in eight chains."""
    a: float = x[0]
    b = c = d = e = f = g = h = a
    whole = x.size - x.size % 8
    for i in range(0, whole, 8):
        a = x[i] if x[i] > a else a
        b = x[i + 1] if x[i + 1] > b else b
        c = x[i + 2] if x[i + 2] > c else c
        d = x[i + 3] if x[i + 3] > d else d
        e = x[i + 4] if x[i + 4] > e else e
        f = x[i + 5] if x[i + 5] > f else f
        g = x[i + 6] if x[i + 6] > g else g
        h = x[i + 7] if x[i + 7] > h else h
    for i in range(whole, x.size):
        a = x[i] if x[i] > a else a
    return max(max(max(a, b), max(c, d)), max(max(e, f), max(g, h)))


@in_place
def strongest(
    k: int,
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    settings: FloatArray,
    mass: FloatArray,
    series: IntArray,
    lengths: IntArray,
) -> None:
    """P(run length <= k) of each series, and the series where it is largest with their most probable length.

    The largest first, of equals the series that comes first.
    """
    for j in range(mass.size):
        mass[j] = mass_of(j, k, runs, counters, scalars)
    for rank in range(series.size):
        best = -1
        for j in range(mass.size):
            if best >= 0 and not mass[j] > mass[best]:
                continue
            taken = False
            for earlier in range(rank):
                taken |= series[earlier] == j
            if not taken:
                best = j
        series[rank] = best
        lengths[rank] = most_probable_of(best, runs, counters, settings)


@compiled
def mean_length(
    runs: FloatArray, counters: IntArray, scalars: FloatArray, settings: FloatArray, out: FloatArray
) -> None:
    """The expected run length."""
    for j in range(out.size):
        if counters[j, DETECTING] == 0:
            out[j] = min(counters[j, COUNT], int(settings[MAX_RUN]))
            continue
        newborn = counters[j, END] - 1
        expected = 0.0
        for p in range(counters[j, FIRST], newborn):
            expected += runs[j, WEIGHT, p] * (newborn - p)
        out[j] = scalars[j, SHARE] * expected


@compiled
def segment_moments(
    runs: FloatArray,
    counters: IntArray,
    scalars: FloatArray,
    recent: FloatArray,
    settings: FloatArray,
    mean: FloatArray,
    variance: FloatArray,
) -> None:
    """Mean and variance of the present segment, weighted over the runs that have seen data."""
    for j in range(mean.size):
        if counters[j, DETECTING] == 0:
            seen = min(counters[j, COUNT], recent.shape[1])
            mean[j] = math.nan
            variance[j] = math.nan
            if seen > 0:
                mean[j], deviation = sample_moments(recent[j, :seen])
                if seen > 1:
                    variance[j] = deviation * deviation
            continue
        first, newborn = counters[j, FIRST], counters[j, END] - 1
        if newborn == first:  # nothing seen yet: the prior
            mean[j] = scalars[j, LOCATION]
            variance[j] = scalars[j, SCALE] ** 2
            continue
        mass = 0.0
        average = 0.0
        square = 0.0
        for p in range(first, newborn):
            weight = runs[j, WEIGHT, p]
            mass += weight
            average += weight * runs[j, MEAN, p]
            square += weight * runs[j, RATE, p] / (settings[ALPHA0] + 0.5 * (newborn - p))
        mean[j] = scalars[j, LOCATION] + scalars[j, SCALE] * (average / mass)
        variance[j] = scalars[j, SCALE] ** 2 * (square / mass)


@compiled
def survivors(runs: FloatArray, counters: IntArray, settings: FloatArray, j: int, out: FloatArray) -> None:
    """Weights of the latest observations of series j, the newest first, summing to one (or all zero)."""
    out[:] = 0.0
    if counters[j, DETECTING] == 0:
        seen = min(counters[j, COUNT], int(settings[MAX_RUN]), out.size)
        for a in range(seen):
            out[a] = 1.0 / seen
        return
    first, newborn = counters[j, FIRST], counters[j, END] - 1
    weight = 0.0
    for p in range(first, newborn):
        length = newborn - p
        weight += runs[j, WEIGHT, p] / length
        if length <= out.size:
            out[length - 1] = weight
    mass = serial_sum(out)
    if mass > 0.0:
        for a in range(out.size):
            out[a] /= mass


@compiled
def effective_sizes(runs: FloatArray, counters: IntArray, settings: FloatArray, out: FloatArray) -> None:
    """One over the sum of the squared survivor weights of each series; 0 without observations."""
    omega = np.empty(int(settings[MAX_RUN]))
    for j in range(out.size):
        survivors(runs, counters, settings, j, omega)
        squares = 0.0
        for weight in omega:
            squares += weight * weight
        out[j] = 1.0 / squares if squares > 0.0 else 0.0
