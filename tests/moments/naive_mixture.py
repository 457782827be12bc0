"""The covariance mixture once more, in plain NumPy by the definitions: covariances, not factors."""

import numpy as np
from scipy.optimize import minimize

HALF_LIVES = (3, 21, 63, 125, 200)
EXPERTS = (("blended", 63, 0.2), ("blended", 250, 0.1), ("quarter", 125, 0.1), ("year", 250, 0.1))
K = len(EXPERTS)


class NaiveMixture:
    def __init__(self, n, many=False):
        self.n = n
        self.many = many  # correlations are renewed every sixth bar and never afresh
        self.history = [[] for _ in range(n)]  # winsorised squares of each asset
        self.level = []  # mean of x^2 / E125, oldest first
        self.products = [np.zeros((n, n)) for _ in EXPERTS]
        self.correlations = [np.eye(n) for _ in EXPERTS]  # each as of its own last renewal
        self.p = np.full(K, 1 / K)
        self.learnt = []  # (diagonals, gram, assets that count), oldest first
        self.bars = 0

    def update(self, returns):
        x = np.array(returns, float)
        seen = np.isfinite(x) & (np.abs(x) < 1e100)
        if not seen.any() or (self.bars == 0 and not x[seen].any()):
            return
        x[~seen] = 0.0
        own = self.volatilities(young=False)
        moved = own["blended"] > 0
        if moved.any():
            if self.bars >= 60:
                self.learn(x, seen & moved, moved)
            for k, (kind, half_life, _) in enumerate(EXPERTS):
                o, m = np.flatnonzero(seen & moved), np.flatnonzero(moved & ~seen)
                z = np.zeros(self.n)
                z[o] = np.clip(x[o] / own[kind][o], -5.0, 5.0)
                z[m], conditional = conditional_normal(self.correlations[k], z, o, m)
                product = np.outer(z, z)
                product[np.ix_(m, m)] += conditional
                self.products[k] = 0.5 ** (1 / half_life) * self.products[k] + product
        self.take_squares(x, seen)
        for k in range(K):
            every = 6 if self.many else 3
            if self.bars % (every * K) == every * k:
                self.correlations[k] = self.correlation_of(k)
        self.bars += 1

    def take_squares(self, x, seen):
        half_year = np.array([ewma(h, 125) for h in self.history])
        known = seen & (half_year > 0)
        if known.any():
            self.level.append(np.mean(np.minimum(x[known] ** 2 / half_year[known], 25.0)))
        for i in np.flatnonzero(seen):
            square, past = x[i] ** 2, self.history[i]
            if len(past) > 20:
                bound = max(ewma(past, 63), 0.01 * np.mean(past))
                if bound > 0:
                    square = min(square, 3.5**2 * bound)
            past.append(square)

    def volatilities(self, young=True):
        count = np.array([len(h) for h in self.history])
        e = {h: np.array([ewma(past, h) for past in self.history]) for h in HALF_LIVES}
        mean = np.array([np.mean(past) if past else 0.0 for past in self.history])
        level = ewma(self.level, 2) if self.level else 1.0
        variance = {
            "blended": 0.2 * e[3] + 0.33 * e[21] + 0.5 * e[125] * level + 0.045 * mean,
            "quarter": e[63],
            "year": e[200],
        }
        for kind, v in variance.items():
            v = np.maximum(v, 1e-8 * mean)
            moving = v > 0
            if young and moving.any():
                usual = np.mean(np.minimum(v[moving], 9 * np.median(v[moving])))
                strength = 10 * np.maximum(1 - count / 60, 0)
                v = (strength * usual + count * v) / np.maximum(strength + count, 1)
            variance[kind] = np.sqrt(v)
        return variance

    def correlation_of(self, k):
        S = self.products[k]
        weights = 0.5 ** (np.arange(max(len(h) for h in self.history)) / EXPERTS[k][1])
        moved = np.count_nonzero(self.volatilities(young=False)["blended"])
        size = weights.sum() ** 2 / (weights**2).sum() if len(weights) else 0.0
        rho = max(EXPERTS[k][2], moved / (moved + size)) if moved else 1.0
        scale = np.array([1 / np.sqrt(s) if s > 0 else 0.0 for s in np.diag(S)])
        scale *= np.sqrt(np.minimum([len(h) / 60 for h in self.history], 1.0))
        R = S * np.outer(scale, scale)
        np.fill_diagonal(R, 0.0)
        first, squares = 0, (R**2).sum(axis=1)
        for i in range(self.n):
            if squares[i] > (1 + 1e-9) * squares[first]:
                first = i
        f = R[:, first].copy()
        f[first] = 1.0
        f = f.clip(-0.99, 0.99)
        for _ in range(5):
            f = ((R @ f + f**3 + f) / (f @ f + 1)).clip(-0.99, 0.99)
        R = (1 - rho) * R + rho * np.outer(f, f)
        np.fill_diagonal(R, 1.0)
        return R

    def learn(self, x, seen, moved):
        live = np.flatnonzero(moved)
        x, seen = x[live], seen[live]
        o, m = np.flatnonzero(seen), np.flatnonzero(~seen)
        deviations = self.volatilities()
        W, bounded = [], []
        for k, (kind, _, _) in enumerate(EXPERTS):
            v = deviations[kind][live]
            covariance = self.correlations[k][np.ix_(live, live)] * np.outer(v, v)
            W.append(np.linalg.inv(np.linalg.cholesky(covariance)))
            bounded.append(np.clip(x, -8 * v, 8 * v))
        mixed = np.linalg.inv(sum(p * w for p, w in zip(self.p, W, strict=True)))
        # the returns that the mixture sees: x but for what is bounded
        common = mixed @ sum(p * w @ z for p, w, z in zip(self.p, W, bounded, strict=True))
        expected, conditional = conditional_normal(mixed @ mixed.T, common, o, m)
        for z in bounded:
            z[m] = expected - common[m]
        spread = np.zeros((len(live), len(live)))
        spread[np.ix_(m, m)] = conditional
        y = np.array([w @ z for w, z in zip(W, bounded, strict=True)])
        gram = y @ y.T + np.array([[np.trace(a @ spread @ b.T) for b in W] for a in W])
        self.learnt.append((np.array([np.diag(w) for w in W]), gram, len(live)))
        if len(self.learnt) % 3 == 0:
            self.p = best_weights(self.learnt, self.p)

    def deviation(self, holdings):
        """As of the latest renewals."""
        covariance = self.mixed(self.correlations, self.p)
        return np.sqrt(holdings @ covariance @ holdings)

    def matrix(self):
        return self.mixed(self.present(), self.weights())

    def present(self):
        """The correlations that the matrix is made of."""
        return self.correlations if self.many else [self.correlation_of(k) for k in range(K)]

    def weights(self):
        """As of the last bar."""
        return best_weights(self.learnt, self.p) if self.learnt else self.p

    def mixed(self, correlations, p):
        variance = self.volatilities()
        known = variance["blended"] > 0
        covariance = np.zeros((self.n, self.n))
        W = np.zeros((self.n, self.n))
        for k, (kind, _, _) in enumerate(EXPERTS):
            v = np.where(known, variance[kind], 1.0)
            W += p[k] * np.linalg.inv(np.linalg.cholesky(correlations[k] * np.outer(v, v)))
        covariance = np.linalg.inv(W.T @ W)
        return np.where(np.outer(known, known), covariance, 0.0)


