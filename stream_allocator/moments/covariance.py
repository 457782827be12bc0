"""The long-run covariance: slow correlations, faster volatilities, one bar at a time.

The iterated EWMA of Barratt & Boyd (2023): an EWMA of squares gives each asset's volatility; returns
standardised by it, winsorised, feed an EWMA of outer products, whose correlations are shrunk to the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve

FloatArray = NDArray[np.float64]
State = dict[str, NDArray[Any]]

# Standardised returns beyond this many standard deviations count as that many.
WINSOR = 4.0
# A return at least this large is no return: its square would not fit.
FARTHEST = 1e100
# Added to a correlation's diagonal before it is inverted: duplicates without shrinkage are singular.
JITTER = 1e-9


class LongRunCovariance:
    """Iterated EWMA covariance of zero-mean returns, positive semi-definite after any input.

        sigma_i^2 = EWMA_v(x_i^2)
        z_i       = clip(x_i / sigma_i before x, -4, 4)
        C         = EWMA_c(z z'),  R = corr(C)
        Sigma     = diag(sigma) ((1 - rho) R + rho I) diag(sigma)

    Parameters
    ----------
    n : int
        Number of assets, at least 1.
    volatility_half_life, correlation_half_life : float
        Half-lives in bars, positive.
    shrinkage : float
        rho in [0, 1]: weight of the identity.
    prior_variance : float, optional
        Variance of a bar's return at the start.  By default the mean square of the first bar that is not all
        zero: the data bring their own unit.  Until then the covariance is zero.
    prior_observations : float
        Observations that the start (this variance, no correlation) is worth, positive; they fade like others.

    Notes
    -----
    Missing returns (NaN, infinite): an asset's volatility waits for its next return.  In the outer product
    its z is replaced by the expectation given the z that were seen, under the present Gaussian, and the
    conditional covariance of the missing ones is added to their block, so that neither variance nor
    correlation fades.  A bar without any return changes nothing.

    References
    ----------
    S. Barratt, S. Boyd, Covariance prediction via convex optimization, Optimization and Engineering, 2023.
    K. Johansson et al., A Simple Method for Predicting Covariance Matrices of Financial Returns, 2023.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    def __init__(
        self,
        n: int,
        *,
        volatility_half_life: float = 42.0,
        correlation_half_life: float = 125.0,
        shrinkage: float = 0.1,
        prior_variance: float | None = None,
        prior_observations: float = 5.0,
    ) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        for name, value in (
            ("volatility_half_life", volatility_half_life),
            ("correlation_half_life", correlation_half_life),
            ("prior_observations", prior_observations),
            ("prior_variance", 1.0 if prior_variance is None else prior_variance),
        ):
            if not 0.0 < value < np.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not 0.0 <= shrinkage <= 1.0:
            raise ValueError(f"shrinkage must be in [0, 1], got {shrinkage}")
        self.n = n
        self._settings = np.array(
            [volatility_half_life, correlation_half_life, shrinkage, prior_observations], np.float64
        )
        self._volatility_decay = 0.5 ** (1.0 / volatility_half_life)
        self._correlation_decay = 0.5 ** (1.0 / correlation_half_life)
        self._shrinkage = float(shrinkage)
        self._squares = np.zeros(n)
        self._square_weights = np.full(n, float(prior_observations))
        self._products = prior_observations * np.eye(n)
        self._product_weight = float(prior_observations)
        self._bars = 0
        if prior_variance is not None:
            self._squares[:] = prior_observations * prior_variance

    @property
    def bars(self) -> int:
        """Bars that have been taken: those with a return, from the first that is not all zero."""
        return self._bars

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
        seen = np.abs(x) < FARTHEST
        if not seen.any():
            return
        square = np.where(seen, x, 0.0) ** 2
        if not self._squares.any():
            start = square[seen].mean()
            if start == 0.0:
                return
            self._squares[:] = self._square_weights * start
        volatility = self.volatility()
        z = np.divide(x, volatility, out=np.zeros(self.n), where=seen & (volatility > 0.0))
        np.clip(z, -WINSOR, WINSOR, out=z)
        self._products *= self._correlation_decay
        if not seen.all():
            missing = ~seen
            z[missing], conditional = self._given(z, seen, missing)
            self._products[np.ix_(missing, missing)] += conditional
        self._products += np.outer(z, z)
        self._product_weight = self._correlation_decay * self._product_weight + 1.0
        self._squares[seen] = self._volatility_decay * self._squares[seen] + square[seen]
        self._square_weights[seen] = self._volatility_decay * self._square_weights[seen] + 1.0
        self._bars += 1

    def _given(
        self, z: FloatArray, seen: NDArray[np.bool_], missing: NDArray[np.bool_]
    ) -> tuple[FloatArray, FloatArray]:
        """Expectation and covariance of the missing z given the seen ones."""
        correlation = self.correlation()
        cross = correlation[np.ix_(seen, missing)]
        among = correlation[np.ix_(seen, seen)]
        among[np.diag_indices_from(among)] += JITTER
        regression = cho_solve(cho_factor(among, lower=True), cross)
        conditional = correlation[np.ix_(missing, missing)] - cross.T @ regression
        return regression.T @ z[seen], 0.5 * (conditional + conditional.T)

    def volatility(self) -> FloatArray:
        """Standard deviation of a bar's return, of shape (n,)."""
        volatility: FloatArray = np.sqrt(self._squares / self._square_weights)
        return volatility

    def correlation(self) -> FloatArray:
        """Shrunk correlations, of shape (n, n)."""
        scale = np.sqrt(np.diag(self._products))
        inverse = np.divide(1.0, scale, out=np.zeros(self.n), where=scale > 0.0)
        correlation: FloatArray = (1.0 - self._shrinkage) * (self._products * np.outer(inverse, inverse))
        np.fill_diagonal(correlation, 1.0)
        return correlation

    def matrix(self) -> FloatArray:
        """Sigma per bar, of shape (n, n), in squared units of the returns."""
        volatility = self.volatility()
        covariance: FloatArray = self.correlation() * np.outer(volatility, volatility)
        return covariance

    def state(self) -> State:
        """All that the estimate knows, as arrays; `from_state` continues from it with identical bits."""
        return {
            "settings": self._settings.copy(),
            "squares": self._squares.copy(),
            "square_weights": self._square_weights.copy(),
            "products": self._products.copy(),
            "product_weight": np.array([self._product_weight]),
            "bars": np.array([self._bars], np.int64),
        }

    @classmethod
    def from_state(cls, state: State) -> LongRunCovariance:
        """The estimate that `state` described.

        Raises
        ------
        ValueError
            If an array has not the shape that the number of assets asks for.
        """
        volatility_half_life, correlation_half_life, shrinkage, prior_observations = (
            float(setting) for setting in state["settings"]
        )
        estimate = cls(
            len(state["squares"]),
            volatility_half_life=volatility_half_life,
            correlation_half_life=correlation_half_life,
            shrinkage=shrinkage,
            prior_observations=prior_observations,
        )
        for name in ("squares", "square_weights", "products"):
            target = getattr(estimate, f"_{name}")
            if np.shape(state[name]) != target.shape:
                raise ValueError(f"{name} must be of shape {target.shape}, got {np.shape(state[name])}")
            target[...] = state[name]
        estimate._product_weight = float(state["product_weight"][0])
        estimate._bars = int(state["bars"][0])
        return estimate
