"""Paper execution: what an account would hold if every executable decision were filled.

One class for the backtest, the demo and the paper execution over Kafka. Pure: returns and allocations in,
position events out. A decision taken at one bar is filled at the next bar's close, after that bar's
returns, at a cost proportional to the traded value.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.events import Allocation, PositionEvent

__all__ = ["COST_BPS", "Fill", "Ledger", "PaperAccount"]

Array = NDArray[np.float64]

#: Cost of trading that the reports assume, of the traded value.
COST_BPS = 10.0


@dataclass(frozen=True, slots=True)
class Fill:
    """One rebalance, in units of the NAV just before it.

    Attributes
    ----------
    turnover : float
        ``sum |trade|``: buys and sells both count.
    cost : float
        Paid from cash.
    """

    turnover: float
    cost: float


class Ledger:
    """Holdings and cash.

    Parameters
    ----------
    assets : int
    nav : float
        Everything starts in cash.
    cost_bps : float or array_like, shape (n,)
        Basis points of the traded value; finite, not negative and far below 10,000.
    """

    __slots__ = ("_rate", "cash", "values")

    def __init__(self, assets: int, nav: float, cost_bps: ArrayLike = COST_BPS) -> None:
        self.values: Array = np.zeros(assets)
        self.cash = float(nav)
        self._rate: Array = np.broadcast_to(np.asarray(cost_bps, dtype=np.float64) * 1e-4, (assets,))

    @property
    def nav(self) -> float:
        """Cash and holdings together."""
        return self.cash + float(self.values.sum())

    @property
    def weights(self) -> Array:
        """Holdings in units of NAV, shape (n,)."""
        return self.values / self.nav

    def mark(self, returns: Array) -> None:
        """Let the holdings move; an asset without a return (NaN) keeps its value."""
        self.values = self.values * (1.0 + np.where(np.isfinite(returns), returns, 0.0))

    def rebalance(self, weights: Array) -> Fill:
        """Trade to ``weights`` of the NAV that is left once the trades are paid for.

        That NAV solves ``N = nav - sum_i c_i |w_i N - v_i|``. The right side is a contraction with
        factor ``sum c_i |w_i|``, a few thousandths, so a few steps reach the last bit.
        """
        before = self.nav
        after = before
        for _ in range(50):
            cost = float(self._rate @ np.abs(weights * after - self.values))
            previous, after = after, before - cost
            if after == previous:
                break
        target = weights * after
        traded = float(np.abs(target - self.values).sum())
        self.values = target
        self.cash = after - float(target.sum())
        return Fill(traded / before, (before - after) / before)


class PaperAccount:
    """One portfolio's paper execution.

    Parameters
    ----------
    universe, portfolio : str
    assets : tuple of str
    nav : float
        Opening NAV, all in cash.
    cost_bps : float or array_like, shape (n,)
    source : str
        Of the position events.

    Attributes
    ----------
    ledger : Ledger
    turnover, cost : float
        Totals of all fills, each in units of the NAV at its time.
    stale : int
        Decisions whose validity ended before a bar came to fill them.
    """

    def __init__(
        self,
        universe: str,
        portfolio: str,
        assets: tuple[str, ...],
        nav: float = 1e6,
        cost_bps: ArrayLike = COST_BPS,
        source: str = "paper",
    ) -> None:
        self.universe = universe
        self.portfolio = portfolio
        self.assets = assets
        self.source = source
        self.ledger = Ledger(len(assets), nav, cost_bps)
        self.turnover = self.cost = 0.0
        self.stale = 0
        self._pending: Allocation | None = None
        self._last_index = -1
        self._sequence = 0
        self._index = {asset: i for i, asset in enumerate(assets)}

    @classmethod
    def resume(
        cls, snapshot: PositionEvent, assets: tuple[str, ...], cost_bps: ArrayLike = COST_BPS
    ) -> "PaperAccount":
        """The account as its own last position event left it."""
        self = cls(snapshot.universe, snapshot.portfolio, assets, snapshot.nav, cost_bps, snapshot.source)
        for asset, value in zip(snapshot.assets, snapshot.market_values, strict=True):
            self.ledger.values[self._index[asset]] = value
        self.ledger.cash = snapshot.cash
        self._sequence = snapshot.sequence + 1
        return self

    @property
    def expecting(self) -> bool:
        """Whether the next bar may have a snapshot to publish: the opening one, or one after a fill."""
        return self._sequence == 0 or self._pending is not None

    def receive(self, allocation: Allocation) -> bool:
        """Queue a decision for the next bar; True if it will be filled unless it goes stale.

        Refused: another portfolio's, one that is not executable, and one that is not newer than the
        last. A newer decision replaces one that still waits.
        """
        mine = (allocation.universe, allocation.portfolio) == (self.universe, self.portfolio)
        if not (mine and allocation.executable and allocation.index > self._last_index):
            return False
        self._last_index = allocation.index
        self._pending = allocation
        return True

    def mark(self, returns: Array) -> None:
        """Take in one bar's returns, shape (n,), in the order of ``assets``."""
        self.ledger.mark(returns)

    def fill(self, event_time: int) -> Fill | None:
        """Fill the waiting decision at the close of a bar after its own; None if there is nothing to fill."""
        order = self._pending
        if order is None or event_time <= order.event_time:
            return None
        self._pending = None
        if event_time > order.valid_until:
            self.stale += 1  # execution lagged behind the stream
            return None
        weights = np.zeros(len(self.assets))
        for weight in order.weights:
            weights[self._index[weight.asset]] = weight.target
        fill = self.ledger.rebalance(weights)
        self.turnover += fill.turnover
        self.cost += fill.cost
        return fill

    def position_event(self, event_time: int) -> PositionEvent:
        """A full snapshot under the account's next sequence number."""
        values = tuple(self.ledger.values.tolist())
        event = PositionEvent(
            universe=self.universe,
            portfolio=self.portfolio,
            source=self.source,
            sequence=self._sequence,
            event_time=event_time,
            nav=self.ledger.nav,
            cash=self.ledger.cash,
            assets=self.assets,
            market_values=values,
        )
        self._sequence += 1
        return event

    def close(self, event_time: int, returns: Array) -> tuple[Fill | None, PositionEvent | None]:
        """One bar: mark, fill, and the snapshot to publish: after the first bar and after each fill."""
        self.mark(returns)
        fill = self.fill(event_time)
        if fill is None and self._sequence > 0:
            return None, None
        return fill, self.position_event(event_time)
