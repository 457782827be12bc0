"""The run-length posterior of a universe: exact online change-point detection on vectors, hazard learned.

The model of `RunLengthPanel` for one series of vectors: within a segment observations are Gaussian with
unknown mean and covariance, under a normal-inverse-Wishart prior, so a change of correlation is seen like one
of mean or of volatility.  The run length r is the number of observations of the present segment; **r = 0 just
after a change**.  What that class says about reading the posterior holds here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.regime.elementary import FloatArray
from stream_allocator.regime.multivariate_kernel import (
    COUNT,
    COUNTERS,
    DEGREES0,
    END,
    EVIDENCE_BASE,
    FARTHEST,
    FILTERED,
    FIRST,
    HAZARD,
    HAZARD_ROWS,
    KAPPA0,
    MAX_RUN,
    OUTLIER_DF,
    RESIDUAL,
    SCALARS,
    SETTINGS,
    WARMUP,
    anchor_row,
)
from stream_allocator.regime.multivariate_prior import hazard_table, prior_frame, run_tables
from stream_allocator.regime.multivariate_readings import MultivariateReadings
from stream_allocator.regime.multivariate_step import observe, rebase, set_prior, warm_up

State = dict[str, NDArray[Any]]

LARGEST_DIMENSION = 10


class MultivariateRunLength(MultivariateReadings):
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
