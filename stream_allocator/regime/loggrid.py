"""The run-length posterior of a panel on a logarithmic grid of run lengths: long memory at little cost.

The exact posterior (`RunLengthPanel`) keeps a run for every birth, so a step costs as much as the longest run
told apart.  How far back an old segment began matters less and less, so here recent births are all kept and
older ones stand for 2, 4, 8... births side by side: time and memory of a step grow with the logarithm of the
longest run, and `max_run` may be 4096 or more.

Until the first merge, and with 2 * ``resolution`` > ``max_run`` always, the posterior is exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.regime.elementary import LN2, FloatArray, IntArray
from stream_allocator.regime.kernel import (
    ALPHA0,
    BIRTH,
    COUNT,
    DETECTING,
    EVIDENCE,
    EVIDENCE_BASE,
    FARTHEST,
    FILTERED,
    HAZARD,
    KAPPA0,
    LOCATION,
    MAX_RUN,
    OUTLIER_DF,
    REBASE_EVERY,
    SCALARS,
    SCALE,
    SHARE,
    START,
    WARMUP,
    sample_moments,
)
from stream_allocator.regime.likelihood import NORMALISER, SHAPE, bits_per_observation, run_tables
from stream_allocator.regime.loggrid_kernel import SCRATCH, update_grid
from stream_allocator.regime.loggrid_rings import (
    ANCHOR,
    CLOCK,
    MEAN,
    RATE,
    RESOLUTION,
    RING,
    RINGS,
    ROWS,
    WEIGHT,
    WINDOW,
    mass_at_most,
    start_grid,
)
from stream_allocator.regime.readings import SeriesPanel

State = dict[str, NDArray[Any]]


def ring_sizes(max_run: int, resolution: int) -> list[int]:
    """Slots of each level, the youngest first.

    A level that has passed runs on has at least 2 * resolution - 1 left, of 2^level births each; the last one
    needs as many as reach from there to the cap.
    """
    ring = 2 * resolution
    sizes: list[int] = []
    covered = 0  # births that the levels below hold at least, once there is a run above them
    while True:
        spacing = 2 ** len(sizes)
        needed = (max_run + 1 - covered) // spacing + 3
        if needed <= ring:
            return [*sizes, needed]
        sizes.append(ring)
        covered += (ring - 1) * spacing


def evidence_table(max_run: int, kappa0: float, alpha0: float) -> FloatArray:
    """What a run owes to its length n alone, in bits, for n = 0 .. max_run + 1 (slots without a run have
    lengths up to REBASE_EVERY).

    A run's log weight is anchor + table[n] - alpha_n log2(rate kappa_n), but for `bits_per_observation`.
    """
    longest = max(max_run, REBASE_EVERY) + 1
    length = np.arange(longest + 1)
    exact = run_tables(longest, kappa0, alpha0, equal_weights=True)[:, ::-1][:, : longest + 1]
    table: FloatArray = exact[NORMALISER] + exact[SHAPE] * np.log2(exact[SHAPE] * (kappa0 + length))
    return np.ascontiguousarray(table)


class RunLengthGrid(SeriesPanel):
    """Run-length posteriors of a panel of independent series, on a logarithmic grid of run lengths.

    The Gaussian model with a constant hazard.  Parameters, conventions and readings are those of
    `RunLengthPanel`; those that differ:

    Parameters
    ----------
    series : int
        Number of series, at least 1.
    hazard : float
        Probability of a change after any observation, in (0, 1).
    resolution : int, default 8
        Half the runs of a level, at least 2: the 2 * resolution - 1 latest births are all kept, and further
        back, at age n, the spacing is about n / resolution or less.  Time and memory grow in proportion, the
        error falls.
    max_run : int, default 4096
        Longest run length, at least 2: a run that outgrows it is merged into the next.  Time and memory grow
        with its logarithm.
    warmup, prior_strength, prior_shape, location, scale
        As of `RunLengthPanel`.

    Notes
    -----
    Two runs side by side that merge leave one with the birth of the heavier, mean and variance of the mixture
    and the mass of both, and from then on their own masses stay in proportion.  That is what is approximate:
    no mass is lost, and P(r <= k) tells single births apart for k up to 128 (beyond, those of one kept run
    are taken for equally likely).

    The whole of the posterior is read by `posterior`, `map_run_length`, `expected_run_length` and the moments
    with each kept run's mass at the birth of the heaviest that it stands for.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    def __init__(
        self,
        series: int,
        *,
        hazard: float,
        resolution: int = 8,
        max_run: int = 4096,
        warmup: int = 60,
        prior_strength: float = 1.0,
        prior_shape: float = 1.0,
        location: ArrayLike | None = None,
        scale: ArrayLike | None = None,
    ) -> None:
        if series < 1:
            raise ValueError(f"series must be at least 1, got {series}")
        if not 0.0 < hazard < 1.0:
            raise ValueError(f"hazard must be strictly between 0 and 1, got {hazard}")
        if resolution < 2:
            raise ValueError(f"resolution must be at least 2, got {resolution}")
        if max_run < 2:
            raise ValueError(f"max_run must be at least 2, got {max_run}")
        if warmup != 0 and warmup < 2:
            raise ValueError(f"warmup must be 0 or at least 2, got {warmup}")
        for name, value in (("prior_strength", prior_strength), ("prior_shape", prior_shape)):
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if warmup > 0 and (location is not None or scale is not None):
            raise ValueError("location and scale are set by the warm-up; give them only with warmup=0")
        self.series = series
        rings = ring_sizes(max_run, resolution)
        settings = np.empty(RING + len(rings))
        settings[HAZARD] = hazard
        settings[MAX_RUN] = max_run
        settings[WARMUP] = warmup
        settings[KAPPA0] = prior_strength
        settings[ALPHA0] = prior_shape
        settings[OUTLIER_DF] = math.inf
        # so far that no prediction's density is 2^1000 times the newborn's
        settings[FARTHEST] = 10.0 ** min(100.0, 135.0 / prior_shape)
        settings[START] = -math.log1p(-hazard) / LN2
        settings[BIRTH] = math.log2(hazard) + settings[START]
        settings[RESOLUTION] = resolution
        settings[RING:] = rings
        self._settings = settings
        self._table = evidence_table(max_run, prior_strength, prior_shape)
        slots = (sum(rings) + 7) // 8 * 8
        slots += 8 if slots % 128 == 0 else 0  # rows a power of two apart would share a set of the cache
        self._runs = np.zeros((series, ROWS, slots))
        self._births = np.zeros((series, slots), np.int64)
        self._shares = np.zeros((series, WINDOW))
        self._scratch = np.empty((SCRATCH, slots))
        self._counters = np.zeros((series, RINGS + 2 * len(rings)), np.int64)
        self._scalars = np.zeros((series, SCALARS))
        self._scalars[:, SCALE] = 1.0
        self._recent = np.zeros((series, warmup))
        if warmup == 0:
            self._counters[:, DETECTING] = 1
            self._scalars[:, LOCATION] = 0.0 if location is None else location
            self._scalars[:, SCALE] = 1.0 if scale is None else scale
            if not (np.isfinite(self._scalars).all() and (self._scalars[:, SCALE] > 0.0).all()):
                raise ValueError("location must be finite and scale positive and finite")
        for j in range(series):
            start_grid(self._runs, self._births, j, self._counters, self._scalars, settings)

    @property
    def resolution(self) -> int:
        """Half the runs of a level."""
        return int(self._settings[RESOLUTION])

    def update(self, values: ArrayLike, index: ArrayLike | None = None) -> None:
        """Take one tick.

        Parameters
        ----------
        values : (m,) array_like of float
            An observation for each named series; NaN and infinities are missing.
        index : (m,) array_like of int, optional
            The series they belong to.  A series named twice takes its values in the order given.  Without it
            ``values`` is the whole panel in its order.

        Raises
        ------
        ValueError
            If the shapes differ or a series does not exist; then nothing has been taken.
        """
        x, named = self._tick(values, index)
        update_grid(
            x,
            named,
            self._runs,
            self._births,
            self._shares,
            self._counters,
            self._scalars,
            self._recent,
            self._settings,
            self._table,
            self._scratch,
        )

    def probability_at_most(self, k: int) -> FloatArray:
        """P(r <= k) of each series, of shape (series,); 0 during the warm-up.

        Raises
        ------
        ValueError
            If k is negative.
        """
        if k < 0:
            raise ValueError(f"a run length is not negative, got k={k}")
        out = np.empty(self.series)
        mass_at_most(int(k), self._runs, self._shares, self._counters, self._scalars, self._settings, out)
        return out

    def map_run_length(self) -> IntArray:
        """The kept run length r >= 1 with the most mass, of equals the longest, of shape (series,).

        0 before the first observation; the number of observations (at most ``max_run``) during the warm-up.
        """
        lengths, weights = self._seen()
        heaviest = np.where(weights == weights.max(axis=1, keepdims=True), lengths, 0).max(axis=1)
        waiting = np.minimum(self._counters[:, COUNT], self.max_run)
        return np.where(self.detecting(), heaviest, waiting).astype(np.int64)

    def expected_run_length(self) -> FloatArray:
        """Posterior mean of the run length of each series, of shape (series,)."""
        lengths, weights = self._seen()
        expected = self._scalars[:, SHARE] * (weights * lengths).sum(axis=1)
        waiting = np.minimum(self._counters[:, COUNT], self.max_run)
        return np.where(self.detecting(), expected, waiting).astype(np.float64)

    def posterior(self, j: int) -> tuple[IntArray, FloatArray]:
        """Posterior of one series over the runs that are kept.

        Parameters
        ----------
        j : int
            The series.

        Returns
        -------
        run_lengths : (m,) array of int
            Their lengths, growing from 0.  During the warm-up the number of observations alone.
        probabilities : (m,) array
            Their probabilities, each with that of the runs merged into it, which sum to one.
        """
        if not 0 <= j < self.series:
            raise ValueError(f"there is no series {j}; the panel has 0..{self.series - 1}")
        if not self._counters[j, DETECTING]:
            return np.array([min(int(self._counters[j, COUNT]), self.max_run)]), np.ones(1)
        live = np.flatnonzero(self._runs[j, ANCHOR] > -math.inf)
        lengths = self._counters[j, CLOCK] - self._births[j, live]
        order = np.argsort(lengths)
        return lengths[order], self._scalars[j, SHARE] * self._runs[j, WEIGHT, live[order]]

    def segment_mean(self) -> FloatArray:
        """Posterior mean of the present segment's mean, of shape (series,), in the series' units.

        As of `RunLengthPanel`: NaN before the first observation; the sample mean in the warm-up.
        """
        return self._segment_moments()[0]

    def segment_variance(self) -> FloatArray:
        """Posterior variance of an observation about its mean, of shape (series,), in squared units.

        As of `RunLengthPanel`: NaN before the second observation; the sample variance in the warm-up.
        """
        return self._segment_moments()[1]

    def log_evidence(self) -> FloatArray:
        """log p(x_{w+1..t} | x_{1..w}) of each series, w the warm-up, in its units; shape (series,)."""
        bits = self._scalars[:, EVIDENCE_BASE] + self._scalars[:, EVIDENCE]
        each = bits_per_observation(self.hazard) - np.log2(self._scalars[:, SCALE])
        evidence: FloatArray = LN2 * (bits + self._counters[:, FILTERED] * each)
        return evidence

    def state(self) -> State:
        """All that the panel knows, as arrays; `from_state` continues from it with identical bits."""
        return {
            "settings": self._settings.copy(),
            "runs": self._runs.copy(),
            "births": self._births.copy(),
            "shares": self._shares.copy(),
            "counters": self._counters.copy(),
            "scalars": self._scalars.copy(),
            "recent": self._recent.copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> RunLengthGrid:
        """The panel that `state` described.

        Raises
        ------
        ValueError
            If an array has not the shape that the settings ask for.
        """
        settings = np.asarray(state["settings"], np.float64)
        if settings.ndim != 1 or settings.size <= RING:
            raise ValueError(f"settings must have more than {RING} entries, got shape {settings.shape}")
        grid = cls(
            len(state["counters"]),
            hazard=float(settings[HAZARD]),
            resolution=int(settings[RESOLUTION]),
            max_run=int(settings[MAX_RUN]),
            warmup=int(settings[WARMUP]),
            prior_strength=float(settings[KAPPA0]),
            prior_shape=float(settings[ALPHA0]),
        )
        for name, target in grid.state().items():
            if np.shape(state[name]) != target.shape:
                raise ValueError(f"{name} must be of shape {target.shape}, got {np.shape(state[name])}")
            getattr(grid, f"_{name}")[...] = state[name]
        return grid

    def _seen(self) -> tuple[FloatArray, FloatArray]:
        """Length and weight of every slot, (series, slots); weight 0 without a run that has seen anything."""
        lengths = (self._counters[:, [CLOCK]] - self._births).astype(np.float64)
        seen = (self._runs[:, ANCHOR] > -math.inf) & (lengths > 0.0)
        return lengths, np.where(seen, self._runs[:, WEIGHT], 0.0)

    def _segment_moments(self) -> tuple[FloatArray, FloatArray]:
        lengths, weights = self._seen()
        mass = weights.sum(axis=1)
        unseen = mass == 0.0  # nothing seen yet: the prior
        mass[unseen] = 1.0
        mean = (weights * self._runs[:, MEAN]).sum(axis=1) / mass
        shape = self._settings[ALPHA0] + 0.5 * lengths
        variance = (weights * self._runs[:, RATE] / shape).sum(axis=1) / mass
        variance[unseen] = 1.0
        mean = self._scalars[:, LOCATION] + self._scalars[:, SCALE] * mean
        variance *= self._scalars[:, SCALE] ** 2
        for j in np.flatnonzero(~self.detecting()):
            seen = min(int(self._counters[j, COUNT]), self._recent.shape[1])
            mean[j] = variance[j] = math.nan
            if seen > 0:
                mean[j], deviation = sample_moments(self._recent[j, :seen])
            if seen > 1:
                variance[j] = deviation * deviation
        return mean, variance
