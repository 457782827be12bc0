"""Compiled sums over the runs of the multivariate run-length posterior."""

from __future__ import annotations

import numpy as np

from stream_allocator.regime.elementary import (
    FloatArray,
    IntArray,
    compiled,
    in_place,
    serial_square,
    serial_sum,
)
from stream_allocator.regime.multivariate_kernel import (
    END,
    FIRST,
    MEAN,
    ORIGIN,
    PROBABILITY,
    PULL,
    SQUARE,
    WEIGHT,
    factor_row,
)


@compiled
def average_moments(
    runs: FloatArray,
    counters: IntArray,
    frame: FloatArray,
    half_degrees: FloatArray,
    mean: FloatArray,
    covariance: FloatArray,
) -> None:
    """Mean and covariance of the present segment over the runs that have seen data, in whitened coordinates.

    The mean is measured from the reference.
    """
    dimension, first, newborn = frame.shape[1], counters[FIRST], counters[END] - 1
    mean[:], covariance[:] = 0.0, 0.0
    mass = 0.0
    z = np.empty(dimension)
    for p in range(first, newborn):
        probability = runs[PROBABILITY, p]
        mass += probability
        w, pull = runs[WEIGHT, p], runs[PULL, p]
        kappa = w + pull
        own = probability / (2.0 * half_degrees[half_degrees.size - 1 - (newborn - p)])
        for i in range(dimension):
            mean[i] += probability * (w * runs[MEAN + i, p] - pull * frame[ORIGIN, i]) / kappa
            z[i] = runs[MEAN + i, p] + frame[ORIGIN, i]
        for i in range(dimension):
            for k in range(i + 1):
                entry = pull * w / kappa * z[i] * z[k]
                for j in range(k + 1):
                    entry += runs[factor_row(dimension, i, j), p] * runs[factor_row(dimension, k, j), p]
                covariance[i, k] += own * entry
    for i in range(dimension):
        mean[i] /= mass
        for k in range(i + 1):
            covariance[i, k] /= mass
            covariance[k, i] = covariance[i, k]


@in_place
def read_runs(
    k: int,
    runs: FloatArray,
    counters: IntArray,
    frame: FloatArray,
    half_degrees: FloatArray,
    work: FloatArray,
    weights: FloatArray,
    reading: FloatArray,
) -> None:
    """What is read at every bar, in two passes over the runs that have seen data, of which there are some.

    ``weights`` become the survivor weights, newest first; ``reading`` is P(r <= k), the most probable run
    length and the expected one, one over the sum of the squared weights, and the variance of the first
    coordinate in whitened coordinates.
    """
    first, newborn = counters[FIRST], counters[END] - 1
    probability = runs[PROBABILITY]
    seen, square = newborn - first, work[SQUARE]
    reading[0] = min(serial_sum(probability[max(first, newborn - k) : newborn + 1]), 1.0)
    best = first
    mass = variance = survived = 0.0
    weights[:] = 0.0
    for p in range(first, newborn):
        length, share = newborn - p, probability[p]
        if share > probability[best]:
            best = p
        mass += share
        w, pull = runs[WEIGHT, p], runs[PULL, p]
        z, root = runs[MEAN, p] + frame[ORIGIN, 0], runs[factor_row(frame.shape[1], 0, 0), p]
        entry = pull * w / (w + pull) * z * z + root * root
        variance += share / (2.0 * half_degrees[half_degrees.size - 1 - length]) * entry
        square[p - first] = share * length
        survived += share / length
        if length <= weights.size:
            weights[length - 1] = survived
    total = serial_sum(weights)
    for a in range(weights.size):
        weights[a] /= total
    reading[1] = newborn - best
    reading[2] = serial_sum(square[:seen])
    reading[3] = 1.0 / serial_square(weights)
    reading[4] = variance / mass
