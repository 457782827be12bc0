"""The Turing benchmark's default BOCPD: the rule of the R package ``ocp`` (Pagotto 2019), written afresh.

The run-length posterior is Adams & MacKay's, z-scored data, a normal-inverse-gamma prior with m = 0 and
k = a = b = 1, hazard 1/100, dimensions independent, and before each step the longest runs are dropped whose
probabilities together are below 1e-4.  The change points come from a recursion beside it,

    M_t = max over starts s of log P(run began at s | x_1..t) + M_{s-2},

M_{-1} = M_0 = 0, which adds up filtered probabilities: it is not the most probable segmentation, and it looks
back one observation further than that would, but the published figures are its.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

HAZARD = 1 / 100
TRUNCATION = 1e-4
SMALLEST = np.finfo(np.float64).tiny


def ocp_changes(observations: NDArray[np.float64]) -> tuple[int, ...]:
    """Change points of observations (T, d), as indices of a segment's first observation from 0."""
    x = (observations - observations.mean(axis=0)) / observations.std(axis=0, ddof=1)
    length, dimensions = x.shape
    # Rows are runs from the youngest to the oldest.
    probability, mean, rate = np.ones(1), np.zeros((1, dimensions)), np.ones((1, dimensions))
    age = np.zeros((1, 1))
    scores = [0.0, 0.0]  # scores[s] belongs to a run that starts at observation s, counted from 1, less one
    histories: list[tuple[int, ...]] = [(), (0,)]
    for t in range(length):
        kept = int(np.sum(np.cumsum(probability[::-1]) >= TRUNCATION))
        probability, mean, rate, age = probability[:kept], mean[:kept], rate[:kept], age[:kept]
        strength, shape = 1.0 + age, 1.0 + 0.5 * age
        variance = rate * (strength + 1.0) / (shape * strength)
        deviation = x[t] - mean
        density = (
            gammaln(shape + 0.5)
            - gammaln(shape)
            - 0.5 * np.log(2.0 * shape * np.pi * variance)
            - (shape + 0.5) * np.log1p(deviation**2 / (2.0 * shape * variance))
        ).sum(axis=1)
        joint = np.maximum(probability * np.exp(density), SMALLEST)
        probability = np.concatenate([[HAZARD * joint.sum()], (1.0 - HAZARD) * joint])
        probability = np.maximum(probability / probability.sum(), SMALLEST)
        rate = np.vstack([np.ones(dimensions), rate + strength * deviation**2 / (2.0 * (strength + 1.0))])
        mean = np.vstack([np.zeros(dimensions), mean + deviation / (strength + 1.0)])
        age = np.vstack([np.zeros((1, 1)), age + 1.0])
        starts = np.arange(t + 1 - kept, t + 2)
        candidates = np.log(probability[::-1]) + np.array(scores)[starts]
        chosen = int(candidates.argmax())
        scores.append(float(candidates[chosen]))
        histories.append((*histories[starts[chosen]], int(starts[chosen])))
    return tuple(sorted({c for c in histories[-1] if 1 <= c < length - 1}))
