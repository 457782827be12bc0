"""What is read from the run-length posterior of a panel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.regime.elementary import LN2, FloatArray, IntArray, in_place
from stream_allocator.regime.kernel import (
    COUNT,
    DETECTING,
    END,
    EVIDENCE,
    EVIDENCE_BASE,
    FILTERED,
    FIRST,
    HAZARD,
    MAX_RUN,
    SCALE,
    SHARE,
    WARMUP,
)
from stream_allocator.regime.likelihood import bits_per_observation
from stream_allocator.regime.passes import WEIGHT
from stream_allocator.regime.reductions import (
    effective_sizes,
    mass_at_most,
    mean_length,
    most_probable_length,
    segment_moments,
    strongest,
    survivors,
)


@in_place
def all_within(index: IntArray, size: int) -> bool:
    """Whether every entry is in 0..size-1."""
    within = True
    for i in range(index.size):
        within &= 0 <= index[i] < size
    return within


class SeriesPanel:
    """Independent series, each in its warm-up or detecting."""

    series: int
    _settings: FloatArray
    _counters: IntArray

    @property
    def hazard(self) -> float:
        """Probability of a change after any observation."""
        return float(self._settings[HAZARD])

    @property
    def max_run(self) -> int:
        """Longest run length told apart."""
        return int(self._settings[MAX_RUN])

    def observations(self) -> IntArray:
        """Number of finite observations of each series, of shape (series,)."""
        return self._counters[:, COUNT].copy()

    def detecting(self) -> NDArray[np.bool_]:
        """Whether each series is past its warm-up, of shape (series,)."""
        return np.equal(self._counters[:, DETECTING], 1)

    def _tick(self, values: ArrayLike, index: ArrayLike | None) -> tuple[FloatArray, IntArray]:
        """One tick, checked: observations and their series; without an index the whole panel."""
        x = np.ascontiguousarray(values, np.float64)
        named = np.arange(self.series) if index is None else np.ascontiguousarray(index, np.int64)
        if x.ndim != 1 or named.shape != x.shape:
            raise ValueError(f"values and index must be of one length, got {x.shape} and {named.shape}")
        if index is not None and not all_within(named, self.series):
            raise ValueError(f"index names a series outside 0..{self.series - 1}")
        return x, named


class RunLengthReadings(SeriesPanel):
    """The posterior over the present run length of each series of a panel, to be read."""

    _runs: FloatArray
    _scalars: FloatArray
    _recent: FloatArray

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
        mass_at_most(int(k), self._runs, self._counters, self._scalars, out)
        return out

    def map_run_length(self) -> IntArray:
        """Most probable run length r >= 1 of each series, of equals the longest, of shape (series,).

        r = 0 is left out because its probability is the hazard whatever the data say.  ``max_run`` stands for
        all that are at least as long.  0 before the first observation; the number of observations (at most
        ``max_run``) during the warm-up.
        """
        out = np.empty(self.series, np.int64)
        most_probable_length(self._runs, self._counters, self._settings, out)
        return out

    def strongest_evidence(self, k: int, count: int) -> tuple[IntArray, FloatArray, IntArray]:
        """The series that speak most for a recent change, the strongest first, of equals in their order.

        Parameters
        ----------
        k : int
            Of P(r <= k), at least 0.
        count : int
            How many; no more than there are.

        Returns
        -------
        series : (count,) array of int
        probabilities : (count,) array
            As of `probability_at_most`.
        lengths : (count,) array of int
            As of `map_run_length`.
        """
        if k < 0:
            raise ValueError(f"a run length is not negative, got k={k}")
        mass = np.empty(self.series)
        series = np.empty(min(count, self.series), np.int64)
        lengths = np.empty_like(series)
        strongest(int(k), self._runs, self._counters, self._scalars, self._settings, mass, series, lengths)
        return series, mass[series], lengths

    def expected_run_length(self) -> FloatArray:
        """Posterior mean of the run length (up to ``max_run``) of each series, of shape (series,)."""
        out = np.empty(self.series)
        mean_length(self._runs, self._counters, self._scalars, self._settings, out)
        return out

    def posterior(self, j: int) -> tuple[IntArray, FloatArray]:
        """Posterior of one series.

        Parameters
        ----------
        j : int
            The series.

        Returns
        -------
        run_lengths : (m,) array of int
            0, 1, ..., m - 1, where m - 1 is at most ``max_run``.  During the warm-up the number of
            observations alone.
        probabilities : (m,) array
            Their probabilities, which sum to one.
        """
        self._require(j)
        first, end = int(self._counters[j, FIRST]), int(self._counters[j, END])
        if not self._counters[j, DETECTING]:
            return np.array([min(int(self._counters[j, COUNT]), self.max_run)]), np.ones(1)
        longest = min(int(self._counters[j, FILTERED]) + int(self._settings[WARMUP]), self.max_run)
        probabilities = np.zeros(longest + 1)
        probabilities[: end - first] = self._scalars[j, SHARE] * self._runs[j, WEIGHT, first:end][::-1]
        return np.arange(longest + 1), probabilities

    def segment_mean(self) -> FloatArray:
        """Posterior mean of the present segment's mean, of shape (series,), in the series' units.

        sum_{r>=1} P(r) mu_r / P(r >= 1).  NaN before the first observation; the sample mean in the warm-up.
        """
        return self._segment_moments()[0]

    def segment_variance(self) -> FloatArray:
        """Posterior variance of an observation about its mean, of shape (series,), in squared units.

        sum_{r>=1} P(r) beta_r / alpha_r / P(r >= 1): one over the expected precision, which is finite for
        every run.  NaN before the second observation; the sample variance (divisor n - 1) in the warm-up.
        """
        return self._segment_moments()[1]

    def _segment_moments(self) -> tuple[FloatArray, FloatArray]:
        mean, variance = np.empty(self.series), np.empty(self.series)
        segment_moments(
            self._runs, self._counters, self._scalars, self._recent, self._settings, mean, variance
        )
        return mean, variance

    def survivor_weights(self, j: int, length: int) -> FloatArray:
        """Weight of each of the last observations in the present segment's moments.

        omega_a is proportional to sum_{r > a} P(r) / r: an average over runs of equal weights within the run.

        Parameters
        ----------
        j : int
            The series.
        length : int
            Number of weights, at least 1.

        Returns
        -------
        (length,) array
            omega_a for the observation a steps ago, newest first; they sum to one and never grow with a.
            Equal weights during the warm-up, all zero before the first observation.
        """
        self._require(j)
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        out = np.empty(length)
        survivors(self._runs, self._counters, self._settings, j, out)
        return out

    def effective_sample_size(self) -> FloatArray:
        """1 / sum_a omega_a^2 over the survivor weights of each series, of shape (series,).

        The number of observations during the warm-up, 0 before the first.
        """
        out = np.empty(self.series)
        effective_sizes(self._runs, self._counters, self._settings, out)
        return out

    def log_evidence(self) -> FloatArray:
        """log p(x_{w+1..t} | x_{1..w}) of each series, w the warm-up, in the series' units; shape (series,).

        The sum of the log predictive densities since detection began, by which settings can be compared.
        With a finite ``outlier_df`` it is conditional on the observations' weights, which depend on the data:
        good for comparing hazards or priors, not one ``outlier_df`` with another.
        """
        bits = self._scalars[:, EVIDENCE_BASE] + self._scalars[:, EVIDENCE]
        each = bits_per_observation(self.hazard) - np.log2(self._scalars[:, SCALE])
        evidence: FloatArray = LN2 * (bits + self._counters[:, FILTERED] * each)
        return evidence

    def _require(self, j: int) -> None:
        if not 0 <= j < self.series:
            raise ValueError(f"there is no series {j}; the panel has 0..{self.series - 1}")
