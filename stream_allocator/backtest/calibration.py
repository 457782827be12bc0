"""Whether confidence is earned: what decisions said of their risk against what came, by how sure they were.

A decision speaks of its target weights w under its published evidence; it is judged by what the account held
from its fill to the next. Interest and costs are known beforehand, so returns are of the holdings alone.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from stream_allocator.backtest.inference import RESAMPLES, Interval, bootstrap
from stream_allocator.backtest.run import Breach, PortfolioRun, Run
from stream_allocator.events import Allocation
from stream_allocator.evidence import GROWTH

__all__ = [
    "Bin",
    "Earned",
    "Outcome",
    "Penalties",
    "calibration",
    "earned",
    "held_returns",
    "mean_worst_loss",
    "outcomes",
    "penalties",
    "promised_coverage",
    "worst_loss_bound",
]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: Bars that a decision must have been held for its realised volatility to say something.
SHORTEST = 10

#: Share of the holding times that shall stay above the bound on the worst loss.
SURE = 0.95

#: How much lower the maximum of a walk seen once a bar is than that of one that is always seen, in standard
#: deviations of a bar: -zeta(1/2) / sqrt(2 pi).
UNSEEN = 0.5825971579390107


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one executable decision said, and what came of it. Volatilities are annual.

    Attributes
    ----------
    event_time : int
    confidence : float
    bars : int
        That its weights were held, from its fill to the next.
    predicted : float
        ``sqrt(w' Sigma w)``.
    bound : float
        ``sqrt(w' Sigma w) + sqrt(delta) |w|``, the worst case over the published ball; NaN for a decision of
        the growth allocator, whose ball is another.
    promised : float
        How often such a bound should hold: see :func:`promised_coverage`.
    realised : float
        Root mean square of the held portfolio's returns.
    expected_loss, worst_loss : float
        Expected and realised deepest fall below the value at the fill, positive.
    loss_bound : float
        Of the worst loss, at :data:`SURE`, under the volatility ``bound``.
    """

    event_time: int
    confidence: float
    bars: int
    predicted: float
    bound: float
    promised: float
    realised: float
    expected_loss: float
    worst_loss: float
    loss_bound: float

    @property
    def error(self) -> float:
        """``|ln(realised / predicted)|``."""
        return abs(math.log(self.realised / self.predicted))


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions of similar confidence.

    Attributes
    ----------
    low, high : float
        Confidence of the least and the most sure of them.
    decisions : int
    predicted, realised, bound : float
        Root mean square of each, a year.
    error, rms_error : float
        Median and root mean square of ``|ln(realised / predicted)|``; smaller is better calibrated.
    covered, promised : float
        Share whose realised volatility was within its bound, and what that share should be.
    expected_loss, worst_loss : float
        Means.
    loss_covered : float
        Share whose worst loss was within its bound; :data:`SURE` or more is kept.
    """

    low: float
    high: float
    decisions: int
    predicted: float
    realised: float
    error: float
    rms_error: float
    bound: float
    covered: float
    promised: float
    expected_loss: float
    worst_loss: float
    loss_covered: float


@dataclass(frozen=True, slots=True)
class Earned:
    """Whether errors are smaller where confidence is higher.

    Attributes
    ----------
    correlation : float
        Spearman's, of confidence with the error; negative where confidence is earned.
    p_value : float
        Of no such relation, against a negative one, if errors are independent.
    gap : Interval
        Mean error of the least sure part minus that of the others, by the stationary bootstrap; positive
        where confidence is earned. It sees what ranks do not where most confidences are nearly alike.
    """

    correlation: float
    p_value: float
    gap: Interval


@dataclass(frozen=True, slots=True, eq=False)
class Penalties:
    """What uncertainty cost each executable decision; arrays of shape (k,).

    Attributes
    ----------
    times : ndarray of int64
    radius : ndarray
        delta, the squared radius of the ball.
    effective_sample_size : ndarray
    mean, covariance, total : ndarray
        Of the objective, a year. One ball is not split: then the parts are 0, and the total is all there is.
    """

    times: NDArray[np.int64]
    radius: Array
    effective_sample_size: Array
    mean: Array
    covariance: Array
    total: Array


def held_returns(run: Run, portfolio: PortfolioRun) -> Array:
    """Return of what was held after each bar over the next one, in units of NAV; shape (T - 1,).

    The account's growth without the costs of its fills and the interest on its cash, so a delisting counts.
    """
    costs = portfolio.traded[1:] * run.cost_bps * 1e-4
    growth = portfolio.nav[1:] / portfolio.nav[:-1] / (1.0 - costs)
    return np.asarray(growth - 1.0 - run.interest[1:] * (1.0 - portfolio.held[:-1].sum(axis=1)))


def promised_coverage(
    radius: float, norm_of_weights: float, deviation: float, sample_size: float, bars: int
) -> float:
    """How often a realised volatility should stay within ``sd + sqrt(delta) |w|``.

    If the deviation sd was estimated from n independent normal returns, and realised over m of them, the two
    differ by about ``sd sqrt(1/2n + 1/2m)``, so the bound holds with probability

        ``Phi(sqrt(delta) |w| / sd / sqrt(1/2n + 1/2m))``.

    For m without end this is the level at which Blanchet, Chen & Zhou would choose delta for the statement
    "the portfolio's deviation is at most so much": the smallest Wasserstein-2 distance that moves a deviation
    by s costs ``s^2 / |w|^2``, and n times it tends to ``sd^2 chi^2_1 / (2 |w|^2)``. With
    ``delta = budget * v / n`` and the mean variance v of the assets it is ``Phi(sqrt(2 budget v) |w| / sd)``:
    92 % at a budget of 1 for uncorrelated assets of one variance, less the more they move together.

    Parameters
    ----------
    radius : float
        delta, in the unit of a squared deviation.
    norm_of_weights, deviation : float
        |w| and sd, the latter positive.
    sample_size : float
        n; below one counts as one, as for the radius.
    bars : int
        m.
    """
    spread = math.sqrt(0.5 / max(sample_size, 1.0) + 0.5 / bars)
    return float(norm.cdf(math.sqrt(radius) * norm_of_weights / deviation / spread))


def mean_worst_loss(bars: int) -> float:
    """Expected deepest fall below its start of a driftless normal walk, in deviations of a bar.

    ``sum_{k <= h} 1 / sqrt(2 pi k)``, exactly, by Spitzer's identity (1956).
    """
    return float((1.0 / np.sqrt(2.0 * math.pi * np.arange(1, bars + 1))).sum())


def worst_loss_bound(bars: int, sure: float = SURE) -> float:
    """Deepest fall of such a walk that is exceeded with probability ``1 - sure``, in deviations of a bar.

    ``sqrt(h) Phi^-1((1 + sure) / 2)`` by the reflection principle, less what is not seen between bars
    (Broadie, Glasserman & Kou 1997).
    """
    return max(0.0, math.sqrt(bars) * float(norm.ppf((1.0 + sure) / 2.0)) - UNSEEN)


def outcomes(run: Run, portfolio: PortfolioRun) -> tuple[Outcome, ...]:
    """Judge every executable decision that was filled and then held for at least :data:`SHORTEST` bars.

    Decisions that hold nothing (predicted volatility of a hundredth of a percent or less) say nothing.
    """
    returns = held_returns(run, portfolio)
    closes = np.flatnonzero(np.isfinite(run.returns).any(axis=1))  # what has none fills nothing
    filled, bars = [], []
    for decision, measured in zip(portfolio.decisions, portfolio.breaches, strict=True):
        at = np.searchsorted(run.times[closes], decision.event_time, side="right")
        if decision.executable and at < closes.size and run.times[closes[at]] <= decision.valid_until:
            filled.append((decision, measured))
            bars.append(int(closes[at]))
    result = []
    spans = pairwise([*bars, len(run.times) - 1])
    for (decision, measured), (bar, end) in zip(filled, spans, strict=True):
        held = returns[bar:end]  # until the next fill, at the close of bar `end`
        if len(held) >= SHORTEST and measured.predicted > 1e-4:
            result.append(_outcome(decision, measured, held, portfolio.policy.moments.periods_per_year))
    return tuple(result)


def _outcome(decision: Allocation, measured: Breach, held: Array, year: float) -> Outcome:
    bars, said = len(held), decision.uncertainty
    size = float(np.linalg.norm([w.target for w in decision.weights]))
    other_ball = decision.allocator == GROWTH
    bound = math.nan if other_ball else measured.predicted + math.sqrt(said.radius) * size
    promised = (
        math.nan
        if other_ball
        else promised_coverage(said.radius, size, measured.predicted, said.effective_sample_size, bars)
    )
    by_bar = year**-0.5
    return Outcome(
        event_time=decision.event_time,
        confidence=decision.confidence.value,
        bars=bars,
        predicted=measured.predicted,
        bound=bound,
        promised=promised,
        realised=max(float(np.sqrt(np.mean(held**2) * year)), 1e-9),
        expected_loss=measured.predicted * by_bar * mean_worst_loss(bars),
        worst_loss=max(0.0, 1.0 - float(np.cumprod(1.0 + held).min())),
        loss_bound=bound * by_bar * worst_loss_bound(bars),
    )


def calibration(run: Run, portfolio: PortfolioRun, bins: int = 3) -> tuple[Bin, ...]:
    """Sort executable decisions by confidence and compare the risk that each predicted for its target weights
    with the one that the account had until the next fill.

    Returns
    -------
    tuple of Bin
        Least sure first; empty when there are fewer than ten decisions a bin.
    """
    judged = sorted(outcomes(run, portfolio), key=lambda x: (x.confidence, x.predicted, x.realised))
    if len(judged) < 10 * bins:
        return ()
    return tuple(_bin([judged[i] for i in part]) for part in np.array_split(np.arange(len(judged)), bins))


def _bin(part: list[Outcome]) -> Bin:
    def mean(values: list[float]) -> float:
        return float(np.mean(values))

    def root_mean_square(values: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    bounded = [x for x in part if not math.isnan(x.bound)]
    return Bin(
        low=part[0].confidence,
        high=part[-1].confidence,
        decisions=len(part),
        predicted=root_mean_square([x.predicted for x in part]),
        realised=root_mean_square([x.realised for x in part]),
        error=float(np.median([x.error for x in part])),
        rms_error=root_mean_square([x.error for x in part]),
        bound=root_mean_square([x.bound for x in bounded]) if bounded else math.nan,
        covered=mean([x.realised <= x.bound for x in bounded]) if bounded else math.nan,
        promised=mean([x.promised for x in bounded]) if bounded else math.nan,
        expected_loss=mean([x.expected_loss for x in part]),
        worst_loss=mean([x.worst_loss for x in part]),
        loss_covered=mean([x.worst_loss <= x.loss_bound for x in bounded]) if bounded else math.nan,
    )


def earned(
    confidence: Array, error: Array, *, share: float = 0.2, block: float = 6, resamples: int = RESAMPLES
) -> Earned:
    """Relate confidence to the size of errors.

    Parameters
    ----------
    confidence, error : ndarray, shape (k,)
        In the order of time.
    share : float
        The least sure part.
    block : float
        Mean length of a block of the bootstrap; half a year of monthly decisions by default.
    resamples : int

    Raises
    ------
    ValueError
        For fewer than ten.
    """
    if confidence.size < 10:
        raise ValueError(f"to relate confidence to errors takes ten of them, got {confidence.size}")
    found = spearmanr(confidence, error, alternative="less")
    unsure = confidence <= np.quantile(confidence, share)

    def gap(index: Index) -> Array:
        low, drawn = unsure[index], error[index]
        count = np.count_nonzero(low)
        first = drawn[low].sum() / max(count, 1)
        return np.atleast_1d(first - drawn[~low].sum() / max(low.size - count, 1))

    (interval,) = bootstrap(gap, error.size, block=block, resamples=resamples)
    return Earned(float(found.statistic), float(found.pvalue), interval)


def penalties(portfolio: PortfolioRun) -> Penalties:
    """The published ambiguity of every executable decision and its price, through time."""
    chosen = [d for d in portfolio.decisions if d.executable]
    said = [d.uncertainty for d in chosen]
    return Penalties(
        times=np.array([d.event_time for d in chosen], dtype=np.int64),
        radius=np.array([u.radius for u in said]),
        effective_sample_size=np.array([u.effective_sample_size for u in said]),
        mean=np.array([u.mean_penalty for u in said]),
        covariance=np.array([u.covariance_penalty for u in said]),
        total=np.array([u.penalty for u in said]),
    )
