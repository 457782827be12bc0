"""Other online change-point posteriors, timed where they are installed (the extra ``benchmark``).

All are given the same Gaussian model, normal-inverse-gamma prior (0, 1, 1, 1) and hazard 1/250.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

__all__ = ["PEERS", "Peer", "nanoseconds"]

HAZARD = 1 / 250


class Peer(NamedTuple):
    """A package, what it was asked for, and a function that makes its filter of a whole series."""

    package: str
    setting: str
    make: Callable[[], Callable[[np.ndarray], Any]]
    observations: int


def fast_bocpd() -> Callable[[np.ndarray], Any]:
    """C, runs longer than 200 dropped."""
    package = import_module("fast_bocpd")
    model, hazard = package.GaussianNIG(0.0, 1.0, 1.0, 1.0), package.ConstantHazard(1 / HAZARD)
    return package.BOCPD(model, hazard, max_run_length=200).batch_update


def changepoint_doctor() -> Callable[[np.ndarray], Any]:
    """Rust, runs longer than 256 dropped."""
    return import_module("cpd").Bocpd(model="gaussian_nig", hazard=HAZARD, max_run_length=256).update_many


def bocd() -> Callable[[np.ndarray], Any]:
    """NumPy, all runs kept."""
    package = import_module("bocd")
    model = package.BayesianOnlineChangePointDetection(
        package.ConstantHazard(1 / HAZARD), package.StudentT(0, 1, 1, 1)
    )

    def run(values: np.ndarray) -> None:
        for x in values:
            model.update(x)

    return run


PEERS = (
    Peer("fast-bocpd 1.0.0", "C, R=200, batch", fast_bocpd, 400),
    Peer("changepoint-doctor 0.0.3", "Rust, R=256, batch", changepoint_doctor, 400),
    Peer("bocd 0.1.2", "NumPy, all runs", bocd, 50),
)


def nanoseconds(
    peer: Peer, rng: np.random.Generator, repeats: int, beside: Callable[[], float]
) -> tuple[float, float]:
    """Median ns an observation, and median ratio to ``beside()`` measured in turns; NaN if not installed.

    The filter is warm: it has taken as many observations as it keeps runs.
    """
    try:
        run = peer.make()
    except ImportError:
        return float("nan"), float("nan")
    run(rng.normal(size=300))
    times, ratios = [], []
    for _ in range(repeats):
        values = rng.normal(size=peer.observations)
        start = time.perf_counter()
        run(values)
        times.append(1e9 * (time.perf_counter() - start) / peer.observations)
        ratios.append(times[-1] / beside())
    return float(np.median(times)), float(np.median(ratios))
