"""The covariance that prices risk: an online mixture of experts with learnt weights.

Four experts forecast the next bar's covariance with different volatilities and correlations; their inverse
Cholesky factors are combined with weights that maximise the likelihood of the last bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.moments.experts import (
    decay_and_add,
    decay_of,
    factorise,
    given,
    invert,
    length_before,
    mix,
    shrunk_correlation,
    sort_out,
    standardise,
    trust,
    unit_ratios,
    whiten_each,
    whitened_squares,
)
from stream_allocator.moments.volatility import MATURE, VolatilityForecasts
from stream_allocator.moments.weights import CombinationWeights

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
State = dict[str, NDArray[Any]]

# A return at least this large is no return: its square would not fit.
FARTHEST = 1e100
# Standardised returns beyond this many standard deviations count as that many in the correlations.
WINSOR = 5.0
# The same where weights are learnt: a wrong price must not make everything look volatile for months.
WINSOR_LEARNING = 8.0
# One expert's inverse factor is renewed every third bar, in turn; of many assets every sixth.
RENEW_EVERY, RENEW_MANY = 3, 6
# Up to this many assets the covariance is of factors renewed when it is asked for.
FRESH = 256


@dataclass(frozen=True, slots=True)
class Expert:
    """One forecast of the covariance.

    Attributes
    ----------
    volatility : int
        Kind of volatility forecast: 0 blended, 1 quarter, 2 year.
    correlation_half_life : float
        Bars.
    shrinkage : float
        Of the correlations towards one factor, in (0, 1].
    """

    volatility: int
    correlation_half_life: float
    shrinkage: float


EXPERTS = (Expert(0, 63.0, 0.2), Expert(0, 250.0, 0.1), Expert(1, 125.0, 0.1), Expert(2, 250.0, 0.1))
#: The kind of volatility of each expert.
KINDS = np.array([expert.volatility for expert in EXPERTS])


class CovarianceMixture:
    """Covariance of zero-mean returns one bar ahead, positive definite where assets have moved.

        Sigma_k = V_k R_k V_k      expert k: diagonal volatilities, correlations shrunk to one factor
        W       = sum_k p_k W_k    with W_k = chol(Sigma_k)^-1
        Sigma   = (W'W)^-1

    The weights p >= 0 maximise the decayed likelihood of the last bars under W; they need not sum to one, so
    that the level is learnt too.

    Parameters
    ----------
    n : int
        Number of assets, at least 1.

    Notes
    -----
    Missing returns (NaN, infinite, beyond 1e100): an asset's volatility waits for its next return.  In an
    expert's outer products its standardised return is replaced by the expectation given those that were seen,
    and the conditional covariance of the missing ones is added, so that neither variances nor correlations
    fade; the weights learn from the expected likelihood in the same way.  A bar without any return changes
    nothing.  An asset that never moved has no covariance but, where others have, their usual variance.

    The weights learn from the experts' inverse factors W_k, in units of their volatilities.  One expert's is
    renewed every third bar, in turn: correlations with half-lives of 63 bars and more barely move in twelve.
    Weights are found again every third bar, too.  Volatilities are always fresh.  `deviation` makes do with
    these factors and weights; `matrix` factorises all and finds the weights of the last bar.
    Above 256 assets one is renewed every sixth bar, and `matrix` makes do as well.

    References
    ----------
    K. Johansson et al., A Simple Method for Predicting Covariance Matrices of Financial Returns, 2023.
    S. Barratt, S. Boyd, Covariance prediction via convex optimization, Optimization and Engineering, 2023.

    Raises
    ------
    ValueError
        If n < 1.
    """

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        self.n = n
        self._forecasts = VolatilityForecasts(n)
        self._weights = CombinationWeights(len(EXPERTS), n)
        self._decays = np.array([decay_of(expert.correlation_half_life) for expert in EXPERTS])
        self._products = np.zeros((len(EXPERTS), n, n))
        self._whiteners = np.zeros((len(EXPERTS), n, n))
        self._whiteners[:, np.arange(n), np.arange(n)] = 1.0
        self._bars = 0
        self._mixed: FloatArray | None = None
        self._matrix: FloatArray | None = None

    @property
    def bars(self) -> int:
        """Bars that have been taken: those with a return, from the first that is not all zero."""
        return self._bars

    @property
    def weights(self) -> FloatArray:
        """Present weights of the experts, (4,)."""
        return self._weights.present().copy()

    def update(self, returns: ArrayLike) -> None:
        """Take the returns of one bar.

        Parameters
        ----------
        returns : (n,) array_like
            Simple returns; NaN, infinities and what lies beyond 1e100 are missing.

        Raises
        ------
        ValueError
            If the shape is not (n,).
        """
        x = np.asarray(returns, np.float64)
        if x.shape != (self.n,):
            raise ValueError(f"returns must be of shape ({self.n},), got {x.shape}")
        own = self._forecasts.own
        seen, moved = np.empty(self.n, np.bool_), np.empty(self.n, np.bool_)
        values = np.empty(self.n)
        reported, missing = sort_out(x, own[0], FARTHEST, seen, moved, values)
        if not reported or (self._bars == 0 and not values.any()):
            return
        self._absorb(values, seen, moved, own, missing)
        self._forecasts.update(values, seen)
        every = RENEW_EVERY if self.n <= FRESH else RENEW_MANY
        if self._bars % every == 0:
            k = self._bars // every % len(EXPERTS)
            self._factorise(k, self._whiteners[k])
        self._bars += 1
        self._mixed = self._matrix = None

    def _absorb(
        self, x: FloatArray, seen: BoolArray, moved: BoolArray, own: FloatArray, missing: int
    ) -> None:
        """Learn weights, then correlations, from the assets that have moved before; the rest has no unit."""
        absent = directions = None
        if missing:
            absent = np.flatnonzero(moved & ~seen)
            directions = np.tril(self._whiteners)[:, :, absent]
        if self._bars >= MATURE:
            self._learn(x, moved, absent, directions)
        z = np.empty((len(EXPERTS), self.n))
        standardise(x, seen, moved, own, KINDS, WINSOR, z)
        if absent is None or directions is None:
            decay_and_add(self._products, self._decays, z)
            return
        roots = []
        whitened = z.copy()
        whiten_each(self._whiteners, whitened)
        for k in range(len(EXPERTS)):
            z[k, absent], root = given(whitened[k], directions[k])
            roots.append(root)
        decay_and_add(self._products, self._decays, z)
        for k, root in enumerate(roots):
            self._products[k][np.ix_(absent, absent)] += root @ root.T

    def _learn(
        self, x: FloatArray, moved: BoolArray, absent: NDArray[np.intp] | None, directions: FloatArray | None
    ) -> None:
        leaning = self._forecasts.leaning()
        K = len(EXPERTS)
        whitened, diagonals, gram = np.empty((K, self.n)), np.empty((K, self.n)), np.empty((K, K))
        standardise(x, moved, moved, leaning, KINDS, WINSOR_LEARNING, whitened)
        whiten_each(self._whiteners, whitened)
        count = whitened_squares(self._whiteners, whitened, moved, leaning, KINDS, diagonals, gram)
        if absent is not None and directions is not None:
            # The expected likelihood under the present mixture, as in a step of expectation-maximisation.
            p = self._weights.p
            deviations = leaning[KINDS][:, absent]
            by_expert = directions / deviations[:, None]
            unit = deviations[0]  # to solve in the assets' own units
            expectation, root = given(p @ whitened, np.tensordot(p, by_expert, 1) * unit)
            whitened = whitened + by_expert @ (expectation * unit)
            uncertain = (by_expert @ (unit[:, None] * root)).reshape(K, -1)
            gram = whitened @ whitened.T + uncertain @ uncertain.T
        if count:
            self._weights.update(diagonals, gram, count)

    def _factorise(self, k: int, out: FloatArray) -> None:
        """The inverse Cholesky factor of expert k's correlations, into the lower triangle of `out`."""
        count = self._forecasts.count
        moved = int(np.count_nonzero(self._forecasts.own[0]))
        decay = float(self._decays[k])
        faded = decay ** float(count.max())
        # what an average with these weights is worth in bars, (sum w)^2 / sum w^2
        size = (1.0 + decay) / (1.0 - decay) * (1.0 - faded) / (1.0 + faded)
        shrinkage = max(EXPERTS[k].shrinkage, moved / (moved + size)) if moved else 1.0
        shrunk_correlation(self._products[k], trust(count, MATURE), shrinkage, out)
        factorise(out)
        invert(out)

    def deviation(self, weights: FloatArray) -> float:
        """Standard deviation of some holdings' return in a bar, sqrt(w' Sigma w), without forming Sigma.

        With Sigma = U W^-1 W^-T U it is the length of W^-T U w; of the factors from which weights are learnt,
        so that it may be asked at every bar.
        """
        unit, ratios = self._units()
        if self._mixed is None:
            self._mixed = np.empty((self.n, self.n))
            mix(self._whiteners, self._weights.p, ratios, self._mixed)
        return length_before(self._mixed, unit * weights)

    def _units(self) -> tuple[FloatArray, FloatArray]:
        """The first expert's volatilities, and by expert what these are in the expert's own, (4, n)."""
        deviations = self._forecasts.leaning()
        ratios = np.empty((len(EXPERTS), self.n))
        unit_ratios(deviations, KINDS, ratios)
        return deviations[KINDS[0]], ratios

    def volatility(self) -> FloatArray:
        """Standard deviation of a bar's return, of shape (n,)."""
        volatility: FloatArray = np.sqrt(np.diag(self.matrix()))
        return volatility

    def correlation(self) -> FloatArray:
        """Correlations, of shape (n, n), with a unit diagonal."""
        volatility = self.volatility()
        inverse = np.divide(1.0, volatility, out=np.zeros(self.n), where=volatility > 0.0)
        correlation: FloatArray = self.matrix() * inverse[:, None] * inverse
        np.fill_diagonal(correlation, 1.0)
        return correlation

    def matrix(self) -> FloatArray:
        """Sigma per bar, of shape (n, n), in squared units of the returns."""
        if self._matrix is None:
            self._matrix = self._fresh()
        return self._matrix.copy()

    def _fresh(self) -> FloatArray:
        """Sigma, with all correlations as of now where that can be afforded."""
        unit, ratios = self._units()
        whiteners, p = self._whiteners, self._weights.present()
        if self.n <= FRESH:
            whiteners = np.zeros_like(whiteners)
            for k in np.flatnonzero(p):
                self._factorise(int(k), whiteners[k])
        root = np.zeros((self.n, self.n))
        mix(whiteners, p, ratios, root)
        invert(root)
        root *= unit[:, None]
        covariance: FloatArray = root @ root.T
        return covariance

    def reindex(self, index: ArrayLike) -> CovarianceMixture:
        """The estimate for another list of assets.

        Parameters
        ----------
        index : (m,) array_like of int
            For each asset of the new list its position in the old one, or -1 for a newcomer.

        Raises
        ------
        ValueError
            If a position is out of range or named twice, or the list is empty.
        """
        positions = np.asarray(index, np.int64)
        if positions.ndim != 1 or positions.size == 0:
            raise ValueError(f"index must be a vector and not empty, got shape {positions.shape}")
        stays = positions >= 0
        old = positions[stays]
        if (positions < -1).any() or (old >= self.n).any() or np.unique(old).size < old.size:
            raise ValueError(f"index must name each position below {self.n} at most once, and -1 for others")
        estimate = CovarianceMixture(positions.size)
        estimate._forecasts = self._forecasts.reindex(positions)
        estimate._weights = self._weights.reindex(positions)
        whole = np.tril(self._products) + np.tril(self._products, -1).transpose(0, 2, 1)
        kept = np.flatnonzero(stays)
        for k in range(len(EXPERTS)):
            estimate._products[k][np.ix_(kept, kept)] = whole[k][np.ix_(old, old)]
            estimate._factorise(k, estimate._whiteners[k])
        estimate._bars = self._bars if estimate._forecasts.own[0].any() else 0
        return estimate

    def state(self) -> State:
        """All that the estimate knows, as arrays; `from_state` continues from it with identical bits.

        `triangles` holds the outer products in its lower triangles and the transposed inverse factors above
        them.
        """
        above = np.triu(self._whiteners.transpose(0, 2, 1), 1)
        return {
            **self._forecasts.state(),
            **self._weights.state(),
            "triangles": np.tril(self._products) + above,
            "whitener_diagonals": np.diagonal(self._whiteners, axis1=1, axis2=2).copy(),
            "bars": np.array([self._bars], np.int64),
        }

    @classmethod
    def from_state(cls, state: State) -> CovarianceMixture:
        """The estimate that `state` described.

        Raises
        ------
        ValueError
            If an array has not the shape that the number of assets asks for.
        """
        estimate = cls(len(state["count"]))
        estimate._forecasts.load(state)
        estimate._weights.load(state)
        triangles, diagonals = state["triangles"], state["whitener_diagonals"]
        for name, array, shape in (
            ("triangles", triangles, estimate._products.shape),
            ("whitener_diagonals", diagonals, estimate._products.shape[:2]),
        ):
            if np.shape(array) != shape:
                raise ValueError(f"{name} must be of shape {shape}, got {np.shape(array)}")
        estimate._products[...] = np.tril(triangles)
        estimate._whiteners[...] = np.tril(triangles.transpose(0, 2, 1), -1)
        assets = np.arange(estimate.n)
        estimate._whiteners[:, assets, assets] = diagonals
        estimate._bars = int(state["bars"][0])
        return estimate