def ewma(values, half_life):
    """Oldest first; 0 of nothing."""
    if not len(values):
        return 0.0
    weights = 0.5 ** (np.arange(len(values))[::-1] / half_life)
    return float(weights @ np.array(values) / weights.sum())


def conditional_normal(covariance, x, o, m):
    """Mean and covariance of the entries m given the entries o of x."""
    regression = np.linalg.solve(covariance[np.ix_(o, o)], covariance[np.ix_(o, m)]).T
    return regression @ x[o], covariance[np.ix_(m, m)] - regression @ covariance[np.ix_(o, m)]


def objective(learnt, last=121):
    """Penalised log-likelihood of the weights: squares over all past bars, logarithms over the last."""
    g = 0.5 ** (1 / 30)
    ages = np.arange(len(learnt))[::-1]
    gram = sum(g**age * bar[1] for age, bar in zip(ages, learnt, strict=True))
    columns = np.hstack([bar[0] for bar in learnt[-last:]])
    shares = np.concatenate([np.full(bar[0].shape[1], g**age) for age, bar in zip(ages, learnt, strict=True)])
    shares = shares[-columns.shape[1] :]
    n = learnt[-1][2]

    def value(p):
        pull = 0.4 * ((p - 1 / len(p)) ** 2).sum() + 4.0 * (p.sum() - 1) ** 2
        return shares @ np.log(p @ columns) - 0.5 * p @ gram @ p - 0.5 * n * pull

    return value, n


def best_weights(learnt, start):
    """An independent solver, from two starts."""
    value, n = objective(learnt)
    found = [
        minimize(
            lambda p: -value(p) / n,
            np.maximum(s, 1e-3),
            bounds=[(1e-12, None)] * len(start),
            method="SLSQP",
            options={"ftol": 1e-13, "maxiter": 300},
        )
        for s in (start, np.full(len(start), 1 / len(start)))
    ]
    return min(found, key=lambda result: result.fun).x
