"""The run-length posterior of a universe: exact online change-point detection on vectors, hazard learned.

The model of `RunLengthPanel` for one series of vectors: within a segment observations are Gaussian with
unknown mean and covariance, under a normal-inverse-Wishart prior, so a change of correlation is seen like one
of mean or of volatility.  The run length r is the number of observations of the present segment; **r = 0 just
after a change**.  What that class says about reading the posterior holds here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.regime.elementary import FloatArray, IntArray, serial_square, serial_sum
from stream_allocator.regime.multivariate_kernel import (
    CORRELATION,
    COUNT,
    COUNTERS,
    DEGREES0,
    DETECTING,
    END,
    EVIDENCE,
    EVIDENCE_BASE,
    FARTHEST,
    FILTERED,
    FIRST,
    HALF_DEGREES,
    HAZARD,
    HAZARD_ROWS,
    KAPPA0,
    LOG_VOLUME,
    MAX_RUN,
    OUTLIER_DF,
    PROBABILITY,
    REFERENCE,
    RESIDUAL,
    SCALARS,
    SCALE,
    SETTINGS,
    WARMUP,
    anchor_row,
    hazard_probabilities,
)
from stream_allocator.regime.multivariate_prior import hazard_table, prior_frame, run_tables, sample_moments
from stream_allocator.regime.multivariate_step import (
    average_moments,
    observe,
    read_runs,
    rebase,
    set_prior,
    warm_up,
)

State = dict[str, NDArray[Any]]

LARGEST_DIMENSION = 10


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


class MultivariateRunLength:
    """Posterior over the run length, and over the hazard, of one series of vectors.

    Parameters
    ----------
    dimension : int
        Entries of an observation, 1 to 10.
    hazards : sequence of float
        Candidates for the probability of a change after any observation, each in (0, 1).  One is a constant
        hazard; of several the posterior is over run length and hazard jointly, and exact for this prior.
    hazard_weights : sequence of float, optional
        Their prior probabilities up to a factor, positive; default equal.
    max_run : int, default 256
        Longest run length told apart, at least 2; time and memory of a step grow with it.
    warmup : int, default 60
        Finite observations that set the prior (0, or more than ``dimension``): their mean and covariance
        (divisor n - 1).  Then they are filtered themselves and detection begins.  While the covariance of the
        latest ``warmup`` observations is singular (a constant coordinate, or one of which those before it
        explain all but 1e-10 of the variance) the warm-up goes on.  With 0 the prior is ``location`` and
        ``scale``, and detection begins at once.
    prior_strength : float, default 1
        Observations that the prior's location is worth (kappa0 > 0).
    prior_degrees : float, default dimension + 1
        Degrees of freedom of the prior (nu0 > dimension - 1): the observations its covariance is worth.  The
        prior expects the precision ``inverse(scale)``: Psi0 = nu0 scale.
    outlier_df : float, default infinity
        Infinity is the exact Gaussian model.  A finite number nu gives each observation one weight, shared by
        all runs and hazards: the mean over runs of (nu + d) / (nu + z_i^2), with z_i the Mahalanobis
        distance under the scale matrix of run i's prediction.  Given the weights the posterior is exact.
    location : (d,) array_like, optional
        Prior location for ``warmup=0``, default 0.
    scale : (d, d) array_like, optional
        Prior covariance for ``warmup=0``, symmetric and positive definite, default the identity.

    Notes
    -----
    An observation with a NaN or an infinity anywhere is missing: the state is left untouched.  In coordinates
    whitened by the prior, an entry further than 1e60^(1/d) counts as being that far.

    After warm-up the posterior does not change under x -> A x + b with any regular matrix A: the prior is in
    the data's own units.  With one dimension it is that of `RunLengthPanel` with prior_shape = nu0 / 2.

    Run lengths stop at ``max_run``: the runs above are merged into one, which keeps their mass and goes on as
    a run of that length.  The mixture's mean and covariance are averaged over hazards; else all is exact.
    All hazards share the runs' statistics, so each costs one exponential a run and no more.

    References
    ----------
    R. P. Adams, D. J. C. MacKay, Bayesian Online Changepoint Detection, 2007, arXiv 0710.3742.
    K. P. Murphy, Conjugate Bayesian analysis of the Gaussian distribution, 2007, section 8.
    R. C. Wilson, M. R. Nassar, J. I. Gold, Bayesian online learning of the hazard rate in change-point
    problems, Neural Computation 22, 2010 (a beta prior there, a discrete one here).

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    def __init__(
        self,
        dimension: int,
        *,
        hazards: Sequence[float],
        hazard_weights: Sequence[float] | None = None,
        max_run: int = 256,
        warmup: int = 60,
        prior_strength: float = 1.0,
        prior_degrees: float | None = None,
        outlier_df: float = math.inf,
        location: ArrayLike | None = None,
        scale: ArrayLike | None = None,
    ) -> None:
        if not 1 <= dimension <= LARGEST_DIMENSION:
            raise ValueError(f"dimension must be 1 to {LARGEST_DIMENSION}, got {dimension}")
        if max_run < 2:
            raise ValueError(f"max_run must be at least 2, got {max_run}")
        if warmup != 0 and warmup <= dimension:
            raise ValueError(f"warmup must be 0 or above the dimension {dimension}, got {warmup}")
        if not 0.0 < prior_strength < math.inf:
            raise ValueError(f"prior_strength must be positive and finite, got {prior_strength}")
        degrees = dimension + 1.0 if prior_degrees is None else float(prior_degrees)
        if not dimension - 1.0 < degrees < math.inf:
            raise ValueError(f"prior_degrees must be finite and above {dimension - 1}, got {degrees}")
        if not outlier_df > 0.0:
            raise ValueError(f"outlier_df must be positive, got {outlier_df}")
        if warmup > 0 and not (location is None and scale is None):
            raise ValueError("location and scale are set by the warm-up; give them only with warmup=0")
        self.dimension = int(dimension)
        self._hazards = hazard_table(hazards, hazard_weights)
        self._settings = np.zeros(SETTINGS)
        self._settings[MAX_RUN] = max_run
        self._settings[WARMUP] = warmup
        self._settings[KAPPA0] = prior_strength
        self._settings[DEGREES0] = degrees
        self._settings[OUTLIER_DF] = outlier_df
        self._settings[FARTHEST] = 1e60 ** (1.0 / dimension)
        self._tables = run_tables(dimension, max_run, prior_strength, degrees)
        candidates = self._hazards.shape[1]
        self._runs = np.zeros((anchor_row(dimension) + candidates, 2 * (max_run + 2)))
        self._counters = np.zeros(COUNTERS, np.int64)
        self._scalars = np.zeros(SCALARS)
        self._frame = prior_frame(dimension, location, scale)
        self._recent = np.zeros((warmup, dimension))
        self._work = np.zeros((RESIDUAL + 2 * dimension + candidates + 1, max_run + 2 + dimension))
        if warmup == 0:
            set_prior(self._runs, self._counters, self._scalars, self._hazards, self._frame, self._settings)

    @property
    def max_run(self) -> int:
        """Longest run length told apart."""
        return int(self._settings[MAX_RUN])

    def update(self, x: ArrayLike) -> None:
        """Take an observation of shape (d,); one with a NaN or an infinity is missing.

        Raises
        ------
        ValueError
            If it has another shape; then nothing has been taken.
        """
        values = np.ascontiguousarray(x, np.float64)
        if values.shape != (self.dimension,):
            raise ValueError(f"an observation must be of shape ({self.dimension},), got {values.shape}")
        if self.detecting():
            self._observe(values)
        elif warm_up(values, self._counters, self._recent, self._frame):
            length = len(self._recent)
            oldest = self._counters[COUNT] % length  # the latest stand in a circle
            self._counters[COUNT] -= length
            set_prior(self._runs, self._counters, self._scalars, self._hazards, self._frame, self._settings)
            for row in np.roll(self._recent, -oldest, axis=0):
                self._observe(row)
            rebase(self._runs, self._counters, self._scalars, self._hazards, self.dimension)
            self._scalars[EVIDENCE_BASE] = 0.0
            self._counters[FILTERED] = 0

    def _observe(self, values: FloatArray) -> None:
        observe(
            values,
            self._runs,
            self._counters,
            self._scalars,
            self._hazards,
            self._frame,
            self._settings,
            self._tables,
            self._work,
        )

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

    def state(self) -> State:
        """All that the filter knows, as arrays; `from_state` continues from it with identical bits."""
        first, end = int(self._counters[FIRST]), int(self._counters[END])
        runs = np.zeros((len(self._runs), self.max_run + 1))
        runs[:, : end - first] = self._runs[:, first:end]
        counters = self._counters.copy()
        counters[FIRST], counters[END] = 0, end - first
        return {
            "settings": self._settings.copy(),
            "hazards": self._hazards.copy(),
            "runs": runs,
            "counters": counters,
            "scalars": self._scalars.copy(),
            "frame": self._frame.copy(),
            "recent": self._recent.copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> MultivariateRunLength:
        """The filter that `state` described.

        Raises
        ------
        ValueError
            If an array has not the shape that the others ask for.
        """
        settings, hazards = np.asarray(state["settings"]), np.asarray(state["hazards"])
        if settings.shape != (SETTINGS,):
            raise ValueError(f"settings must have {SETTINGS} entries, got {settings.shape}")
        if hazards.ndim != 2 or len(hazards) != HAZARD_ROWS:
            raise ValueError(f"hazards must have {HAZARD_ROWS} rows, got {hazards.shape}")
        made = cls(
            np.shape(state["frame"])[-1],
            hazards=hazards[HAZARD].tolist(),
            max_run=int(settings[MAX_RUN]),
            warmup=int(settings[WARMUP]),
            prior_strength=float(settings[KAPPA0]),
            prior_degrees=float(settings[DEGREES0]),
            outlier_df=float(settings[OUTLIER_DF]),
        )
        targets = {
            "hazards": made._hazards,
            "runs": made._runs[:, : made.max_run + 1],
            "counters": made._counters,
            "scalars": made._scalars,
            "frame": made._frame,
            "recent": made._recent,
        }
        for name, target in targets.items():
            if np.shape(state[name]) != target.shape:
                raise ValueError(f"{name} must be of shape {target.shape}, got {np.shape(state[name])}")
            target[...] = state[name]
        return made

    def _seen(self) -> tuple[IntArray, FloatArray]:
        """Run lengths that have seen data, longest first, and their probabilities."""
        if not self.detecting():
            length = min(self.observations(), self.max_run)
            return np.full(min(length, 1), length), np.ones(min(length, 1))
        first, end = int(self._counters[FIRST]), int(self._counters[END])
        return np.arange(end - 1 - first, 0, -1), self._runs[PROBABILITY, first : end - 1]
