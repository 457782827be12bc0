"""Weights of the experts: the maximum of a small concave likelihood, found again after every bar.

With y_k = W_k x and d_k = diag(W_k) of the experts' inverse Cholesky factors, the combination
W = sum_k p_k W_k gives a bar the log-likelihood sum_i log(sum_k p_k d_ki) - |sum_k p_k y_k|^2 / 2, concave
in p.  The weights maximise the decayed sum over the last bars, less a quadratic that pulls them to equal
weights and, more strongly, their sum to one; p >= 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled, log

FloatArray = NDArray[np.float64]
State = dict[str, NDArray[Any]]

# Half-life of a bar's likelihood and the bars that are kept: four half-lives and one.
HALF_LIFE = 30.0
WINDOW = 121
# Pull to equal weights and of the sum to one, per asset.
PULL_EQUAL = 0.4
PULL_SUM = 4.0
# Newton steps of one bar at most, halvings of one step at most, and the gain per asset that ends them.
STEPS = 20
HALVINGS = 30
ENOUGH = 1e-9


@compiled
def log_likelihood(
    diagonals: FloatArray, bar_weights: FloatArray, p: FloatArray, gradient: FloatArray, curvature: FloatArray
) -> float:
    """sum_u w_u sum_i log(sum_k p_k d_uki), its gradient and the negative of its Hessian, over d_ui > 0.

    Sums run over bars first and assets last, element by element: fast, and in one order everywhere.

    Parameters
    ----------
    diagonals : (bars, K, n) array
        An asset that does not count in a bar has zeros.
    bar_weights : (bars,) array
    p : (K,) array
    gradient, curvature : (K,) and (K, K) arrays
        Overwritten.
    """
    bars, K, n = diagonals.shape
    value = np.zeros(n)
    first = np.zeros((K, n))
    second = np.zeros((K * (K + 1) // 2, n))
    total = np.empty(n)
    q = np.empty((K, n))
    for u in range(bars):
        w = bar_weights[u]
        if w == 0.0:
            continue
        total[:] = 0.0
        for k in range(K):
            pk = p[k]
            d = diagonals[u, k]
            for i in range(n):
                total[i] += pk * d[i]
        for i in range(n):
            t = total[i] if total[i] > 0.0 else 1.0
            value[i] += w * log(t)
            total[i] = 1.0 / t
        m = 0
        for k in range(K):
            qk = q[k]
            d = diagonals[u, k]
            fk = first[k]
            for i in range(n):
                qk[i] = d[i] * total[i]
                fk[i] += w * qk[i]
            for j in range(k + 1):
                qj = q[j]
                s = second[m]
                for i in range(n):
                    s[i] += w * qk[i] * qj[i]
                m += 1
    m = 0
    for k in range(K):
        gradient[k] = first[k].sum()
        for j in range(k + 1):
            curvature[k, j] = curvature[j, k] = second[m].sum()
            m += 1
    result: float = value.sum()
    return result


@compiled
def maximum_on(support: int, a: FloatArray, b: FloatArray, q: FloatArray) -> float:
    """max b'q - q'aq / 2 over q that are zero outside the support (a bit for each entry): value, and q.

    By a Cholesky factorisation in which an entry outside has the row and column of the identity.
    """
    K = b.size
    factor = np.zeros((K, K))
    for i in range(K):
        q[i] = b[i] if support >> i & 1 else 0.0
        for j in range(i + 1):
            inside = support >> i & 1 and support >> j & 1
            rest = a[i, j] if inside else (1.0 if i == j else 0.0)
            for m in range(j):
                rest -= factor[i, m] * factor[j, m]
            factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
        for m in range(i):
            q[i] -= factor[i, m] * q[m]
        q[i] /= factor[i, i]
    value = 0.0
    for i in range(K - 1, -1, -1):
        value += 0.5 * q[i] * q[i]
        for m in range(i + 1, K):
            q[i] -= factor[m, i] * q[m]
        q[i] /= factor[i, i]
    return value


@compiled
def non_negative_maximum(a: FloatArray, b: FloatArray) -> FloatArray:
    """argmax b'q - q'aq / 2 over q >= 0, for a small positive definite a: the best of all supports.

    The unconstrained maximum if it is not negative; otherwise every support is tried, so there is nothing to
    converge and no tolerance.
    """
    K = b.size
    everything = (1 << K) - 1
    best = np.empty(K)
    maximum_on(everything, a, b, best)
    if is_non_negative(best):
        return best
    for i in range(K):
        best[i] = 0.0
    most = 0.0
    q = np.empty(K)
    for support in range(1, everything):
        value = maximum_on(support, a, b, q)
        if value > most and is_non_negative(q):
            most = value
            for i in range(K):
                best[i] = q[i]
    return best


@compiled
def is_non_negative(q: FloatArray) -> bool:
    """Whether no entry is negative."""
    for value in q:  # noqa: SIM110 - a generator does not compile
        if value < 0.0:
            return False
    return True


@compiled
def maximise(
    diagonals: FloatArray,
    bar_weights: FloatArray,
    gram: FloatArray,
    to_equal: float,
    to_one: float,
    start: FloatArray,
) -> FloatArray:
    """The weights with the largest penalised likelihood, p >= 0, by Newton steps from `start`.

        F(p) = sum_u w_u sum_i log(sum_k p_k d_uki) - p'Gp / 2
               - (to_equal |p - 1/K|^2 + to_one (sum p - 1)^2) / 2

    A step maximises the second-order expansion over p >= 0 and is halved until F gains at least a
    thousandth of what the gradient promises: F is strictly concave, so this converges from any start with
    F(start) finite, and the gain still to be had bounds the error.
    """
    K = start.size
    enough = ENOUGH * diagonals.shape[2]
    gradient = np.empty(K)
    curvature = np.empty((K, K))
    p = start.copy()
    value = penalised(diagonals, bar_weights, gram, to_equal, to_one, p, gradient, curvature)
    for _ in range(STEPS):
        step = non_negative_maximum(curvature, gradient + curvature @ p) - p
        promise = gradient @ step
        if promise <= enough:
            break
        length = 1.0
        for _ in range(HALVINGS):
            trial = np.maximum(p + length * step, 0.0)
            trial_gradient = np.empty(K)
            trial_curvature = np.empty((K, K))
            reached = penalised(
                diagonals, bar_weights, gram, to_equal, to_one, trial, trial_gradient, trial_curvature
            )
            if reached >= value + 1e-3 * length * promise:
                break
            length *= 0.5
        else:
            break  # rounding hides what is left to gain
        p, value, gradient, curvature = trial, reached, trial_gradient, trial_curvature
        if length == 1.0 and promise <= 1e6 * enough:
            break  # Newton's next step would be smaller by the square
    return p


@compiled
def penalised(
    diagonals: FloatArray,
    bar_weights: FloatArray,
    gram: FloatArray,
    to_equal: float,
    to_one: float,
    p: FloatArray,
    gradient: FloatArray,
    curvature: FloatArray,
) -> float:
    """F at p, its gradient and the negative of its Hessian (both overwritten): see `maximise`."""
    K = p.size
    value: float = log_likelihood(diagonals, bar_weights, p, gradient, curvature)
    excess = p.sum() - 1.0
    image = gram @ p
    value -= 0.5 * (p @ image) + 0.5 * to_one * excess * excess
    for k in range(K):
        apart = p[k] - 1.0 / K
        value -= 0.5 * to_equal * apart * apart
        gradient[k] -= image[k] + (to_equal * apart + to_one * excess)
        for j in range(K):
            curvature[k, j] += gram[k, j] + to_one
        curvature[k, k] += to_equal
    return value


class CombinationWeights:
    """Weights of K experts on n assets, learnt from the last 121 bars with a half-life of 30.

    Parameters
    ----------
    experts, n : int
    """

    def __init__(self, experts: int, n: int) -> None:
        self.p = np.full(experts, 1.0 / experts)
        self._decay = 0.5 ** (1.0 / HALF_LIFE)
        self._gram = np.zeros((experts, experts))
        self._diagonals = np.zeros((WINDOW, experts, n))
        self._bars = 0

    def update(self, diagonals: FloatArray, gram: FloatArray, count: int) -> None:
        """Take one bar.

        Parameters
        ----------
        diagonals : (K, n) array
            diag(W_k); zeros for assets that do not count.
        gram : (K, K) array
            y_k . y_l, with what missing returns add in expectation.
        count : int
            Assets that count.
        """
        self._gram *= self._decay
        self._gram += gram
        self._diagonals[self._bars % WINDOW] = diagonals
        self._bars += 1
        age = (self._bars - 1 - np.arange(WINDOW)) % WINDOW
        bar_weights = np.where(age < self._bars, self._decay**age, 0.0)
        self.p = maximise(
            self._diagonals, bar_weights, self._gram, count * PULL_EQUAL, count * PULL_SUM, self.p
        )

    def reindex(self, index: NDArray[np.int64]) -> CombinationWeights:
        """For another list of assets: what is known of those that stay, the squares at their share."""
        weights = CombinationWeights(len(self.p), len(index))
        stays = index >= 0
        weights._diagonals[:, :, stays] = self._diagonals[:, :, index[stays]]
        latest = self._diagonals[(self._bars - 1) % WINDOW, 0]
        before = np.count_nonzero(latest)
        after = np.count_nonzero(latest[index[stays]])
        weights._gram = self._gram * (after / before if before else 0.0)
        weights._bars = self._bars if after else 0
        weights.p = self.p.copy()
        return weights

    def state(self) -> State:
        """All that it knows, as arrays."""
        return {
            "weights": self.p.copy(),
            "gram": self._gram.copy(),
            "diagonals": self._diagonals.copy(),
            "learnt": np.array([self._bars], np.int64),
        }

    def load(self, state: State) -> None:
        """Go on from what `state` described."""
        for name, target in (("weights", self.p), ("gram", self._gram), ("diagonals", self._diagonals)):
            if np.shape(state[name]) != target.shape:
                raise ValueError(f"{name} must be of shape {target.shape}, got {np.shape(state[name])}")
            target[...] = state[name]
        self._bars = int(state["learnt"][0])
