"""The record of one run, and the paper execution that makes it.

The walk-forward over a price file and the demo over Kafka put the same bars through the same
:class:`Recorder`, so a run is the same object wherever it comes from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.account import COST_BPS, DELISTING, Delisting, PaperAccount
from stream_allocator.events import Allocation, Evidence, PositionEvent, RegimeLabel, RegimeUpdate
from stream_allocator.policy import Policy
from stream_allocator.topology import Universe

__all__ = ["Breach", "PortfolioRun", "Progress", "Recorder", "Records", "Regimes", "Run", "breach"]

Array = NDArray[np.float64]

#: Called after each bar with its update and its decisions.
Progress: TypeAlias = Callable[[RegimeUpdate, list[Allocation]], None]

#: The two records of one decision.
Records: TypeAlias = tuple[Allocation, Evidence]


@dataclass(frozen=True, slots=True)
class Breach:
    """How far published weights lie outside the published programme's limits; 0 where they keep them.

    Attributes
    ----------
    trade : float
        Turnover and liquidity, units of NAV. No decision may ever show more than rounding here.
    holdings : float
        Box, cash and groups, units of NAV.
    volatility : float
        Above the cap, a year.
    predicted : float
        Not a violation but what the cap is about: the volatility of the published weights, a year.
    held : float
        The same of the weights before the trade, by the same covariance.
    """

    trade: float
    holdings: float
    volatility: float
    predicted: float
    held: float

    @property
    def worst(self) -> float:
        """The largest of the three violations."""
        return max(self.trade, self.holdings, self.volatility)


def breach(allocation: Allocation, evidence: Evidence) -> Breach:
    """Measure an allocation against the limits in its evidence, in a few lines and without the allocator.

    Parameters
    ----------
    allocation, evidence
        The two records of one decision.
    """
    w, w0 = np.array([x.target for x in allocation.weights]), np.array(evidence.current)
    move = np.abs(w - w0)
    cash = 1.0 - float(w.sum())
    risk = _volatility(evidence, w)
    holdings = [
        float((np.array(evidence.lower) - w).max()),
        float((w - np.array(evidence.upper)).max()),
        evidence.cash_lower - cash,
        cash - evidence.cash_upper,
    ]
    for group in evidence.groups:
        weight = float(w[list(group.members)].sum())
        holdings += [group.lower - weight, weight - group.upper]
    trade = max(float(move.sum()) - evidence.turnover, float((move - np.array(evidence.trade)).max()))
    return Breach(
        trade=max(0.0, trade),
        holdings=max(0.0, *holdings),
        volatility=max(0.0, risk - evidence.volatility),
        predicted=risk,
        held=_volatility(evidence, w0),
    )


def _volatility(evidence: Evidence, weights: Array) -> float:
    """``sqrt(w' (F F' + diag d) w)``, a year."""
    f = evidence.factors
    exposures = np.array(f.values).reshape(f.rows, f.columns).T @ weights
    own = float(np.array(evidence.idiosyncratic) @ (weights * weights))
    return float(np.sqrt(exposures @ exposures + own))


@dataclass(frozen=True, slots=True, eq=False)
class Regimes:
    """The universe's regime after each bar; arrays of shape (T,).

    Attributes
    ----------
    label : tuple of str
    switched : ndarray of bool
    switch_probability, confidence, effective_sample_size : ndarray
    segment_volatility, reference_volatility : ndarray
        Of the market return, a year.
    """

    label: tuple[RegimeLabel, ...]
    switched: NDArray[np.bool_]
    switch_probability: Array
    confidence: Array
    effective_sample_size: Array
    segment_volatility: Array
    reference_volatility: Array


@dataclass(frozen=True, slots=True, eq=False)
class PortfolioRun:
    """One portfolio through a run.

    Attributes
    ----------
    name : str
    policy : Policy
    nav : ndarray, shape (T,)
        After each bar's returns and fills, net of costs.
    held : ndarray, shape (T, n)
        Weights after each bar, units of NAV; the rest is cash.
    traded : ndarray, shape (T,)
        Turnover filled at each bar.
    cost : float
        Sum of all costs, each in units of the NAV at its time.
    stale : int
        Executable decisions that no bar came in time to fill.
    delisted : int
        Holdings whose prices ended and that were paid out.
    unfilled : int
        Trades that were not made because the asset had no close at the bar.
    decisions : tuple of Allocation
    breaches : tuple of Breach
        One for each decision.
    last, largest : (Allocation, Evidence) or None
        The last decision, and the executable one after the first that traded most; with their programmes.
    """

    name: str
    policy: Policy
    nav: Array
    held: Array
    traded: Array
    cost: float
    stale: int
    delisted: int
    unfilled: int
    decisions: tuple[Allocation, ...]
    breaches: tuple[Breach, ...]
    last: Records | None
    largest: Records | None

    def targets(self) -> Array:
        """Published weights, shape (decisions, n)."""
        rows = [[w.target for w in d.weights] for d in self.decisions]
        return np.array(rows).reshape(-1, self.held.shape[1])

    @property
    def worst_primal(self) -> float:
        """The largest violation that any certificate admits; 0 without decisions."""
        return max((d.certificate.primal for d in self.decisions), default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Everything a report is made from.

    Attributes
    ----------
    universe : Universe
    times : ndarray of int64, shape (T,)
        Closed bars.
    returns : ndarray, shape (T, n)
        In the universe's order; NaN where missing.
    regimes : Regimes
    portfolios : tuple of PortfolioRun
    cost_bps : float
        That the paper execution paid.
    interest : ndarray, shape (T,)
        Return of cash over each bar.
    delisting : Delisting or None
        What became of holdings whose prices ended.
    chain : str
        Head of the audit chain: it names every decision of the run and their order.
    """

    universe: Universe
    times: NDArray[np.int64]
    returns: Array
    regimes: Regimes
    portfolios: tuple[PortfolioRun, ...]
    cost_bps: float
    interest: Array
    delisting: Delisting | None
    chain: str

    def bars_of(self, decisions: Sequence[Allocation]) -> list[int]:
        """The bar of each decision."""
        return [int(bar) for bar in np.searchsorted(self.times, [d.event_time for d in decisions])]

    def portfolio(self, name: str) -> PortfolioRun:
        """The portfolio of that name; ``KeyError`` if there is none."""
        return {p.name: p for p in self.portfolios}[name]


