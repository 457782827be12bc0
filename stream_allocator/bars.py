"""Ticks to bars, on event time alone.

A bar closes when every asset has reported for its time, or when a later time has arrived and the grace
has passed (``latest - time >= grace``). Bars close in the order of their times.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_allocator.regime.elementary import in_place
from stream_allocator.state import Tree

__all__ = ["Bar", "BarAssembly"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Bar:
    """One cross-section.

    Attributes
    ----------
    time : int
        Event time, microseconds.
    returns, dollar_volumes : ndarray, shape (n,)
        NaN where an asset has none.
    reported : ndarray of bool, shape (n,)
    """

    time: int
    returns: Array
    dollar_volumes: Array
    reported: NDArray[np.bool_]


@in_place
def first_since(time: int, index: Index, last_report: Index) -> int:
    """Place in ``index`` of the first asset that has reported for ``time`` or later; -1 where none has."""
    for i in range(index.size):
        if last_report[index[i]] >= time:
            return i
    return -1


@in_place
def report(
    time: int,
    index: Index,
    values: Array,
    returns: Array,
    reported: NDArray[np.bool_],
    last_report: Index,
) -> int:
    """Enter some assets' returns; how many of them are new to the bar."""
    new = 0
    for i in range(index.size):
        asset = index[i]
        returns[asset] = values[i]
        new += not reported[asset]
        reported[asset] = True
        last_report[asset] = time
    return new


class BarAssembly:
    """The open bars of one universe.

    Parameters
    ----------
    assets : int
    grace : int
        Microseconds of event time that an incomplete bar is waited for once a later time has arrived.
    """

    def __init__(self, assets: int, grace: int) -> None:
        self._assets = assets
        self._grace = grace
        self._open: dict[int, Bar] = {}
        self._waiting: dict[int, int] = {}  # assets that have not reported, by time
        self._nothing = np.full(assets, np.nan)
        self._last_report = np.full(assets, -1, dtype=np.int64)
        self.closed = -1

    def late(self, time: int, index: Index) -> int | None:
        """The first asset for which ``time`` comes too late, -1 when its bar has closed, None if in time."""
        if time <= self.closed:
            return -1
        behind = first_since(time, index, self._last_report)
        return None if behind < 0 else int(index[behind])

    def add(self, time: int, index: Index, returns: Array, dollar_volumes: Array | None) -> None:
        """Enter what some assets report for ``time``; the caller has asked :meth:`late` first."""
        bar = self._open.get(time)
        if bar is None:
            reported = np.zeros(self._assets, dtype=np.bool_)
            bar = self._open[time] = Bar(time, self._nothing.copy(), self._nothing.copy(), reported)
            self._waiting[time] = self._assets
        self._waiting[time] -= report(time, index, returns, bar.returns, bar.reported, self._last_report)
        if dollar_volumes is not None:
            bar.dollar_volumes[index] = dollar_volumes

    def close(self) -> list[Bar]:
        """The bars that can close now, oldest first; each is handed out once."""
        bars = []
        while self._open:
            time, latest = min(self._open), max(self._open)
            waited = latest > time and latest - time >= self._grace
            if not waited and self._waiting[time]:
                break
            del self._waiting[time]
            bars.append(self._open.pop(time))
            self.closed = time
        return bars

    def state(self) -> Tree:
        """Everything needed to go on."""
        times = sorted(self._open)
        return {
            "closed": self.closed,
            "last_report": self._last_report.copy(),
            "open": [
                {
                    "time": t,
                    "returns": self._open[t].returns,
                    "dollar_volumes": self._open[t].dollar_volumes,
                    "reported": self._open[t].reported.astype(np.int8),
                }
                for t in times
            ],
        }

    @classmethod
    def from_state(cls, assets: int, grace: int, state: Tree) -> "BarAssembly":
        """The assembly that :meth:`state` described."""
        self = cls(assets, grace)
        self.closed = state["closed"]
        self._last_report = state["last_report"]
        for bar in state["open"]:
            reported = bar["reported"].astype(np.bool_)
            self._open[bar["time"]] = Bar(bar["time"], bar["returns"], bar["dollar_volumes"], reported)
            self._waiting[bar["time"]] = int(np.count_nonzero(~reported))
        return self
