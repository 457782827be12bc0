"""Online covariance: regret against the prescient quarterly covariance, and what an update costs.

A forecast's regret on a bar is how much less likely than under the prescient covariance (the sample second
moments of the bar's own quarter, known beforehand) the bar's returns were, in nats.  It is averaged over each
quarter after 500 bars of burn-in; a row shows mean, standard deviation and maximum over quarters.
"""

from __future__ import annotations

import csv
import gzip
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.harness import last_line, median_seconds, options, show
from stream_allocator.moments.factor_analysis import likely_factor_form
from stream_allocator.moments.factors import factor_form
from stream_allocator.moments.mixture import CovarianceMixture

ROOT = Path(__file__).resolve().parent.parent
STOCKS_25 = ROOT / "../shared/data/sp500_25_returns_2010_2022.csv.gz"
STOCKS_20 = ROOT / "stream_allocator/data/us_large_caps.csv.gz"
BURN_IN = 500
#: Johansson et al. (2023), A Simple Method for Predicting Covariance Matrices of Financial Returns, stocks.
PUBLISHED = ("CM-IEWMA as published", 5.3, 1.0, 7.6)


# -- peers, each with update and matrix


class RollingWindow:
    """Second moments of the last 250 bars."""

    def __init__(self, n: int) -> None:
        self._rows: list[np.ndarray] = []

    def update(self, x: np.ndarray) -> None:
        self._rows = [*self._rows[-249:], x]

    def matrix(self) -> np.ndarray:
        rows = np.array(self._rows)
        return rows.T @ rows / len(rows)


class Ewma:
    """Exponential second moments, half-life 125 bars."""

    def __init__(self, n: int) -> None:
        self._sum, self._weight, self._decay = np.zeros((n, n)), 0.0, 0.5 ** (1 / 125)

    def update(self, x: np.ndarray) -> None:
        self._sum = self._decay * self._sum + np.outer(x, x)
        self._weight = self._decay * self._weight + 1.0

    def matrix(self) -> np.ndarray:
        return self._sum / self._weight


class IteratedEwma:
    """IEWMA (Barratt & Boyd): volatilities with a half-life of 63 bars, correlations 125, bounded at 4.2."""

    volatility, correlation, bound, shrinkage = 63.0, 125.0, 4.2, 0.0

    def __init__(self, n: int) -> None:
        self._squares, self._weight, self._products = np.zeros(n), 0.0, np.zeros((n, n))

    def update(self, x: np.ndarray) -> None:
        b, c = 0.5 ** (1 / self.volatility), 0.5 ** (1 / self.correlation)
        if self._weight > 0.0:
            z = np.clip(x / np.sqrt(self._squares / self._weight + 1e-12), -self.bound, self.bound)
            self._products = c * self._products + np.outer(z, z)
        self._squares = b * self._squares + x * x
        self._weight = b * self._weight + 1.0

    def matrix(self) -> np.ndarray:
        scale = 1.0 / np.sqrt(np.diag(self._products))
        correlation = (1.0 - self.shrinkage) * self._products * np.outer(scale, scale)
        np.fill_diagonal(correlation, 1.0)
        volatility = np.sqrt(self._squares / self._weight)
        return correlation * np.outer(volatility, volatility)


class ShrunkIteratedEwma(IteratedEwma):
    """The same with half-lives 42 and 125, a tenth of the correlations shrunk away."""

    volatility, correlation, bound, shrinkage = 42.0, 125.0, 4.0, 0.1


def factored(form: Callable, factors: int) -> Callable[[int], object]:
    """The mixture in the form that the programme uses, F F' + diag(d)."""

    class Factored(CovarianceMixture):
        def matrix(self) -> np.ndarray:
            loadings, own = form(super().matrix(), factors)
            return loadings @ loadings.T + np.diag(own)

    return Factored


PEERS = {
    "rolling window 250": RollingWindow,
    "EWMA 125": Ewma,
    "IEWMA 63/125": IteratedEwma,
    "IEWMA 42/125, shrunk": ShrunkIteratedEwma,
}
MIXTURE = {"CovarianceMixture": CovarianceMixture}


# -- data


