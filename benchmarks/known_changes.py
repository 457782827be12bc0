"""Simulated series whose changes are known: on these, not on annotated ones, a default may be chosen.

Six kinds, lengths from 25 to 600, between no change and six: shifts of level, changes of slope (continuous),
both in white and in autocorrelated noise, changes of volatility, and shifts of level on a line with a season.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

LENGTHS = (25, 50, 100, 200, 400, 600)
KINDS = ("level", "level, AR(1)", "slope", "slope, AR(1)", "volatility", "level, line, season")
SHORTEST = 8
AUTOCORRELATION = 0.6

Marked = tuple[NDArray[np.float64], dict[str, list[int]]]


def simulate(kind: str, length: int, rng: Generator) -> Marked:
    """Observations of shape (length, 1) and their true change points as one annotator's."""
    wanted = np.sort(
        rng.choice(np.arange(SHORTEST, length - SHORTEST), rng.integers(0, 1 + min(6, length // 25)))
    )
    changes: list[int] = []
    for change in wanted:
        if change - (changes[-1] if changes else 0) >= SHORTEST:
            changes.append(int(change))
    size = rng.uniform(2.0, 6.0, len(changes)) * rng.choice([-1.0, 1.0], len(changes))
    time = np.arange(length)
    begun = time[:, None] >= np.array(changes, np.int64)
    noise = rng.normal(size=length)
    if "AR(1)" in kind:
        for t in range(1, length):
            noise[t] = AUTOCORRELATION * noise[t - 1] + np.sqrt(1.0 - AUTOCORRELATION**2) * noise[t]
    if kind == "volatility":
        return (noise * np.exp(begun @ (np.log(3.5) * np.sign(size))))[:, None], {"truth": changes}
    line = 20.0 * rng.normal() * time / length
    if kind.startswith("slope"):
        bends = (10.0 * size / length) * np.maximum(time[:, None] - np.array(changes, np.int64), 0)
        return (noise + line + bends.sum(axis=1))[:, None], {"truth": changes}
    x = noise + begun @ size
    if kind == "level, line, season":
        x += line + 2.0 * np.sin(2.0 * np.pi * time / 12.0)
    return x[:, None], {"truth": changes}


def families(each: int, seed: int) -> dict[str, dict[str, Marked]]:
    """``each`` series of every length and kind."""
    rng = np.random.default_rng(seed)
    return {
        kind: {f"{length}-{i}": simulate(kind, length, rng) for length in LENGTHS for i in range(each)}
        for kind in KINDS
    }
