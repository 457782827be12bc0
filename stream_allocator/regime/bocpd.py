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

from stream_allocator.regime.batch import filter_panel
from stream_allocator.regime.elementary import LN2, FloatArray
from stream_allocator.regime.kernel import (
    ALPHA0,
    BIRTH,
    COUNTERS,
    DETECTING,
    END,
    FARTHEST,
    FIRST,
    HAZARD,
    KAPPA0,
    LOCATION,
    MAX_RUN,
    OUTLIER_DF,
    SCALARS,
    SCALE,
    SETTINGS,
    SLACK,
    START,
    WARMUP,
    start_runs,
    update_panel,
)
from stream_allocator.regime.likelihood import VECTOR, row_stride, run_tables
from stream_allocator.regime.passes import ROWS, SCRATCH
from stream_allocator.regime.readings import RunLengthReadings

State = dict[str, NDArray[Any]]


class RunLengthPanel(RunLengthReadings):
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
        if warmup == 0:
            self._counters[:, DETECTING] = 1
            self._scalars[:, LOCATION] = 0.0 if location is None else location
            self._scalars[:, SCALE] = 1.0 if scale is None else scale
            if not (np.isfinite(self._scalars).all() and (self._scalars[:, SCALE] > 0.0).all()):
                raise ValueError("location must be finite and scale positive and finite")
        for j in range(series):
            start_runs(self._runs, j, self._counters, self._scalars, settings)

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

    def filter(self, values: ArrayLike, k: int) -> FloatArray:
        """Take many ticks of the whole panel in one call.

        Parameters
        ----------
        values : (T, series) array_like of float
            A tick a row; NaN and infinities are missing.
        k : int
            Of the probability to return, at least 0.

        Returns
        -------
        (T, series) array
            P(r <= k) after each tick, with the bits that `update` and `probability_at_most` would give.

        Raises
        ------
        ValueError
            If the shape is another or k is negative; then nothing has been taken.
        """
        x = np.ascontiguousarray(values, np.float64)
        if x.ndim != 2 or x.shape[1] != self.series:
            raise ValueError(f"values must be of shape (T, {self.series}), got {x.shape}")
        if k < 0:
            raise ValueError(f"a run length is not negative, got k={k}")
        out = np.empty(x.shape)
        filter_panel(
            x,
            np.arange(self.series),
            int(k),
            self._runs,
            self._counters,
            self._scalars,
            self._recent,
            self._settings,
            self._tables,
            self._scratch,
            out,
        )
        return out

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
        panel = cls._set_up(len(state["counters"]), settings)
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

    @classmethod
    def _set_up(cls, series: int, settings: FloatArray) -> RunLengthPanel:
        """A panel at its beginning, by its settings."""
        return cls(
            series,
            hazard=float(settings[HAZARD]),
            max_run=int(settings[MAX_RUN]),
            warmup=int(settings[WARMUP]),
            prior_strength=float(settings[KAPPA0]),
            prior_shape=float(settings[ALPHA0]),
            outlier_df=float(settings[OUTLIER_DF]),
        )

    def reindex(self, index: ArrayLike) -> RunLengthPanel:
        """The panel of another list of series, for assets that enter or leave.

        Parameters
        ----------
        index : (m,) array_like of int
            For each new series its place in this panel, or -1 for one that begins.

        Returns
        -------
        RunLengthPanel
            Series that stay go on with the same bits; newcomers begin with their warm-up (without one, with
            location 0 and scale 1).

        Raises
        ------
        ValueError
            If the index is empty or names a series that is not there.
        """
        places = np.asarray(index, np.int64)
        if places.ndim != 1 or not places.size or places.min() < -1 or places.max() >= self.series:
            raise ValueError(f"index must name series in 0..{self.series - 1}, or -1 for a newcomer")
        state, fresh = self.state(), self._set_up(places.size, self._settings).state()
        stays = places >= 0
        for name in ("runs", "counters", "scalars", "recent"):
            fresh[name][stays] = state[name][places[stays]]
        return RunLengthPanel.from_state(fresh)
