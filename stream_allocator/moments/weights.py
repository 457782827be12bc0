"""Weights of the experts: the maximum of a small concave likelihood, found again after every third bar.

With y_k = W_k x and d_k = diag(W_k) of the experts' inverse Cholesky factors, the combination
W = sum_k p_k W_k gives a bar the log-likelihood sum_i log(sum_k p_k d_ki) - |sum_k p_k y_k|^2 / 2, concave
in p.  The weights maximise the decayed sum over the last bars, less a quadratic that pulls them to equal
weights and, more strongly, their sum to one; p >= 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import compiled, in_place, log, serial_sum

FloatArray = NDArray[np.float64]
State = dict[str, NDArray[Any]]

# Half-life of a bar's likelihood and the bars that are kept: four half-lives and one.
HALF_LIFE = 30.0
WINDOW = 121
# Bars from one maximum to the next: in two bars weights with this half-life hardly move.
LEARN_EVERY = 3
# Pull to equal weights and of the sum to one, per asset.
PULL_EQUAL = 0.4
PULL_SUM = 4.0
# Newton steps of one bar at most, halvings of one step at most, and the gain per asset that ends them.
STEPS = 20
HALVINGS = 30
ENOUGH = 1e-9
# A step that promises less than this for each logarithm changes their arguments by two hundredths or so: it
# is the last, and nobody asks what it gained.
NEAR = 3e-4
# Bars and assets that are summed side by side.
BLOCK = 128


@in_place
def derivatives(
    diagonals: FloatArray,
    bar_weights: FloatArray,
    p: FloatArray,
    work: FloatArray,
    gradient: FloatArray,
    curvature: FloatArray,
) -> None:
    """Gradient and the negative of the Hessian of sum_u w_u sum_i log(sum_k p_k d_kui), over d_ui > 0.

    Bars and assets are taken a block at a time, and block is added to block element by element: fast, and in
    one order everywhere.

    Parameters
    ----------
    diagonals : (K, bars, n) array
        An asset that does not count in a bar has zeros.
    bar_weights : (bars,) array
    p : (K,) array
    work : (2 + 2 K + K (K + 1) / 2, block) array
        Overwritten.
    gradient, curvature : (K,) and (K, K) arrays
        Overwritten.
    """
    K, bars, n = diagonals.shape
    block = work.shape[1]
    shares, total = work[0], work[1]
    work[2 + K :] = 0.0
    for start in range(0, bars * n, block):
        size = min(block, bars * n - start)
        u, i = start // n, start % n
        done = 0
        while done < size:  # the weights of the bars that the block holds
            run = min(n - i, size - done)
            shares[done : done + run] = bar_weights[u]
            done += run
            u, i = u + 1, 0
        total[:size] = 0.0
        for k in range(K):
            d = diagonals[k].reshape(bars * n)[start : start + size]
            pk = p[k]
            for h in range(size):
                total[h] += pk * d[h]
        for h in range(size):
            total[h] = 1.0 / (total[h] if total[h] > 0.0 else 1.0)
        m = 2 + 2 * K
        for k in range(K):
            d = diagonals[k].reshape(bars * n)[start : start + size]
            q, first = work[2 + k], work[2 + K + k]
            for h in range(size):
                q[h] = d[h] * total[h]
            for h in range(size):
                first[h] += shares[h] * q[h]
            for j in range(k + 1):
                other, second = work[2 + j], work[m]
                for h in range(size):
                    second[h] += shares[h] * q[h] * other[h]
                m += 1
    m = 2 + 2 * K
    for k in range(K):
        gradient[k] = serial_sum(work[2 + K + k])
        for j in range(k + 1):
            curvature[k, j] = curvature[j, k] = serial_sum(work[m])
            m += 1


@in_place
def log_likelihood(diagonals: FloatArray, bar_weights: FloatArray, p: FloatArray, work: FloatArray) -> float:
    """sum_u w_u sum_i log(sum_k p_k d_kui) over d_ui > 0: see `derivatives`."""
    K, bars, n = diagonals.shape
    block = work.shape[1]
    value, total = work[0], work[1]
    value[:] = 0.0
    for u in range(bars):
        w = bar_weights[u]
        if w == 0.0:
            continue
        for start in range(0, n, block):
            size = min(block, n - start)
            total[:size] = 0.0
            for k in range(K):
                pk = p[k]
                d = diagonals[k, u, start : start + size]
                for h in range(size):
                    total[h] += pk * d[h]
            for h in range(size):
                value[h] += w * log(total[h] if total[h] > 0.0 else 1.0)
    return serial_sum(value)


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

        F(p) = sum_u w_u sum_i log(sum_k p_k d_kui) - p'Gp / 2
               - (to_equal |p - 1/K|^2 + to_one (sum p - 1)^2) / 2

    A step maximises the second-order expansion over p >= 0 and is halved until F gains at least a
    thousandth of what the gradient promises: F is strictly concave, so this converges from any start with
    F(start) finite, and the gain still to be had bounds the error.  What promises little is taken as it is:
    there the expansion is good, and what is left after the step is less by the square.
    """
    K = start.size
    enough = ENOUGH * diagonals.shape[2]
    work = np.empty((2 + 2 * K + K * (K + 1) // 2, BLOCK))
    gradient = np.empty(K)
    curvature = np.empty((K, K))
    p = start.copy()
    for _ in range(STEPS):
        derivatives(diagonals, bar_weights, p, work, gradient, curvature)
        logarithms = gradient @ p  # their weights' sum, since each log is homogeneous in p
        penalise(gram, to_equal, to_one, p, gradient, curvature)
        step = non_negative_maximum(curvature, gradient + curvature @ p) - p
        promise = gradient @ step
        if promise <= enough:
            break
        if promise <= NEAR * logarithms:
            p = np.maximum(p + step, 0.0)
            break
        value = penalised(diagonals, bar_weights, gram, to_equal, to_one, p, work)
        length = 1.0
        for _ in range(HALVINGS):
            trial = np.maximum(p + length * step, 0.0)
            reached = penalised(diagonals, bar_weights, gram, to_equal, to_one, trial, work)
            if reached >= value + 1e-3 * length * promise:
                break
            length *= 0.5
        else:
            break  # rounding hides what is left to gain
        p = trial
    return p


@in_place
def penalise(
    gram: FloatArray,
    to_equal: float,
    to_one: float,
    p: FloatArray,
    gradient: FloatArray,
    curvature: FloatArray,
) -> None:
    """Add what the squares and the pulls of F give to its gradient and to the negative of its Hessian."""
    K = p.size
    excess = -1.0
    for k in range(K):
        excess += p[k]
    for k in range(K):
        image = 0.0
        for j in range(K):
            image += gram[k, j] * p[j]
            curvature[k, j] += gram[k, j] + to_one
        curvature[k, k] += to_equal
        gradient[k] -= image + to_equal * (p[k] - 1.0 / K) + to_one * excess


@in_place
def penalised(
    diagonals: FloatArray,
    bar_weights: FloatArray,
    gram: FloatArray,
    to_equal: float,
    to_one: float,
    p: FloatArray,
    work: FloatArray,
) -> float:
    """F at p: see `maximise`."""
    K = p.size
    value = log_likelihood(diagonals, bar_weights, p, work)
    excess = -1.0
    for k in range(K):
        excess += p[k]
        apart = p[k] - 1.0 / K
        value -= 0.5 * to_equal * apart * apart
        for j in range(K):
            value -= 0.5 * p[k] * gram[k, j] * p[j]
    return value - 0.5 * to_one * excess * excess


@in_place
def take_bar(
    diagonals: FloatArray,
    gram: FloatArray,
    place: int,
    decay: float,
    ring: FloatArray,
    squares: FloatArray,
) -> None:
    """Put one bar's diagonals into the ring and its squares on top of the decayed ones."""
    for k in range(squares.shape[0]):
        for i in range(ring.shape[2]):
            ring[k, place, i] = diagonals[k, i]
        for j in range(squares.shape[1]):
            squares[k, j] = decay * squares[k, j] + gram[k, j]


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
        self._diagonals = np.zeros((experts, WINDOW, n))
        self._bars = 0
        # a bar's weight by its place in the ring, twice round: the latest stands before the turn
        self._by_place = self._decay ** ((-1 - np.arange(2 * WINDOW)) % WINDOW)

    def update(self, diagonals: FloatArray, gram: FloatArray, count: int) -> None:
        """Take one bar; after every third one the weights are found again.

        Parameters
        ----------
        diagonals : (K, n) array
            diag(W_k); zeros for assets that do not count.
        gram : (K, K) array
            y_k . y_l, with what missing returns add in expectation.
        count : int
            Assets that count.
        """
        take_bar(diagonals, gram, self._bars % WINDOW, self._decay, self._diagonals, self._gram)
        self._bars += 1
        if self._bars % LEARN_EVERY == 0:
            self.p = self._found(count)

    def present(self) -> FloatArray:
        """The weights as of the last bar, whether or not it was one that finds them; (K,)."""
        if self._bars % LEARN_EVERY == 0:
            return self.p
        return self._found(int(np.count_nonzero(self._diagonals[0, (self._bars - 1) % WINDOW])))

    def _found(self, count: int) -> FloatArray:
        turn = WINDOW - self._bars % WINDOW
        shares = self._by_place[turn : turn + WINDOW]  # places that are still empty add nothing
        pulls = count * PULL_EQUAL, count * PULL_SUM
        found: FloatArray = maximise(self._diagonals, shares, self._gram, *pulls, self.p)
        return found

    def reindex(self, index: NDArray[np.int64]) -> CombinationWeights:
        """For another list of assets: what is known of those that stay, the squares at their share."""
        weights = CombinationWeights(len(self.p), len(index))
        stays = index >= 0
        weights._diagonals[:, :, stays] = self._diagonals[:, :, index[stays]]
        latest = self._diagonals[0, (self._bars - 1) % WINDOW]
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
            "diagonals": self._diagonals.transpose(1, 0, 2).copy(),
            "learnt": np.array([self._bars], np.int64),
        }

    def load(self, state: State) -> None:
        """Go on from what `state` described."""
        by_bar = self._diagonals.transpose(1, 0, 2)
        for name, target in (("weights", self.p), ("gram", self._gram), ("diagonals", by_bar)):
            if np.shape(state[name]) != target.shape:
                raise ValueError(f"{name} must be of shape {target.shape}, got {np.shape(state[name])}")
            target[...] = state[name]
        self._bars = int(state["learnt"][0])
