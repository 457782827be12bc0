"""The engine over a price file, with a paper execution in the loop."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.account import COST_BPS, DELISTING, Delisting
from stream_allocator.backtest.prices import Prices, return_events
from stream_allocator.backtest.run import Progress, Recorder, Run
from stream_allocator.engine import Engine
from stream_allocator.errors import DataError
from stream_allocator.events import Allocation, Evidence, RegimeUpdate, Rejection
from stream_allocator.policy import Policy
from stream_allocator.topology import Universe

__all__ = ["walk_forward"]


def walk_forward(
    prices: Prices,
    universe: Universe,
    policies: Mapping[str, Policy],
    *,
    nav: float = 1e6,
    cost_bps: float = COST_BPS,
    interest: NDArray[np.float64] | None = None,
    delisting: Delisting | None = DELISTING,
    source: str = "prices",
    progress: Progress | None = None,
    witness: Callable[[Allocation, Evidence], object] | None = None,
) -> Run:
    """Drive the one engine bar by bar; nothing later than a bar can reach its decision.

    Each bar: its returns go to the engine; the paper accounts take the same returns and fill what
    earlier bars decided; their position snapshots go to the engine; this bar's decisions wait for the
    next bar. Offsets count from 0 on each topic, as on a fresh broker.

    Parameters
    ----------
    prices : Prices
    universe : Universe
        Its assets must be columns of the prices.
    policies : mapping of str to Policy
        One for each portfolio.
    nav : float
        Opening NAV of each paper account.
    cost_bps : float
        What a fill costs, basis points of the traded value.
    interest : ndarray, shape (T,), optional
        Return of cash over each bar (:mod:`stream_allocator.backtest.cash`); nothing when not given.
    delisting : Delisting, optional
        What becomes of a holding whose prices end; None keeps it at its last value for ever.
    source : str
        Of the return events.
    progress : callable, optional
    witness : callable, optional
        Sees the two records of each decision, which the run keeps of a few alone.

    Raises
    ------
    DataError
        When the prices lack an asset, or the engine refuses a bar.
    """
    engine = Engine(universe, policies)
    recorder = Recorder(
        universe, policies, nav=nav, cost_bps=cost_bps, interest=interest, delisting=delisting
    )
    positions = 0
    for offset, event in enumerate(return_events(prices, universe, source)):
        decided: list[tuple[Allocation, Evidence]] = []
        evidence: Evidence | None = None
        update: RegimeUpdate | None = None
        for output in engine.apply(event, offset):
            match output:
                case Rejection():
                    raise DataError(f"{prices.source}: bar {offset + 1}: {output.reason}")
                case Evidence():
                    evidence = output
                case Allocation():
                    assert evidence is not None  # the engine publishes it right before
                    decided.append((output, evidence))
                    if witness is not None:
                        witness(output, evidence)
                case RegimeUpdate():
                    update = output
        assert update is not None  # a whole cross-section closes its bar
        for position in recorder.bar(event.returns, update, decided):
            engine.apply(position, positions)
            positions += 1
        if progress is not None:
            progress(update, [allocation for allocation, _ in decided])
    return recorder.run(engine.chain)
