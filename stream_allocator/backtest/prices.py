"""Price files to return events.

A price file is a wide CSV, plain or gzipped: a header with the date's name and the assets, then one line
a bar with the date in ISO 8601 and one close an asset. An empty cell says that there is no close.
"""

import csv
import gzip
import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import TextIO, cast

import numpy as np
from numpy.typing import NDArray

from stream_allocator.errors import DataError
from stream_allocator.events import ReturnEvent
from stream_allocator.topology import Universe

__all__ = ["Prices", "bundled", "load_prices", "return_events"]

Array = NDArray[np.float64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


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
    """

    source: str
    assets: tuple[str, ...]
    times: NDArray[np.int64]
    closes: Array

    @property
    def bars(self) -> int:
        """Bars that have returns: one fewer than there are closes."""
        return len(self.times) - 1

    @property
    def digest(self) -> str:
        """SHA-256 of assets, times and closes."""
        content = hashlib.sha256("\n".join(self.assets).encode())
        content.update(self.times.astype("<i8").tobytes())
        content.update(self.closes.astype("<f8").tobytes())
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
        return Prices(self.source, self.assets, self.times[-bars - 1 :], self.closes[-bars - 1 :])

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
        return Prices(self.source, assets, self.times, self.closes[:, columns])


def load_prices(path: str | Path) -> Prices:
    """Read a price file (``.csv`` or ``.csv.gz``).

    Raises
    ------
    DataError
        Naming file, line and column: no such file, a date that does not parse or does not increase, a
        close that is not a positive number, a line of another length, fewer than two lines.
    """
    path = Path(path)
    try:
        with closing(_open(path)) as lines:
            return _parse(str(path), csv.reader(lines))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except csv.Error as error:
        raise DataError(f"{path}: not CSV: {error}") from error


def bundled() -> Prices:
    """The shipped history: daily closes of 20 large US companies, 1990 to 2022."""
    with as_file(files("stream_allocator") / "data" / "us_large_caps.csv.gz") as path:
        prices = load_prices(path)
    return Prices("us_large_caps.csv.gz", prices.assets, prices.times, prices.closes)


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
    for sequence, (time, row) in enumerate(zip(chosen.times[1:], chosen.returns(), strict=True), start=first):
        yield ReturnEvent(
            universe=universe.name,
            source=source,
            sequence=sequence,
            event_time=int(time),
            assets=universe.assets,
            returns=tuple(row.tolist()),
        )


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _parse(name: str, rows: Iterator[list[str]]) -> Prices:
    header = next(rows, [])
    assets = tuple(cell.strip() for cell in header[1:])
    if not assets or not all(assets) or len(set(assets)) != len(assets):
        raise DataError(f"{name}, line 1: the header must name the date and then each asset once")
    times: list[int] = []
    closes: list[list[float]] = []
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        where = f"{name}, line {line}"
        if len(row) != len(header):
            raise DataError(f"{where}: {len(row)} cells, but the header has {len(header)}")
        time = _time(f"{where}, column {header[0]}", row[0])
        if times and time <= times[-1]:
            raise DataError(f"{where}, column {header[0]}: {row[0]} is not after the line before")
        times.append(time)
        closes.append([_close(where, asset, cell) for asset, cell in zip(assets, row[1:], strict=True)])
    if len(times) < 2:
        raise DataError(f"{name}: {len(times)} line(s) of closes; a return needs two")
    return Prices(name, assets, np.array(times, dtype=np.int64), np.array(closes, dtype=np.float64))


def _time(where: str, cell: str) -> int:
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise DataError(f"{where}: {cell!r} is not a date; write 2020-01-31") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def _close(where: str, asset: str, cell: str) -> float:
    if not cell.strip():
        return float("nan")
    try:
        close = float(cell)
    except ValueError:
        close = float("nan")
    if not 0.0 < close < float("inf"):
        raise DataError(f"{where}, column {asset}: {cell!r} is not a positive close; leave out a missing one")
    return close
