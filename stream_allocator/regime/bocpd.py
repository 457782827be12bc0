"""The run-length posterior of a panel: exact Bayesian online change-point detection, series by series.

Adams & MacKay (2007), arXiv 0710.3742: before every observation the present segment either goes on
(probability 1 - hazard) or ends, and a segment is Gaussian with unknown mean and variance.  The run length
r is the number of observations of the present segment; **r = 0 just after a change**, when it has none.

Three facts to read the posterior by:

* With a constant hazard P(r = 0) equals the hazard whatever the data say.  Decide on P(r <= k) or on the drop
  of the most probable run length, never on P(r = 0).
* Run lengths stop at ``max_run``: the runs above are merged into one, which keeps their mass and goes on as a
  run of that length, so it forgets what lies further back.  Up to there the posterior is exact.
* The prior is in the data's own units: location and scale are mean and standard deviation of a series' first
  ``warmup`` finite observations.  So the posterior does not change when a series is shifted or rescaled, and
  a dispersion or a volatility needs no other settings than a return (whose location is near 0 anyway).
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
    COUNTERS,
    DETECTING,
    END,
    EVIDENCE,
    EVIDENCE_BASE,
    FARTHEST,
    FILTERED,
    FIRST,
    HAZARD,
    KAPPA0,
    LOCATION,
    MAX_RUN,
    OUTLIER_DF,
    SCALARS,
    SCALE,
    SETTINGS,
    SHARE,
    SLACK,
    START,
    WARMUP,
    start_runs,
    update_panel,
)
from stream_allocator.regime.likelihood import VECTOR, bits_per_observation, row_stride, run_tables
from stream_allocator.regime.passes import ROWS, SCRATCH, WEIGHT
from stream_allocator.regime.reductions import (
    effective_sizes,
    mass_at_most,
    mean_length,
    most_probable_length,
    segment_moments,
    survivors,
)

State = dict[str, NDArray[Any]]


class RunLengthPanel:
    """Run-length posteriors of a panel of independent series.

    Parameters
    ----------
    series : int
        Number of series, at least 1.
    hazard : float
        Probability of a change after any observation, in (0, 1): one over the mean length of a segment.
    max_run : int, default 256
        Longest run length told apart, at least 2; time and memory of a step grow with it.
    warmup : int, default 60
        Finite observations of a series that set its prior (0, or at least 2).  Then they are filtered
        themselves and detection begins.  A series that is constant so far has no scale and stays in its
        warm-up.  With 0 the prior is ``location`` and ``scale``, and detection begins at once.
    prior_strength : float, default 1
        Observations that the prior's location is worth (kappa0 > 0).
    prior_shape : float, default 1
        Half the observations that the prior's variance is worth (alpha0 > 0).
    outlier_df : float, default infinity
        Infinity is the exact Gaussian model.  A finite number nu gives each observation one weight, shared
        by all runs: the mean over runs of (nu + 1) / (nu + z_i^2), with z_i the distance in standard
        deviations of run i's prediction.  Given the weights the posterior is exact.  8 keeps the rate of
        false alarms under t(4) noise near that under Gaussian noise; the Gaussian model's is nine times it.
    location, scale : array_like, optional
        Prior of every series for ``warmup=0``, of shape (series,) or scalar: default 0 and 1.

    Notes
    -----
    A NaN or infinite observation is missing: the state of its series is left untouched.  An observation
    further than 1e100 prior scales from the location counts as being that far.

    A step costs O(max_run) a series and no special function beyond two logarithms and one exponential a run:
    in log p(run) = anchor[birth] + normaliser[n] - alpha_n log beta_n - log(kappa_n) / 2 the product of
    Student-t predictives has telescoped, and runs kept by birth never move.

    References
    ----------
    R. P. Adams, D. J. C. MacKay, Bayesian Online Changepoint Detection, 2007.
    K. P. Murphy, Conjugate Bayesian analysis of the Gaussian distribution, 2007, section 3.

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
        max_run: int = 256,
        warmup: int = 60,
        prior_strength: float = 1.0,
        prior_shape: float = 1.0,
        outlier_df: float = math.inf,
        location: ArrayLike | None = None,
        scale: ArrayLike | None = None,
    ) -> None:
        if series < 1:
            raise ValueError(f"series must be at least 1, got {series}")
        if not 0.0 < hazard < 1.0:
            raise ValueError(f"hazard must be strictly between 0 and 1, got {hazard}")
        if max_run < 2:
            raise ValueError(f"max_run must be at least 2, got {max_run}")
        if warmup != 0 and warmup < 2:
            raise ValueError(f"warmup must be 0 or at least 2, got {warmup}")
        for name, value in (("prior_strength", prior_strength), ("prior_shape", prior_shape)):
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not outlier_df > 0.0:
            raise ValueError(f"outlier_df must be positive, got {outlier_df}")
        if warmup > 0 and (location is not None or scale is not None):
            raise ValueError("location and scale are set by the warm-up; give them only with warmup=0")
        self.series = series
        settings = np.empty(SETTINGS)
        settings[HAZARD] = hazard
        settings[MAX_RUN] = max_run
        settings[WARMUP] = warmup
        settings[KAPPA0] = prior_strength
        settings[ALPHA0] = prior_shape
        settings[OUTLIER_DF] = outlier_df
        # so far that no prediction's density is 2^1000 times the newborn's
        settings[FARTHEST] = 10.0 ** min(100.0, 135.0 / prior_shape)
        settings[START] = -math.log1p(-hazard) / LN2
        settings[BIRTH] = math.log2(hazard) + settings[START]
        self._settings = settings
        self._tables = run_tables(max_run, prior_strength, prior_shape, equal_weights=math.isinf(outlier_df))
        width = VECTOR + max_run + 2
        self._runs = np.zeros((series, ROWS, row_stride(width + SLACK)))
        self._scratch = np.empty((SCRATCH, row_stride(width)))
        self._counters = np.zeros((series, COUNTERS), np.int64)
        self._scalars = np.zeros((series, SCALARS))
        self._scalars[:, SCALE] = 1.0
        self._recent = np.zeros((series, warmup))
        self._panel_order = np.arange(series)
        if warmup == 0:
            self._counters[:, DETECTING] = 1
            self._scalars[:, LOCATION] = 0.0 if location is None else location
            self._scalars[:, SCALE] = 1.0 if scale is None else scale
            if not (np.isfinite(self._scalars).all() and (self._scalars[:, SCALE] > 0.0).all()):
                raise ValueError("location must be finite and scale positive and finite")
        for j in range(series):
            start_runs(self._runs, j, self._counters, self._scalars, settings)

    @property
    def hazard(self) -> float:
        """Probability of a change after any observation."""
        return float(self._settings[HAZARD])

    @property
    def max_run(self) -> int:
        """Longest run length told apart."""
        return int(self._settings[MAX_RUN])

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
        x = np.ascontiguousarray(values, np.float64)
        named = self._panel_order if index is None else np.ascontiguousarray(index, np.int64)
        if x.ndim != 1 or named.shape != x.shape:
            raise ValueError(f"values and index must be of one length, got {x.shape} and {named.shape}")
        if index is not None and named.size and (named.min() < 0 or named.max() >= self.series):
            raise ValueError(f"index names a series outside 0..{self.series - 1}")
        update_panel(
            x,
            named,
            self._runs,
            self._counters,
            self._scalars,
            self._recent,
            self._settings,
            self._tables,
            self._scratch,
        )

    def observations(self) -> IntArray:
        """Number of finite observations of each series, of shape (series,)."""
        return self._counters[:, COUNT].copy()

    def detecting(self) -> NDArray[np.bool_]:
        """Whether each series is past its warm-up, of shape (series,)."""
        return np.equal(self._counters[:, DETECTING], 1)

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

    def state(self) -> State:
        """All that the panel knows, as arrays; `from_state` continues from it with identical bits."""
        runs = np.zeros((self.series, ROWS, self.max_run + 1))
        counters = self._counters.copy()
        for j in range(self.series):
            first, end = int(counters[j, FIRST]), int(counters[j, END])
            runs[j, :, : end - first] = self._runs[j, :, first:end]
            counters[j, FIRST], counters[j, END] = 0, end - first
        return {
            "settings": self._settings.copy(),
            "runs": runs,
            "counters": counters,
            "scalars": self._scalars.copy(),
            "recent": self._recent.copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> RunLengthPanel:
        """The panel that `state` described.

        Raises
        ------
        ValueError
            If an array has not the shape that the settings ask for.
        """
        settings = np.asarray(state["settings"], np.float64)
        if settings.shape != (SETTINGS,):
            raise ValueError(f"settings must have {SETTINGS} entries, got {settings.shape}")
        panel = cls(
            len(state["counters"]),
            hazard=float(settings[HAZARD]),
            max_run=int(settings[MAX_RUN]),
            warmup=int(settings[WARMUP]),
            prior_strength=float(settings[KAPPA0]),
            prior_shape=float(settings[ALPHA0]),
            outlier_df=float(settings[OUTLIER_DF]),
        )
        targets = {
            "runs": panel._runs[:, :, VECTOR : VECTOR + panel.max_run + 1],
            "counters": panel._counters,
            "scalars": panel._scalars,
            "recent": panel._recent,
        }
        for name, target in targets.items():
            if np.shape(state[name]) != target.shape:
                raise ValueError(f"{name} must be of shape {target.shape}, got {np.shape(state[name])}")
            target[...] = state[name]
        panel._counters[:, [FIRST, END]] += VECTOR
        return panel

    def _require(self, j: int) -> None:
        if not 0 <= j < self.series:
            raise ValueError(f"there is no series {j}; the panel has 0..{self.series - 1}")