def stocks(path: Path, first: str = "1990", last: str = "2099") -> tuple[np.ndarray, np.ndarray]:
    """Quarter of each bar and returns; complete rows only."""
    with gzip.open(path, "rt", newline="") as file:
        rows = list(csv.reader(file))[1:]
    days = np.array([row[0][:10] for row in rows], "datetime64[D]")
    values = np.array([[float(cell) if cell else np.nan for cell in row[1:]] for row in rows])
    if path == STOCKS_20:
        days, values = days[1:], values[1:] / values[:-1] - 1.0
    keep = np.isfinite(values).all(axis=1) & (days >= np.datetime64(first)) & (days <= np.datetime64(last))
    return days[keep].astype("datetime64[M]").astype(int) // 3, values[keep]


def synthetic(kind: str, rng: np.random.Generator, bars: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns and the true covariance of each bar: three factors, volatilities tenfold apart."""
    loadings = rng.normal(size=(n, 3)) * [1.0, 0.4, 0.3]
    covariance = (loadings @ loadings.T + np.diag(rng.uniform(0.3, 1.5, n))) * 1e-4
    scale = np.geomspace(0.3, 3.0, n)
    covariance *= np.outer(scale, scale)
    level = np.ones(bars)
    if kind == "switching volatility":
        level = np.where((np.cumsum(rng.random(bars) < 1 / 120) % 2) == 1, 2.5, 1.0)
    noise = rng.standard_normal((bars, n))
    if kind == "Student t4":
        noise *= np.sqrt(2.0 / rng.chisquare(4, (bars, 1)))  # variance one
    truth = level[:, None, None] ** 2 * covariance
    return (noise @ np.linalg.cholesky(covariance).T) * level[:, None], truth


# -- scoring


def log_likelihood(x: np.ndarray, covariance: np.ndarray) -> float:
    """Of one bar, in nats, under a Gaussian of mean zero."""
    factor = np.linalg.cholesky(covariance)
    z = np.linalg.solve(factor, x)
    return float(-0.5 * (x.size * np.log(2 * np.pi) + z @ z) - np.log(np.diag(factor)).sum())


def prescient(quarters: np.ndarray, returns: np.ndarray) -> Iterator[np.ndarray]:
    """For each bar the second moments of its quarter (with a ridge where it is too short)."""
    n = returns.shape[1]
    for quarter in np.unique(quarters):
        rows = returns[quarters == quarter]
        mean = rows.mean(axis=0)
        second = (rows - mean).T @ (rows - mean) / (len(rows) - 1) + np.outer(mean, mean)
        if len(rows) <= n + 5 or np.linalg.eigvalsh(second)[0] < 1e-9:
            second = second + 1e-8 * np.eye(n)
        yield from [second] * len(rows)


def regret(
    estimate: object, quarters: np.ndarray, returns: np.ndarray, reference: list[np.ndarray], shift: int
) -> np.ndarray:
    """Mean of each quarter.  `shift` 1 compares with the reference of the bar before, as the paper's code."""
    losses = np.full(len(returns), np.nan)
    for t, x in enumerate(returns):
        if t > BURN_IN:
            losses[t] = log_likelihood(x, reference[t - shift]) - log_likelihood(x, estimate.matrix())
        estimate.update(x)
    scored, when = losses[BURN_IN + 1 :], quarters[BURN_IN + 1 :]
    return np.array([scored[when == quarter].mean() for quarter in np.unique(when)])


def summary(regrets: np.ndarray) -> tuple[float, float, float]:
    return float(regrets.mean()), float(regrets.std(ddof=1)), float(regrets.max())


def table(title: str, estimates: dict, quarters: np.ndarray, returns: np.ndarray, note: str = "") -> dict:
    """Score and show estimates on one universe."""
    reference = list(prescient(quarters, returns))
    found = {
        name: summary(regret(make(returns.shape[1]), quarters, returns, reference, 1))
        for name, make in estimates.items()
    }
    rows = [[name, *(round(f, 3) for f in figures)] for name, figures in found.items()]
    if "25" in title:
        rows.append(list(PUBLISHED))
    show(title, ["forecast", "mean", "std", "max"], rows, note)
    return found


def universes(
    title: str, quarters: np.ndarray, returns: np.ndarray, rng: np.random.Generator, draws: int
) -> None:
    """Random parts of a universe: who has the least mean regret on how many."""
    rows = []
    for size in (5, 10):
        parts = [np.sort(rng.permutation(returns.shape[1])[:size]) for _ in range(draws)]
        means: dict[str, list[tuple[float, float, float]]] = {}
        for part in parts:
            own = np.ascontiguousarray(returns[:, part])
            reference = list(prescient(quarters, own))
            for name, make in (PEERS | MIXTURE).items():
                means.setdefault(name, []).append(summary(regret(make(size), quarters, own, reference, 1)))
        best = np.array([[f[0] for f in figures] for figures in means.values()]).argmin(axis=0)
        for i, (name, figures) in enumerate(means.items()):
            mean = [round(float(f), 3) for f in np.mean(figures, axis=0)]
            rows.append([size, name, *mean, f"{int((best == i).sum())} of {draws}"])
    show(title, ["assets", "forecast", "mean", "std", "max", "least mean"], rows, "averages over the draws")


def simulated(rng: np.random.Generator, bars: int) -> None:
    """Regret against the truth."""
    rows = []
    for kind, n, length in (
        ("Gaussian", 10, bars),
        ("switching volatility", 10, bars),
        ("Student t4", 10, bars),
        ("Gaussian", 100, 1000),
    ):
        returns, truth = synthetic(kind, rng, length, n)
        quarters = np.arange(length) // 63
        for name, make in (PEERS | MIXTURE).items():
            figures = summary(regret(make(n), quarters, returns, list(truth), 0))
            rows.append([kind, n, name, *(round(f, 3) for f in figures)])
    columns = ["returns", "assets", "forecast", "mean", "std", "max"]
    show("Simulated, against the true covariance", columns, rows)


# -- cost


def update_cost(rng: np.random.Generator, bars: int, missing: float) -> tuple[float, float, float]:
    """Of an update of 500 assets that learns: median and worst ms, median ms of the processor."""
    n = 500
    loadings = rng.normal(0.0, 0.5, (n, 10))
    rows = 0.01 * (rng.normal(size=(180 + bars, 10)) @ loadings.T + rng.standard_t(4, (180 + bars, n)))
    rows[rng.random(rows.shape) < missing] = np.nan
    estimate = CovarianceMixture(n)
    times = []
    for row in rows:
        wall, processor = time.perf_counter(), time.process_time()
        estimate.update(row)
        times.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - processor)))
    wall_ms, processor_ms = np.array(times[180:]).T
    if not missing:
        matrix = 1e3 * median_seconds(lambda: CovarianceMixture._fresh(estimate), 5)
        show(
            "500 assets: the covariance itself",
            ["call", "ms"],
            [["matrix()", matrix]],
            "asked for on decision bars",
        )
    return float(np.median(wall_ms)), float(wall_ms.max()), float(np.median(processor_ms))


