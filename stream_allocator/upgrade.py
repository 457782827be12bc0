"""States of earlier releases made into what this one reads, one version at a time.

A state that has been upgraded goes on as this release does: the same laws, but not the bits that the release
before would have given.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stream_allocator.errors import SnapshotError
from stream_allocator.moments.experts import invert

__all__ = ["SNAPSHOT_VERSION", "upgraded"]

SNAPSHOT_VERSION = 2

State = dict[str, Any]


def upgraded(state: State) -> State:
    """The same state in the present version.

    Raises
    ------
    SnapshotError
        For a version that is unknown: of a later release, or none.
    """
    version = state.get("version")
    if version != SNAPSHOT_VERSION and version not in UPGRADES:
        known = ", ".join(str(v) for v in sorted({*UPGRADES, SNAPSHOT_VERSION}))
        raise SnapshotError(f"snapshot of version {version!r}; this release reads versions {known}")
    while state["version"] != SNAPSHOT_VERSION:
        state = UPGRADES[state["version"]](state)
    return state


def _from_1(state: State) -> State:
    """The covariance mixture keeps the experts' inverse Cholesky factors, where it kept the factors."""
    market = dict(state["market"])
    mixture = dict(market["mixture"])
    triangles, diagonals = mixture["triangles"], mixture.pop("factor_diagonals")
    inverse = np.tril(triangles.transpose(0, 2, 1), -1)
    assets = np.arange(triangles.shape[1])
    inverse[:, assets, assets] = diagonals
    for factor in inverse:
        invert(factor)
    mixture["triangles"] = np.tril(triangles) + np.triu(inverse.transpose(0, 2, 1), 1)
    mixture["whitener_diagonals"] = inverse[:, assets, assets].copy()
    market["mixture"] = mixture
    return {**state, "version": 2, "market": market}


#: Version -> what makes of it the next one.
UPGRADES: Mapping[int, Callable[[State], State]] = {1: _from_1}
