"""The data of one growth decision: samples of returns, and how far from them the truth may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stream_allocator.allocate.program import Array, Program, ProgramError

__all__ = ["GrowthProgram", "Plane"]

# Beyond the samples' range the support reaches this far, unless the caller says where it ends.
MARGIN = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A supporting hyperplane of a cap: normal'w <= bound.

    Attributes
    ----------
    name : str
        Of the cap: ``volatility`` or ``tracking``.
    normal : (n,) array
    bound : float
    """

    name: str
    normal: Array
    bound: float


@dataclass(frozen=True, slots=True, eq=False)
class GrowthProgram:
    r"""Maximise the worst expected log growth of a bar over a Wasserstein ball around samples.

    .. math::
        \max_w\; U(w) = \min_{Q \in B_\varepsilon} E_Q \log\bigl(1 + w'x - c(w)\bigr), \qquad
        c(w) = \frac{1}{b} \sum_i \bigl(c_i |w_i - w^0_i| + q_i (w_i - w^0_i)^2\bigr)

    subject to every linear limit of the programme: box, liquidity, exit, active, cash, groups, gross and
    turnover.  B holds the distributions on the box [lowest, highest] within Wasserstein-1 distance
    :math:`\varepsilon` of the samples' one, in the norm :math:`\|x\|_1` (Hsieh & Lu, arXiv 2408.07879).

    Attributes
    ----------
    program : Program
        Its limits, current weights and costs.  Mean and the prices of risk are not used, nor are the caps
        on volatility and tracking error, which are not linear: see Notes.
    samples : (T, n) array
        Simple returns of a bar, each at least -1; oldest first.
    radius : float
        :math:`\varepsilon \ge 0`, in summed returns: with 0.01 the adversary may take one percent off one
        asset in every sample, or make twenty assets fall by five percent in one sample of a hundred.
        0 is plain log-optimal (Kelly) growth on the samples.
    probabilities : (T,) array, optional
        Of the samples, not negative; scaled to sum 1.  Equal by default.
    lowest, highest : (n,) arrays, optional
        Support of an asset's return, outside all its samples.  By default the samples' range and
        0.01 more on either side, and not below -1.
    bars_per_year : float
        b: the programme's costs are rates a year, growth is that of a bar.
    survival : float
        The least wealth, in units of NAV, that a bar may leave where every return is as bad as its support
        allows.  In (0, 1): at 0 growth would be minus infinity.
    first_bar : int
        Number of the first sample's bar.  Programmes that share samples give them the same numbers, so that
        a solution can start from the one before.
    planes : tuple of Plane
        Of the caps on volatility and tracking error, as far as they are known.

    Raises
    ------
    ProgramError
        For a wrong shape, a return that is NaN, infinite or below -1, a support that leaves samples out.

    Notes
    -----
    The caps on volatility and tracking error are not linear:
    :func:`~stream_allocator.allocate.growth.caps.grow` finds the planes that it takes.
    """

    program: Program
    samples: Array
    radius: float
    probabilities: Array = None  # type: ignore[assignment]  # an array once made
    lowest: Array = None  # type: ignore[assignment]
    highest: Array = None  # type: ignore[assignment]
    bars_per_year: float = 252.0
    survival: float = 0.01
    first_bar: int = 0
    planes: tuple[Plane, ...] = ()

    def __post_init__(self) -> None:
        assets = self.program.assets
        samples = np.array(self.samples, dtype=np.float64, order="C")
        if samples.ndim != 2 or samples.shape[1] != len(assets) or not len(samples):
            raise ProgramError("samples", f"must have shape (T, {len(assets)}), got {samples.shape}")
        if not (samples.min() >= -1.0 and samples.max() < np.inf):  # NaN is in neither
            wrong = ~(np.isfinite(samples) & (samples >= -1.0))
            t, i = (int(k) for k in np.argwhere(wrong)[0])
            raise ProgramError(
                "samples",
                f"{assets[i]}, row {t}: a simple return must be finite and at least -1, got {samples[t, i]}",
            )
        self._set("samples", samples)
        for name, least in (("radius", 0.0), ("bars_per_year", 1e-9)):
            value = float(getattr(self, name))
            if not (math.isfinite(value) and value >= least):
                sign = "not negative" if least == 0.0 else "positive"
                raise ProgramError(name, f"must be finite and {sign}, got {value}")
            object.__setattr__(self, name, value)
        if not 0.0 < self.survival < 1.0:
            raise ProgramError("survival", f"must be above 0 and below 1, got {self.survival}")
        self._set("probabilities", self._weighed(len(samples)))
        self._support(samples)

    def _set(self, name: str, value: Array) -> None:
        value.setflags(write=False)
        object.__setattr__(self, name, value)

    def _weighed(self, count: int) -> Array:
        if self.probabilities is None:
            return np.full(count, 1.0 / count)
        given = np.array(self.probabilities, dtype=np.float64)
        if given.shape != (count,):
            raise ProgramError("probabilities", f"must have shape ({count},), got {given.shape}")
        if not (np.isfinite(given).all() and (given >= 0.0).all() and given.sum() > 0.0):
            raise ProgramError("probabilities", "must be finite, not negative and not all 0")
        scaled: Array = given / given.sum()
        return scaled

    def _support(self, samples: Array) -> None:
        least, most = samples.min(axis=0), samples.max(axis=0)
        ends = {"lowest": np.maximum(least - MARGIN, -1.0), "highest": most + MARGIN}
        for name, end in ends.items():
            given = getattr(self, name)
            if given is not None:
                end = np.array(given, dtype=np.float64)
                if end.shape != least.shape:
                    raise ProgramError(name, f"must have shape {least.shape}, got {end.shape}")
                outside = end > least if name == "lowest" else end < most
                wrong = np.flatnonzero(outside | ~np.isfinite(end) | (end < -1.0))
                if wrong.size:
                    i = int(wrong[0])
                    raise ProgramError(
                        name,
                        f"{self.program.assets[i]}: must be finite, at least -1 and leave no sample out "
                        f"({least[i]:.6g} to {most[i]:.6g}), got {end[i]}",
                    )
            self._set(name, end)

    def costs(self, weights: Array) -> float:
        """c(w), in units of NAV a bar."""
        trade = weights - self.program.current
        year = self.program.linear_cost @ np.abs(trade) + self.program.quadratic_cost @ (trade * trade)
        return float(year) / self.bars_per_year