def main() -> None:
    """Run it."""
    asked = options(__doc__)
    rng = np.random.default_rng(asked.seed)
    figures: dict[str, float | None] = {"regret_mean": None, "regret_std": None, "regret_max": None}
    with threadpool_limits(1):
        if STOCKS_25.exists():
            quarters, returns = stocks(STOCKS_25)
            found = table("25 US stocks, 2010-2022", PEERS | MIXTURE, quarters, returns, "nats a bar")
            figures = dict(zip(figures, found["CovarianceMixture"], strict=True))
            if not asked.quick:
                variants = MIXTURE | {
                    f"{form.__name__}({k})": factored(form, k)
                    for form in (factor_form, likely_factor_form)
                    for k in (5, 10, 20)
                }
                table("25 US stocks: the mixture as factors and a diagonal", variants, quarters, returns)
                universes("Parts of the 25 stocks", quarters, returns, rng, 3)
        quarters, returns = stocks(STOCKS_20, "2004" if asked.quick else "1990")
        table(
            "20 US stocks, " + ("2004" if asked.quick else "1990") + "-2022",
            PEERS | MIXTURE,
            quarters,
            returns,
        )
        if not asked.quick:
            universes("Parts of the 20 stocks", quarters, returns, rng, 2)
        simulated(rng, 1500 if asked.quick else 4000)
        rows = []
        for missing in (0.0, 0.02):
            costs = update_cost(rng, 150 if asked.quick else 600, missing)
            rows.append([f"{missing:.0%}", *(round(ms, 3) for ms in costs)])
        show(
            "500 assets, one update with the learning of the weights",
            ["missing", "median ms", "worst ms", "median ms of the processor"],
            rows,
        )
    last_line({**figures, "update_500_ms": rows[0][1]})


if __name__ == "__main__":
    main()
