"""The kernel that stands in for the engine where the bus alone is measured.

It moves one number an asset by a chain of dependent multiplications and additions, which no compiler can
shorten, until the wanted time is spent: 450 ns for each asset, what the run-length posterior costs there.
Everybody runs this one, with the same count of turns, so everybody's outputs must agree to the last bit.
"""

from __future__ import annotations

import time

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["NANOSECONDS", "calibrate", "spin", "step"]

#: Of one asset's update.
NANOSECONDS = 450.0
TRIAL_ASSETS = 50
TRIALS = 31


@njit(cache=True)
def spin(
    state: NDArray[np.float64], index: NDArray[np.int64], returns: NDArray[np.float64], turns: int
) -> float:
    """Update the named assets' numbers; the sum of the new ones."""
    total = 0.0
    for k in range(len(index)):
        x = state[index[k]]
        for _ in range(turns):
            x = x * 0.999 + returns[k]
        state[index[k]] = x
        total += x
    return total


@njit(cache=True)
def spin_one(state: NDArray[np.float64], position: int, value: float, turns: int) -> float:
    """The same for one asset: no arrays to make."""
    x = state[position]
    for _ in range(turns):
        x = x * 0.999 + value
    state[position] = x
    return float(x)


def step(
    state: NDArray[np.float64],
    positions: dict[str, int],
    assets: list[str] | tuple[str, ...],
    returns: list[float] | tuple[float, ...] | NDArray[np.float64],
    turns: int,
) -> float:
    """The work of one record: names to positions, numbers to arrays, the kernel."""
    if len(assets) == 1:
        return float(spin_one(state, positions[assets[0]], returns[0], turns))
    index = np.array([positions[asset] for asset in assets], dtype=np.int64)
    return float(spin(state, index, np.asarray(returns, dtype=np.float64), turns))


def calibrate() -> int:
    """Turns that take :data:`NANOSECONDS` an asset on this machine, now."""
    state, index = np.zeros(TRIAL_ASSETS), np.arange(TRIAL_ASSETS)
    returns, turns = np.full(TRIAL_ASSETS, 0.01), 1000
    spin(state, index, returns, turns)
    spin_one(state, 0, 0.01, turns)
    seconds = []
    for _ in range(TRIALS):
        begun = time.perf_counter()
        spin(state, index, returns, turns)
        seconds.append(time.perf_counter() - begun)
    each = min(seconds) / TRIAL_ASSETS / turns  # whatever else runs can only add
    return max(1, round(NANOSECONDS * 1e-9 / each))
