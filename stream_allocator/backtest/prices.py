"""Price files to return events.

A price file is CSV, plain or gzipped, or Parquet. Wide, it has the date in ISO 8601 and then one column of
closes an asset, in the order of the dates; long, one line for each date and asset, in any order, with columns
named date, asset, price and, where it is known, dollar_volume. An empty cell says that there is no close.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.price_csv import read_csv
from stream_allocator.errors import DataError
from stream_allocator.events import ReturnEvent
from stream_allocator.topology import Universe

__all__ = ["Prices", "bundled", "load_prices", "return_events"]

Array = NDArray[np.float64]

PARQUET, GZIP = b"PAR1", b"\x1f\x8b"
"""What files begin with."""


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Closes of some assets.

    Attributes
    ----------
    source : str
        Where they come from, for messages and the report.
    assets : tuple of str
    times : ndarray of int64, shape (T,)
        Event times, microseconds since the epoch (UTC), strictly increasing.
    closes : ndarray, shape (T, n)
        Positive; NaN where missing.
    dollar_volumes : ndarray, shape (T, n), or None
        Traded value of each bar; NaN where missing. None where nothing is known of it.
    """

    source: str
    assets: tuple[str, ...]
    times: NDArray[np.int64]
    closes: Array
    dollar_volumes: Array | None = None

    @property
    def bars(self) -> int:
        """Bars that have returns: one fewer than there are closes."""
        return len(self.times) - 1

    @property
    def digest(self) -> str:
        """SHA-256 of assets, times, closes and, where there are any, traded values."""
        content = hashlib.sha256("\n".join(self.assets).encode())
        content.update(self.times.astype("<i8").tobytes())
        content.update(self.closes.astype("<f8").tobytes())
        if self.dollar_volumes is not None:
            content.update(self.dollar_volumes.astype("<f8").tobytes())
        return content.hexdigest()

    def returns(self) -> Array:
        """Simple returns, shape (T - 1, n); row ``t`` belongs to ``times[t + 1]``.

        NaN where the bar has no close or no close came before it. After a gap the return spans it:
        it is measured from the last close that is known, so wealth compounds to the right level.
        """
        steps = np.arange(len(self.times))[:, None]
        known = np.maximum.accumulate(np.where(np.isfinite(self.closes), steps, -1), axis=0)[:-1]
        last = np.take_along_axis(self.closes, np.maximum(known, 0), axis=0)
        return np.where(known >= 0, self.closes[1:] / last - 1.0, np.nan)

    def tail(self, bars: int | None) -> "Prices":
        """The last so many bars; all of them for None or more than there are."""
        if bars is None or bars >= self.bars:
            return self
        return self._rows(slice(-bars - 1, None))

    def until(self, bar: int) -> "Prices":
        """Everything up to the close of a bar; bar 0 is the first that has returns."""
        return self._rows(slice(bar + 2))

    def _rows(self, rows: slice) -> "Prices":
        volumes = None if self.dollar_volumes is None else self.dollar_volumes[rows]
        return replace(self, times=self.times[rows], closes=self.closes[rows], dollar_volumes=volumes)

    def select(self, assets: tuple[str, ...]) -> "Prices":
        """The named assets in the named order.

        Raises
        ------
        DataError
            When the file lacks one.
        """
        lacking = [a for a in assets if a not in self.assets]
        if lacking:
            raise DataError(
                f"{self.source}: no column for {', '.join(lacking)}; it has {', '.join(self.assets)}"
            )
        columns = [self.assets.index(a) for a in assets]
        volumes = None if self.dollar_volumes is None else self.dollar_volumes[:, columns]
        return replace(self, assets=assets, closes=self.closes[:, columns], dollar_volumes=volumes)


def load_prices(path: str | Path) -> Prices:
    """Read a price file: CSV, gzipped or not, or Parquet, wide or long.

    What it begins with tells which it is; a name that says otherwise (``.gz``, ``.parquet``, ``.pq``) is a
    mistake. Column names tell wide from long: long has one for an asset and one for a price.

    Raises
    ------
    DataError
        Naming file, line or row, and column: no such file, a date that does not parse or, in the wide form,
        does not increase, a close that is not a positive number, a line of another length, two prices for one
        asset and date, fewer than two dates.
    ConfigurationError
        For Parquet without the library that reads it.
    """
    path = Path(path)
    try:
        with path.open("rb") as content:
            begins = content.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if begins == PARQUET:
        from stream_allocator.backtest.price_parquet import read_parquet  # only now: its library is large

        table = read_parquet(path)
    elif path.suffix in (".parquet", ".pq"):
        raise DataError(f"{path}: named like Parquet, but begins with {begins!r} and not with {PARQUET!r}")
    else:
        table = read_csv(path, packed=begins[:2] == GZIP or path.suffix == ".gz")
    return Prices(str(path), table.assets, table.times, table.closes, table.dollar_volumes)


def bundled() -> Prices:
    """The shipped history: daily closes of 20 large US companies, 1990 to 2022."""
    with as_file(files("stream_allocator") / "data" / "us_large_caps.csv.gz") as path:
        prices = load_prices(path)
    return replace(prices, source="us_large_caps.csv.gz")


def return_events(
    prices: Prices, universe: Universe, source: str = "prices", *, first: int = 0
) -> Iterator[ReturnEvent]:
    """One cross-section a bar for the assets of a universe; sequences count from ``first``.

    Raises
    ------
    DataError
        When the prices lack an asset of the universe.
    """
    chosen = prices.select(universe.assets)
    volumes = chosen.dollar_volumes
    for bar, (time, row) in enumerate(zip(chosen.times[1:], chosen.returns(), strict=True)):
        yield ReturnEvent(
            universe=universe.name,
            source=source,
            sequence=first + bar,
            event_time=int(time),
            assets=universe.assets,
            returns=tuple(row.tolist()),
            dollar_volumes=None if volumes is None else tuple(volumes[bar + 1].tolist()),
        )