class _Track:
    """What is gathered for one portfolio."""

    def __init__(self, account: PaperAccount, policy: Policy) -> None:
        self.account = account
        self.policy = policy
        self.nav: list[float] = []
        self.held: list[Array] = []
        self.traded: list[float] = []
        self.decisions: list[Allocation] = []
        self.breaches: list[Breach] = []
        self.last: Records | None = None
        self.largest: Records | None = None

    def close(self, time: int, returns: Array, interest: float) -> None:
        self.account.mark(returns, interest)
        fill = self.account.fill(time)
        self.nav.append(self.account.ledger.nav)
        self.held.append(self.account.ledger.weights)
        self.traded.append(0.0 if fill is None else fill.turnover)

    def decide(self, allocation: Allocation, evidence: Evidence) -> None:
        self.account.receive(allocation)
        self.decisions.append(allocation)
        self.breaches.append(breach(allocation, evidence))
        self.last = allocation, evidence
        if allocation.executable and len(self.decisions) > 1:
            most = -1.0 if self.largest is None else self.largest[0].turnover.traded
            if allocation.turnover.traded > most:
                self.largest = self.last

    def run(self, name: str, assets: int) -> PortfolioRun:
        return PortfolioRun(
            name=name,
            policy=self.policy,
            nav=np.array(self.nav),
            held=np.array(self.held).reshape(-1, assets),
            traded=np.array(self.traded),
            cost=self.account.cost,
            stale=self.account.stale,
            delisted=self.account.ledger.delisted,
            unfilled=self.account.unfilled,
            decisions=tuple(self.decisions),
            breaches=tuple(self.breaches),
            last=self.last,
            largest=self.largest,
        )


class Recorder:
    """Paper accounts of a universe's portfolios, and the record of what happens to them.

    Parameters
    ----------
    universe : Universe
    policies : mapping of str to Policy
    nav : float
        Opening NAV of each account.
    cost_bps : float
    interest : ndarray, shape (T,), optional
        Return of cash over each bar; nothing when not given.
    delisting : Delisting, optional
        None keeps what has no price at its last value for ever.
    """

    def __init__(
        self,
        universe: Universe,
        policies: Mapping[str, Policy],
        *,
        nav: float = 1e6,
        cost_bps: float = COST_BPS,
        interest: Array | None = None,
        delisting: Delisting | None = DELISTING,
    ) -> None:
        self._universe = universe
        self._cost_bps = cost_bps
        self._interest = interest
        self._delisting = delisting
        self._tracks = {
            p.name: _Track(
                PaperAccount(universe.name, p.name, universe.assets, nav, cost_bps, delisting=delisting),
                policies[p.name],
            )
            for p in universe.portfolios
        }
        self._updates: list[RegimeUpdate] = []
        self._returns: list[Array] = []

    @property
    def expecting(self) -> bool:
        """Whether the next bar may have positions to publish, which must come before the one after it."""
        return self._interest is not None or any(t.account.expecting for t in self._tracks.values())

    def bar(
        self, returns: Sequence[float], update: RegimeUpdate, decided: Sequence[Records]
    ) -> list[PositionEvent]:
        """One closed bar.

        The accounts take the returns and fill what was decided at earlier bars; only then do this bar's
        decisions reach them, so that an account publishes no snapshot from before a decision of its own.

        Returns
        -------
        list of PositionEvent
            To be published before the next bar's returns, in this order.
        """
        row = np.array(returns, dtype=np.float64)
        interest = 0.0 if self._interest is None else float(self._interest[len(self._returns)])
        self._returns.append(row)
        self._updates.append(update)
        for track in self._tracks.values():
            track.close(update.event_time, row, interest)
        for allocation, evidence in decided:
            self._tracks[allocation.portfolio].decide(allocation, evidence)
        events = [track.account.snapshot(update.event_time) for track in self._tracks.values()]
        return [event for event in events if event is not None]

    def run(self, chain: str) -> Run:
        """The record so far."""
        updates = self._updates
        n = len(self._universe.assets)
        return Run(
            universe=self._universe,
            times=np.array([u.event_time for u in updates], dtype=np.int64),
            returns=np.array(self._returns).reshape(-1, n),
            regimes=Regimes(
                label=tuple(u.label for u in updates),
                switched=np.array([u.switched for u in updates], dtype=np.bool_),
                switch_probability=np.array([u.switch_probability for u in updates]),
                confidence=np.array([u.confidence for u in updates]),
                effective_sample_size=np.array([u.effective_sample_size for u in updates]),
                segment_volatility=np.array([u.segment_volatility for u in updates]),
                reference_volatility=np.array([u.reference_volatility for u in updates]),
            ),
            portfolios=tuple(track.run(name, n) for name, track in self._tracks.items()),
            cost_bps=self._cost_bps,
            interest=np.zeros(len(updates)) if self._interest is None else self._interest[: len(updates)],
            delisting=self._delisting,
            chain=chain,
        )
