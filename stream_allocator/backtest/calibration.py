"""Whether confidence is earned: predicted against realised risk, by how sure the decisions were."""

from dataclasses import dataclass

import numpy as np

from stream_allocator.backtest.run import PortfolioRun, Run

__all__ = ["Bin", "calibration"]

#: Bars that a decision must have been held for its realised volatility to say something.
SHORTEST = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions of similar confidence.

    Attributes
    ----------
    low, high : float
        Confidence of the least and the most sure of them.
    decisions : int
    predicted, realised : float
        Root mean square volatility of the held portfolio, a year.
    error : float
        Median of ``|ln(realised / predicted)|``; smaller is better calibrated.
    """

    low: float
    high: float
    decisions: int
    predicted: float
    realised: float
    error: float


def calibration(run: Run, portfolio: PortfolioRun, bins: int = 3) -> tuple[Bin, ...]:
    """Sort executable decisions by confidence and compare the volatility that each predicted for its
    target weights with the one that the account had until the next fill.

    Returns
    -------
    tuple of Bin
        Least sure first; empty when there are fewer than ten decisions a bin.
    """
    year = portfolio.policy.moments.periods_per_year
    returns = portfolio.nav[1:] / portfolio.nav[:-1] - 1.0
    chosen = [(d, b) for d, b in zip(portfolio.decisions, portfolio.breaches, strict=True) if d.executable]
    at = np.searchsorted(run.times, [d.event_time for d, _ in chosen])
    ends = np.append(at[1:], len(run.times) - 1)
    rows = []
    for (decision, measured), first, last in zip(chosen, at, ends, strict=True):
        held = returns[first + 1 : last + 1]  # the fill is at first + 1, so what follows it
        if len(held) >= SHORTEST and measured.predicted > 1e-4:
            realised = float(np.sqrt(np.mean(held**2) * year))
            rows.append((decision.confidence.value, measured.predicted, max(realised, 1e-9)))
    if len(rows) < 10 * bins:
        return ()
    table = np.array(sorted(rows))
    result = []
    for part in np.array_split(table, bins):
        confidence, predicted, realised = part.T
        result.append(
            Bin(
                low=float(confidence[0]),
                high=float(confidence[-1]),
                decisions=len(part),
                predicted=float(np.sqrt(np.mean(predicted**2))),
                realised=float(np.sqrt(np.mean(realised**2))),
                error=float(np.median(np.abs(np.log(realised / predicted)))),
            )
        )
    return tuple(result)
