"""What is read from the multivariate run-length posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_allocator.regime.elementary import FloatArray, IntArray, serial_square, serial_sum
from stream_allocator.regime.multivariate_kernel import (
    CORRELATION,
    COUNT,
    DETECTING,
    END,
    EVIDENCE,
    EVIDENCE_BASE,
    FILTERED,
    FIRST,
    HALF_DEGREES,
    HAZARD,
    LOG_VOLUME,
    MAX_RUN,
    PROBABILITY,
    REFERENCE,
    SCALE,
    hazard_probabilities,
)
from stream_allocator.regime.multivariate_prior import sample_moments
from stream_allocator.regime.multivariate_sums import average_moments, read_runs


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a universe is told of its posterior at every bar; see the methods of these names.

    Attributes
    ----------
    probability_at_most : float
    map_run_length : int
    expected_run_length : float
    survivor_weights : (length,) array
    effective_sample_size : float
        One over the sum of the squared weights; 0 before the first observation.
    first_variance : float
        Of the first coordinate about its mean in the present segment.
    """

    probability_at_most: float
    map_run_length: int
    expected_run_length: float
    survivor_weights: FloatArray
    effective_sample_size: float
    first_variance: float


class MultivariateReadings:
    """The posterior over run length and hazard of one series of vectors, to be read."""

    dimension: int
    _settings: FloatArray
    _hazards: FloatArray
    _tables: FloatArray
    _runs: FloatArray
    _counters: IntArray
    _scalars: FloatArray
    _frame: FloatArray
    _recent: FloatArray
    _work: FloatArray

    @property
    def max_run(self) -> int:
        """Longest run length told apart."""
        return int(self._settings[MAX_RUN])

    def observations(self) -> int:
        """Number of finite observations."""
        return int(self._counters[COUNT])

    def detecting(self) -> bool:
        """Whether the warm-up is over."""
        return bool(self._counters[DETECTING] == 1)

    def posterior(self) -> tuple[IntArray, FloatArray]:
        """Posterior of the run length, summed over hazards.

        Returns
        -------
        run_lengths : (m,) array of int
            0, 1, ..., m - 1, where m - 1 is at most ``max_run``.  During the warm-up the number of
            observations alone.
        probabilities : (m,) array
            Their probabilities, which sum to one.
        """
        if not self.detecting():
            return np.array([min(self.observations(), self.max_run)]), np.ones(1)
        first, end = int(self._counters[FIRST]), int(self._counters[END])
        return np.arange(end - first), self._runs[PROBABILITY, first:end][::-1].copy()

    def probability_at_most(self, k: int) -> float:
        """P(r <= k); 0 during the warm-up.

        Raises
        ------
        ValueError
            If k is negative.
        """
        if k < 0:
            raise ValueError(f"a run length is not negative, got k={k}")
        first, end = self._counters[FIRST], self._counters[END]  # both 0 during the warm-up
        return min(float(serial_sum(self._runs[PROBABILITY, max(first, end - 1 - k) : end])), 1.0)

    def map_run_length(self) -> int:
        """Most probable run length r >= 1, of equals the longest; as in `RunLengthPanel`."""
        lengths, probabilities = self._seen()
        return int(lengths[np.argmax(probabilities)]) if lengths.size else 0

    def expected_run_length(self) -> float:
        """Posterior mean of the run length (up to ``max_run``)."""
        lengths, probabilities = self._seen()
        return float(serial_sum(probabilities * lengths))

    def hazard_posterior(self) -> tuple[FloatArray, FloatArray]:
        """The candidate hazards and their posterior probabilities, each of shape (M,), summed over runs."""
        out = np.empty(self._hazards.shape[1])
        hazard_probabilities(self._hazards, self._scalars[EVIDENCE], out)
        return self._hazards[HAZARD].copy(), out

    def expected_hazard(self) -> float:
        """Posterior mean of the hazard."""
        hazards, probabilities = self.hazard_posterior()
        return float(serial_sum(hazards * probabilities))

    def survivor_weights(self, length: int) -> FloatArray:
        """Weight of each of the last observations in the present segment's moments, newest first.

        omega_a is proportional to sum_{r > a} P(r) / r.  Equal weights during the warm-up, all zero before
        the first observation.

        Parameters
        ----------
        length : int
            Number of weights, at least 1.

        Returns
        -------
        (length,) array
            They sum to one and never grow with a.
        """
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        lengths, probabilities = self._seen()
        out = np.zeros(length)
        if lengths.size:
            by_length = np.zeros(max(int(lengths[0]), length))
            by_length[lengths - 1] = probabilities / lengths
            out[:] = np.cumsum(by_length[::-1])[::-1][:length]
            out /= serial_sum(out)
        return out

    def effective_sample_size(self) -> float:
        """1 / sum_a omega_a^2 over the survivor weights; 0 before the first observation."""
        squares = serial_square(self.survivor_weights(self.max_run))
        return 1.0 / squares if squares > 0.0 else 0.0

    def read(self, k: int, length: int) -> Reading:
        """All that is read at a bar, at once: P(r <= k), run lengths, weights of the last observations.

        Parameters
        ----------
        k : int
            At least 0.
        length : int
            Number of weights, at least 1.
        """
        if k < 0 or length < 1:
            raise ValueError(f"k must not be negative and length at least 1, got {k} and {length}")
        if self._counters[END] - self._counters[FIRST] < 2:  # in the warm-up, or nothing seen since
            omega = self.survivor_weights(length)
            squares = serial_square(omega)
            return Reading(
                self.probability_at_most(k),
                self.map_run_length(),
                self.expected_run_length(),
                omega,
                1.0 / squares if squares > 0.0 else 0.0,
                float(self.segment_covariance()[0, 0]),
            )
        omega, reading = np.empty(length), np.empty(5)
        read_runs(
            k,
            self._runs,
            self._counters,
            self._frame,
            self._tables[HALF_DEGREES],
            self._work,
            omega,
            reading,
        )
        most, best, expected, size, variance = reading.tolist()
        deviation = float(self._frame[SCALE, 0] * self._frame[CORRELATION, 0])
        return Reading(most, int(best), expected, omega, size, deviation * variance * deviation)

    def segment_mean(self) -> FloatArray:
        """Posterior mean of the present segment's mean, of shape (d,), in the data's units.

        sum_{r>=1} P(r) mu_r / P(r >= 1).  NaN before the first observation; the sample mean in the warm-up.
        """
        return self._segment_moments()[0]

    def segment_covariance(self) -> FloatArray:
        """Posterior covariance of an observation about its mean, of shape (d, d), in the data's units.

        sum_{r>=1} P(r) Psi_r / nu_r / P(r >= 1): the inverse of the expected precision, which is finite for
        every run.  NaN before the second observation; the sample covariance (divisor n - 1) in the warm-up.
        """
        return self._segment_moments()[1]

    def _segment_moments(self) -> tuple[FloatArray, FloatArray]:
        d = self.dimension
        mean, covariance = np.zeros(d), np.eye(d)
        if not self.detecting():
            sample_moments(self._recent[: self.observations()], mean, covariance)
            return mean, covariance
        if self._counters[END] - self._counters[FIRST] > 1:
            average_moments(
                self._runs, self._counters, self._frame, self._tables[HALF_DEGREES], mean, covariance
            )
        factor, deviation = self._frame[CORRELATION:], self._frame[SCALE]
        turned = np.array([serial_sum(row * mean) for row in factor])
        mean = self._frame[REFERENCE] + deviation * turned
        half = np.array([[serial_sum(row * column) for column in covariance] for row in factor])
        whole = np.array([[serial_sum(row * other) for other in factor] for row in half])
        return mean, deviation[:, None] * whole * deviation

    def log_evidence(self) -> float:
        """log p(x_{w+1..t} | x_{1..w}), w the warm-up, in the data's units, summed over hazards.

        With a finite ``outlier_df`` conditional on the observations' weights, as in `RunLengthPanel`.
        """
        volume = self._scalars[LOG_VOLUME] * self._counters[FILTERED]
        return float(self._scalars[EVIDENCE_BASE] + self._scalars[EVIDENCE] - volume)

    def _seen(self) -> tuple[IntArray, FloatArray]:
        """Run lengths that have seen data, longest first, and their probabilities."""
        if not self.detecting():
            length = min(self.observations(), self.max_run)
            return np.full(min(length, 1), length), np.ones(min(length, 1))
        first, end = int(self._counters[FIRST]), int(self._counters[END])
        return np.arange(end - 1 - first, 0, -1), self._runs[PROBABILITY, first : end - 1]
