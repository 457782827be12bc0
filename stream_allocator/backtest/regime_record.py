"""The run-length posterior behind a recorded run, bar by bar, and what made each of its switches."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.run import Run
from stream_allocator.errors import DataError
from stream_allocator.events import Allocation, RegimeLabel
from stream_allocator.market import universe_detector
from stream_allocator.regime import Segment, Segmentation, UniverseRegime

__all__ = ["Cause", "RegimeRecord", "Switch", "regime_record"]

Array = NDArray[np.float64]
Cause = Literal["alarm", "label"]


@dataclass(frozen=True, slots=True)
class Switch:
    """One regime switch, and the decision that it called for.

    Attributes
    ----------
    bar : int
        In the run.
    event_time : int
    cause : {"alarm", "label"}
    before : str
        The label that the switch before this one, or the start, made known.
    after : str
        In force at this bar; ``transition`` until there is evidence for another.
    probability : float
        P(r <= horizon).
    map_run_length : int
        Bars: by it the last so many belong to the present segment.
    effective_sample_size : float
        Bars of evidence in the present segment.
    invested : float
        Share of the NAV at this bar, before the decision is filled.
    decision : Allocation or None
        None where the portfolio had nothing to decide, as in the warm-up.
    """

    bar: int
    event_time: int
    cause: Cause
    before: RegimeLabel
    after: RegimeLabel
    probability: float
    map_run_length: int
    effective_sample_size: float
    invested: float
    decision: Allocation | None


@dataclass(frozen=True, slots=True, eq=False)
class RegimeRecord:
    """Some bars of a run with the posterior that the engine had after each.

    Attributes
    ----------
    run : Run
    first, stop : int
        The bars ``first <= t < stop`` of the run; m of them.
    probabilities : ndarray, shape (m, max_run + 1)
        P(r) after each bar; the last column is r >= max_run. During the warm-up all of it is at the number
        of bars seen.
    map_run_length : ndarray of int, shape (m,)
    switches : tuple of Switch
    """

    run: Run
    first: int
    stop: int
    probabilities: Array
    map_run_length: NDArray[np.int64]
    switches: tuple[Switch, ...]

    @property
    def max_run(self) -> int:
        """The longest run length told apart."""
        return int(self.probabilities.shape[1]) - 1

    def market(self) -> Array:
        """Growth of the mean of the assets' returns, 1 before the first bar; shape (m,)."""
        returns = self.run.returns[self.first : self.stop]
        seen = np.isfinite(returns)
        mean = np.where(seen, returns, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
        growth: Array = np.cumprod(1.0 + mean)
        return growth

    def wealth(self) -> Array:
        """The portfolio's NAV as a multiple of that before the first bar; shape (m,)."""
        nav = self.run.portfolios[0].nav
        growth: Array = nav[self.first : self.stop] / nav[max(self.first - 1, 0)]
        return growth

    def decisions(self) -> list[Allocation]:
        """The portfolio's executable decisions at these bars."""
        start, end = int(self.run.times[self.first]), int(self.run.times[self.stop - 1])
        made = self.run.portfolios[0].decisions
        return [d for d in made if d.executable and start <= d.event_time <= end]


def regime_record(run: Run, first: int, stop: int) -> RegimeRecord:
    """Drive the detector over the recorded returns again, and keep what the records leave out.

    A regime update holds what is needed to act on: P(r <= horizon) and the most probable run length, not
    the posterior. Everything is compared with the record on the way, so what is shown is what the engine
    had. Of several portfolios the first one's decisions are taken; they share the regime.

    Parameters
    ----------
    run : Run
    first, stop : int
        Bars to keep, ``0 <= first < stop <= len(run.times)``.

    Raises
    ------
    DataError
        When the posterior is not the recorded one to the last bit: the run is of another release.
    """
    portfolio = run.portfolios[0]
    policy = portfolio.policy.regime
    universe, segmentation = universe_detector(len(run.universe.assets), policy)
    decisions = {d.event_time: d for d in portfolio.decisions if d.executable}
    probabilities = np.zeros((stop - first, policy.max_run + 1))
    most_probable = np.zeros(stop - first, dtype=np.int64)
    switches = []
    announced: RegimeLabel = "transition"
    for bar in range(stop):
        universe.update(run.returns[bar])
        segment = _step(run, bar, universe, segmentation, policy.horizon)
        if segment.cause and bar >= first:
            switches.append(
                Switch(
                    bar=bar,
                    event_time=int(run.times[bar]),
                    cause=segment.cause,
                    before=announced,
                    after=segment.label,
                    probability=segment.switch_probability,
                    map_run_length=int(segment.map_run_length),
                    effective_sample_size=segment.effective_sample_size,
                    invested=float(portfolio.held[bar].sum()),
                    decision=decisions.get(int(run.times[bar])),
                )
            )
        if segment.label != "transition" and (segment.switched or announced == "transition"):
            announced = segment.label
        if bar >= first:
            lengths, p = universe.posterior.posterior()
            probabilities[bar - first, lengths] = p
            most_probable[bar - first] = int(segment.map_run_length)
    return RegimeRecord(run, first, stop, probabilities, most_probable, tuple(switches))


def _step(run: Run, bar: int, universe: UniverseRegime, segmentation: Segmentation, horizon: int) -> Segment:
    """The segment after one bar, once more; it must be the recorded one."""
    recorded = run.regimes
    segment = segmentation.step(
        universe.posterior.probability_at_most(horizon),
        universe.posterior.map_run_length(),
        float(recorded.segment_volatility[bar]),
        float(recorded.reference_volatility[bar]),
        float(recorded.effective_sample_size[bar]),
    )
    again = (segment.switch_probability, segment.label, segment.switched)
    then = (recorded.switch_probability[bar], recorded.label[bar], bool(recorded.switched[bar]))
    if again != then:
        raise DataError(
            f"bar {bar}: the run has P(r <= {horizon}), label, switched = {then}, the detector {again}; "
            "the run is of another release: record it again"
        )
    return segment
