"""Paper execution: what an account would hold if every executable decision were filled.

One class for the backtest, the demo and the paper execution over Kafka. Pure: returns and allocations in,
position events out. A decision taken at one bar is filled at the next bar's close, after that bar's
returns, at a cost proportional to the traded value. What has no close at that bar is not traded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.events import Allocation, PositionEvent

__all__ = ["COST_BPS", "DELISTING", "Delisting", "Fill", "Ledger", "PaperAccount"]

Array = NDArray[np.float64]

#: Cost of trading that the reports assume, of the traded value.
COST_BPS = 10.0

#: A trade below this share of NAV is rounding.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True, slots=True)
class Fill:
    """One rebalance, in units of the NAV just before it.

    Attributes
    ----------
    turnover : float
        ``sum |trade|``: buys and sells both count.
    cost : float
        Paid from cash.
    unfilled : int
        Assets whose trade was not made for want of a close.
    """

    turnover: float
    cost: float
    unfilled: int = 0


@dataclass(frozen=True, slots=True)
class Delisting:
    """When a holding without a price is given up, and for what.

    The rule knows the past alone: an asset that has been silent for so long is taken for delisted, whether
    or not its prices come back later.

    Attributes
    ----------
    after : int
        Bars without a return, at least 1. A month by default: longer than any feed gap or holiday.
    final_return : float
        From the last price to what is paid, in [-1, inf). CRSP's delisting return; -0.3 is what Shumway
        (1997), The delisting bias in CRSP data, finds where it is missing and the reason was performance.
    """

    after: int = 21
    final_return: float = 0.0

    def __post_init__(self) -> None:
        if self.after < 1:
            raise ValueError(f"after must be at least 1 bar, got {self.after}")
        if not -1.0 <= self.final_return < float("inf"):
            raise ValueError(f"final_return must be finite and not below -1, got {self.final_return}")


#: Of the walk-forward and the demo.
DELISTING = Delisting()


class Ledger:
    """Holdings and cash.

    Parameters
    ----------
    assets : int
    nav : float
        Everything starts in cash.
    cost_bps : float or array_like, shape (n,)
        Basis points of the traded value; finite, not negative and far below 10,000.
    delisting : Delisting, optional
        None keeps what has no price at its last value for ever.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Holdings at their last prices.
    cash : float
    delisted : int
        Holdings that were paid out.
    """

    __slots__ = ("_delisting", "_priced", "_rate", "_silent", "cash", "delisted", "values")

    def __init__(
        self,
        assets: int,
        nav: float,
        cost_bps: ArrayLike = COST_BPS,
        delisting: Delisting | None = None,
    ) -> None:
        self.values: Array = np.zeros(assets)
        self.cash = float(nav)
        self.delisted = 0
        self._rate: Array = np.broadcast_to(np.asarray(cost_bps, dtype=np.float64) * 1e-4, (assets,))
        self._delisting = delisting
        self._priced = np.ones(assets, dtype=np.bool_)
        self._silent = np.zeros(assets, dtype=np.int64)

    @property
    def nav(self) -> float:
        """Cash and holdings together."""
        return self.cash + float(self.values.sum())

    @property
    def weights(self) -> Array:
        """Holdings in units of NAV, shape (n,)."""
        return self.values / self.nav

    @property
    def tradable(self) -> bool:
        """Whether any asset had a close at the last bar."""
        return bool(self._priced.any())

    @property
    def ending(self) -> bool:
        """Whether a holding will be paid out at the next bar unless its prices come back."""
        if self._delisting is None:
            return False
        return bool(((self._silent + 1 >= self._delisting.after) & (self.values != 0.0)).any())

    def mark(self, returns: Array, interest: float = 0.0) -> int:
        """One bar: cash bears interest, holdings move, what has been silent for too long is paid out.

        Parameters
        ----------
        returns : ndarray, shape (n,)
            An asset without one (NaN) keeps its value.
        interest : float
            Return of cash over the bar; a debt pays it.

        Returns
        -------
        int
            Holdings that were paid out.
        """
        self.cash *= 1.0 + interest
        self._priced = np.isfinite(returns)
        self.values = self.values * (1.0 + np.where(self._priced, returns, 0.0))
        if self._delisting is None or self._priced.all():
            self._silent[:] = 0
            return 0
        self._silent = np.where(self._priced, 0, self._silent + 1)
        ended = (self._silent >= self._delisting.after) & (self.values != 0.0)
        if not ended.any():
            return 0
        self.cash += float(self.values[ended].sum()) * (1.0 + self._delisting.final_return)
        self.values[ended] = 0.0
        paid = int(np.count_nonzero(ended))
        self.delisted += paid
        return paid

    def rebalance(self, weights: Array) -> Fill:
        """Trade to ``weights`` of the NAV that is left once the trades are paid for.

        That NAV solves ``N = nav - sum_i c_i |w_i N - v_i|``. The right side is a contraction with
        factor ``sum c_i |w_i|``, a few thousandths, so a few steps reach the last bit.

        An asset without a close at the last bar keeps its holding. Where its sale was to pay for what is
        bought, all buys shrink by one factor, so that nothing is borrowed that the weights do not ask for.
        """
        before = self.nav
        after = before
        for _ in range(50):
            cost = float(self._rate @ np.abs(self._reached(weights, after) - self.values))
            previous, after = after, before - cost
            if after == previous:
                break
        target = self._reached(weights, after)
        traded = float(np.abs(target - self.values).sum())
        wanted = np.abs(weights * after - self.values) > NEGLIGIBLE * before
        self.values = target
        self.cash = after - float(target.sum())
        return Fill(traded / before, (before - after) / before, int(np.count_nonzero(wanted & ~self._priced)))

    def _reached(self, weights: Array, nav: float) -> Array:
        """The holdings that an order for ``weights`` of ``nav`` comes to at the last bar's closes."""
        wanted = weights * nav
        if self._priced.all():
            return wanted
        reached = np.where(self._priced, wanted, self.values)
        borrowed = max(0.0, float(weights.sum()) - 1.0) * nav
        lacking = float(reached.sum()) - nav - borrowed
        bought = np.maximum(reached - self.values, 0.0)
        total = float(bought.sum())
        if lacking > 0.0 and total > 0.0:
            reached -= bought * min(1.0, lacking / total)
        return reached


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
    delisting : Delisting, optional
        None, as live: there the custodian's positions tell what became of a holding.

    Attributes
    ----------
    ledger : Ledger
    turnover, cost : float
        Totals of all fills, each in units of the NAV at its time.
    stale : int
        Decisions whose validity ended before a bar came to fill them.
    unfilled : int
        Trades that were not made for want of a close.
    """

    def __init__(
        self,
        universe: str,
        portfolio: str,
        assets: tuple[str, ...],
        nav: float = 1e6,
        cost_bps: ArrayLike = COST_BPS,
        source: str = "paper",
        delisting: Delisting | None = None,
    ) -> None:
        self.universe = universe
        self.portfolio = portfolio
        self.assets = assets
        self.source = source
        self.ledger = Ledger(len(assets), nav, cost_bps, delisting)
        self.turnover = self.cost = 0.0
        self.stale = self.unfilled = 0
        self._pending: Allocation | None = None
        self._last_index = -1
        self._sequence = 0
        self._due = True  # a snapshot: the opening one
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
        self._due = False
        return self

    @property
    def expecting(self) -> bool:
        """Whether the next bar may have a snapshot: one that is due, or will be by a fill or a pay-out.

        Where cash bears interest every bar may have one.
        """
        return self._due or self._pending is not None or self.ledger.ending

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

    def mark(self, returns: Array, interest: float = 0.0) -> int:
        """Take in one bar's returns, shape (n,), in the order of ``assets``; see :meth:`Ledger.mark`."""
        paid = self.ledger.mark(returns, interest)
        self._due = self._due or paid > 0 or interest != 0.0
        return paid

    def fill(self, event_time: int) -> Fill | None:
        """Fill the waiting decision at the close of a bar after its own; None if there is nothing to fill.

        A bar at which nothing has a close fills nothing: the decision waits on.
        """
        order = self._pending
        if order is None or event_time <= order.event_time or not self.ledger.tradable:
            return None
        self._pending = None
        self._due = True  # after a fill; or after none, which the engine took as done and must hear is not
        if event_time > order.valid_until:
            self.stale += 1  # execution lagged behind the stream
            return None
        weights = np.zeros(len(self.assets))
        for weight in order.weights:
            weights[self._index[weight.asset]] = weight.target
        fill = self.ledger.rebalance(weights)
        self.turnover += fill.turnover
        self.cost += fill.cost
        self.unfilled += fill.unfilled
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
        self._due = False
        return event

    def snapshot(self, event_time: int) -> PositionEvent | None:
        """The snapshot that is due, where the engine cannot know the holdings itself.

        That is after the first bar, after each fill and pay-out, after a decision that went stale, and
        wherever cash has borne interest. None while a newer decision waits: the engine has taken that one as
        held, and a snapshot from before it would make it forget; the next fill is followed by one that knows
        both.
        """
        return self.position_event(event_time) if self._due and self._pending is None else None

    def close(
        self, event_time: int, returns: Array, interest: float = 0.0
    ) -> tuple[Fill | None, PositionEvent | None]:
        """One bar: mark, fill, and the snapshot to publish if one is due."""
        self.mark(returns, interest)
        fill = self.fill(event_time)
        return fill, self.snapshot(event_time)
