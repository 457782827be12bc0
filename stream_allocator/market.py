"""What a universe knows: regime, moments and volumes. Shared by all its portfolios."""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stream_allocator.bars import Bar
from stream_allocator.events import AssetEvidence
from stream_allocator.moments import (
    CovarianceMixture,
    SegmentWindow,
    confidence,
    shrunk_mean,
)
from stream_allocator.policy import MomentPolicy, RegimePolicy
from stream_allocator.regime import RunLengthPanel, Segment, Segmentation, SegmentationRule, UniverseRegime
from stream_allocator.regime.elementary import in_place, serial_square
from stream_allocator.state import Tree

__all__ = ["Market", "MarketView", "universe_detector"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

#: Assets whose own posterior is published with each regime update and decision.
TOP_ASSETS = 10


@dataclass(frozen=True, slots=True, eq=False)
class MarketView:
    """The universe after one closed bar. Volatilities are annual.

    Attributes
    ----------
    segment : Segment
    expected_run_length : float
        Bars.
    effective_sample_size : float
        Bars of evidence in the present segment, ``1 / sum omega^2``.
    segment_volatility, reference_volatility : float
        Of the market return: the present segment's, and the long-run one.
    confidence : float
    confidence_factors : tuple of (str, float)
    top_assets : tuple of AssetEvidence
        Strongest evidence of a change first.
    missing : tuple of str
        Assets without a return in this bar.
    """

    segment: Segment
    expected_run_length: float
    effective_sample_size: float
    segment_volatility: float
    reference_volatility: float
    confidence: float
    confidence_factors: tuple[tuple[str, float], ...]
    top_assets: tuple[AssetEvidence, ...]
    missing: tuple[str, ...]


class Market:
    """Detectors and moments of one universe.

    Each asset has a detector of its own, which moves at every tick; one on a few market factors moves when a
    bar closes and decides the universe's regime.

    Parameters
    ----------
    assets : tuple of str
    regime : RegimePolicy
    moments : MomentPolicy
    volume_half_life : float
        Bars, for the average daily volume.
    """

    def __init__(
        self, assets: tuple[str, ...], regime: RegimePolicy, moments: MomentPolicy, volume_half_life: float
    ) -> None:
        n = len(assets)
        self._assets = assets
        self._regime = regime
        self._moments = moments
        self._detectors = RunLengthPanel(
            n,
            hazard=1.0 / regime.mean_run,
            max_run=regime.max_run,
            warmup=regime.warmup,
            outlier_df=regime.weight_df,
        )
        self._universe, self._segmentation = universe_detector(n, regime)
        self._mixture = CovarianceMixture(n)
        self._window = SegmentWindow(n, length=regime.max_run)
        self._volume_decay = 0.5 ** (1.0 / volume_half_life)
        self._volume = np.zeros(n)
        self._volume_weight = np.zeros(n)
        self._reference_decay = 0.5 ** (1.0 / regime.reference_half_life)
        self._reference = np.zeros(2)
        self._omega = np.zeros(1)
        self._covariance: Array | None = None
        #: Bars of evidence in the present segment, ``1 / sum omega^2``.
        self.effective_sample_size = 0.0

    def tick(self, index: Index, returns: Array) -> None:
        """Update the detectors of the named assets; NaN leaves a detector where it is."""
        self._detectors.update(returns, index)

    def close(self, bar: Bar) -> MarketView:
        """Take in one closed bar."""
        market = self._universe.update(bar.returns)
        if not math.isnan(market):
            self._absorb(bar, market)
        return self._view(bar.returns)

    def _absorb(self, bar: Bar, market: float) -> None:
        take_volumes(
            bar.dollar_volumes,
            self._volume_decay,
            self._volume,
            self._volume_weight,
            market * market,
            self._reference_decay,
            self._reference,
        )
        self._mixture.update(bar.returns)
        self._window.append(bar.returns)
        self._covariance = None

    def _view(self, returns: Array) -> MarketView:
        regime, year = self._regime, self._moments.periods_per_year
        universe = self._universe.posterior.read(regime.horizon, max(len(self._window), 1))
        self._omega = universe.survivor_weights
        n_eff = self.effective_sample_size = universe.effective_sample_size
        segment_volatility = math.sqrt(universe.first_variance * year)
        total, weight = self._reference.tolist()
        reference_volatility = math.sqrt(total / weight * year) if weight > 0 else 0.0
        switch_probability = universe.probability_at_most
        segment = self._segmentation.step(
            switch_probability, universe.map_run_length, segment_volatility, reference_volatility, n_eff
        )
        seen = count_finite(returns) / returns.size
        value, factors = confidence(n_eff, 1.0 - switch_probability, seen, half_evidence=regime.evidence)
        series, probabilities, lengths = self._detectors.strongest_evidence(regime.horizon, TOP_ASSETS)
        top = zip(series.tolist(), probabilities.tolist(), lengths.tolist(), strict=True)
        return MarketView(
            segment=segment,
            expected_run_length=universe.expected_run_length,
            effective_sample_size=n_eff,
            segment_volatility=segment_volatility,
            reference_volatility=reference_volatility,
            confidence=value,
            confidence_factors=tuple(factors.items()),
            top_assets=tuple([AssetEvidence(self._assets[i], p, length) for i, p, length in top]),
            missing=() if seen == 1.0 else self._missing(returns),
        )

    def _missing(self, returns: Array) -> tuple[str, ...]:
        return tuple([self._assets[i] for i in np.flatnonzero(~np.isfinite(returns)).tolist()])

    def covariance(self) -> Array:
        """Annual covariance, shape (n, n)."""
        if self._covariance is None:
            self._covariance = self._mixture.matrix() * self._moments.periods_per_year
        return self._covariance

    def volatility(self, weights: Array) -> float:
        """Ex-ante volatility of some holdings, ``sqrt(w' Sigma w)``, a year."""
        return self._mixture.deviation(weights) * math.sqrt(self._moments.periods_per_year)

    def mean(self) -> tuple[Array, float]:
        """Annual expected returns, shape (n,), and the years of evidence behind them."""
        year = self._moments.periods_per_year
        prior = self._moments.premium_years * year
        sample, coverage = self._window.average(self._omega)
        evidence = self.effective_sample_size * coverage  # less where returns were missing
        mean, _ = shrunk_mean(self._moments.premium / year, sample, evidence, prior)
        return mean * year, (prior + self.effective_sample_size) / year

    def samples(self, bars: int) -> Array:
        """The last returns, oldest first, shape (at most ``bars``, n).

        A missing one is the mean of the asset's others, or 0 where there is none.
        """
        rows = self._window.latest(bars)[::-1]
        seen = np.isfinite(rows)
        total = np.where(seen, rows, 0.0).sum(axis=0)
        typical = np.divide(total, seen.sum(axis=0), out=np.zeros(rows.shape[1]), where=seen.any(axis=0))
        return np.where(seen, rows, typical)

    def silent(self, bars: int) -> NDArray[np.bool_]:
        """Assets without a return in all of the last ``bars``, shape (n,); none before there are so many."""
        rows = self._window.latest(bars)
        if len(rows) < bars:
            return np.zeros(rows.shape[1], dtype=np.bool_)
        return np.asarray(np.isfinite(rows).sum(axis=0) == 0)

    def average_volume(self) -> Array:
        """Average traded value of a bar, shape (n,); NaN where none was ever reported."""
        known = self._volume_weight > 0
        return np.where(known, self._volume / np.where(known, self._volume_weight, 1.0), np.nan)

    def state(self) -> Tree:
        """Everything needed to go on."""
        return {
            "detectors": self._detectors.state(),
            "universe": self._universe.state(),
            "segmentation": self._segmentation.state(),
            "mixture": self._mixture.state(),
            "window": self._window.state(),
            "volume": self._volume.copy(),
            "volume_weight": self._volume_weight.copy(),
            "reference": self._reference.copy(),
            "omega": self._omega,
        }

    def load(self, state: Tree) -> None:
        """Go on from what :meth:`state` described."""
        self._detectors = RunLengthPanel.from_state(state["detectors"])
        self._universe.load(state["universe"])
        self._segmentation = Segmentation.from_state(state["segmentation"])
        self._mixture = CovarianceMixture.from_state(state["mixture"])
        self._window = SegmentWindow.from_state(state["window"])
        self._volume = state["volume"]
        self._volume_weight = state["volume_weight"]
        self._reference = state["reference"]
        self._omega = state["omega"]
        squares = serial_square(self._omega)
        self.effective_sample_size = 1.0 / squares if squares > 0.0 else 0.0
        self._covariance = None


@in_place
def count_finite(x: Array) -> int:
    """How many are finite."""
    count = 0
    for i in range(x.size):
        count += math.isfinite(x[i])
    return count


@in_place
def take_volumes(
    dollar_volumes: Array,
    decay: float,
    volume: Array,
    weight: Array,
    square: float,
    reference_decay: float,
    reference: Array,
) -> None:
    """Take a bar into the averages of traded values, where assets say them, and of the market's square."""
    for i in range(volume.size):
        if math.isfinite(dollar_volumes[i]):
            volume[i] = decay * volume[i] + dollar_volumes[i]
            weight[i] = decay * weight[i] + 1.0
    reference[0] = reference_decay * reference[0] + square
    reference[1] = reference_decay * reference[1] + 1.0


def universe_detector(assets: int, regime: RegimePolicy) -> tuple[UniverseRegime, Segmentation]:
    """What decides the regime of a universe of so many assets: its posterior, and what makes it a label."""
    universe = UniverseRegime(
        assets,
        factors=regime.factors,
        hazards=regime.hazards,
        max_run=regime.max_run,
        warmup=regime.warmup,
        outlier_df=regime.weight_df,
    )
    rule = SegmentationRule(**{field.name: getattr(regime, field.name) for field in fields(SegmentationRule)})
    return universe, Segmentation(rule)
