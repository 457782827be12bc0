"""A price file's two shapes, wide and long, told apart by their column names and made into one table.

Wide: the date, then one column of closes an asset. Long: one line for each date and asset, in any order, with
columns that are named; a fourth may hold the traded value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_allocator.errors import DataError

__all__ = [
    "ASSET",
    "DATE",
    "PRICE",
    "VOLUME",
    "LongColumns",
    "PriceTable",
    "long_columns",
    "pivoted",
    "whole",
]

Array = NDArray[np.float64]

# What the columns of the long form may be called, in small letters.
DATE = ("date", "time", "timestamp", "datetime", "day")
ASSET = ("asset", "symbol", "ticker")
PRICE = ("price", "close", "adj_close", "adj close", "adjusted_close")
VOLUME = ("dollar_volume", "dollar volume", "traded_value")


@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """What a file says.

    Attributes
    ----------
    assets : tuple of str
    times : ndarray of int64, shape (T,)
        Microseconds since the epoch, strictly increasing.
    closes : ndarray, shape (T, n)
        NaN where missing.
    dollar_volumes : ndarray, shape (T, n), or None
        Traded values; NaN where missing. None where the file has none.
    """

    assets: tuple[str, ...]
    times: NDArray[np.int64]
    closes: Array
    dollar_volumes: Array | None = None


class LongColumns(NamedTuple):
    """Places of the long form's columns; None where the file has no traded values."""

    date: int
    asset: int
    price: int
    volume: int | None


def long_columns(where: str, names: Sequence[str]) -> LongColumns | None:
    """Places of the columns of the long form; None for a wide file.

    A file is long when it names an asset's column and a price's.

    Raises
    ------
    DataError
        When it is long, but lacks a date, names two columns for one thing, or has another column.
    """
    low = [name.strip().lower() for name in names]
    found = [[i for i, name in enumerate(low) if name in among] for among in (DATE, ASSET, PRICE, VOLUME)]
    if not (found[1] and found[2]):
        return None
    what = ("date", "asset", "price", "dollar_volume")
    for name, places in zip(what, found, strict=True):
        if len(places) > 1:
            both = " and ".join(names[i] for i in places)
            raise DataError(f"{where}: {both} are both the {name}; leave one")
    if not found[0]:
        raise DataError(f"{where}: long prices need a column of dates, named one of {', '.join(DATE)}")
    known = {i for places in found for i in places}
    others = [name for i, name in enumerate(names) if i not in known]
    if others:
        raise DataError(
            f"{where}: long prices have date, asset, price and dollar_volume; leave out {', '.join(others)}"
        )
    return LongColumns(found[0][0], found[1][0], found[2][0], found[3][0] if found[3] else None)


def pivoted(
    name: str,
    unit: str,
    numbers: Sequence[int] | NDArray[np.int64],
    times: NDArray[np.int64],
    assets: Sequence[str],
    closes: Array,
    dollar_volumes: Array | None,
) -> PriceTable:
    """Long columns as a table: dates in order, assets in the order of their names.

    So the order of the lines makes no difference, nor which asset comes first.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    unit : str
        What the file's records are called: line or row.
    numbers : sequence of int
        Of each record, in that unit.
    times, assets, closes, dollar_volumes
        Of each record.

    Raises
    ------
    DataError
        For an asset without a name, or two records for one asset and time, naming both.
    """
    named = np.array(assets, dtype=np.str_)
    if (nameless := np.flatnonzero(named == "")).size:
        raise DataError(f"{name}, {unit} {numbers[int(nameless[0])]}: the asset has no name")
    ordered, row = np.unique(times, return_inverse=True)
    names, column = np.unique(named, return_inverse=True)
    place = row * len(names) + column
    _, first, count = np.unique(place, return_index=True, return_counts=True)
    if (count > 1).any():
        before = int(first[count > 1][0])
        again = int(np.flatnonzero(place == place[before])[1])
        raise DataError(
            f"{name}, {unit} {numbers[again]}: {named[again]} has a price for that date already, "
            f"at {unit} {numbers[before]}"
        )
    shape = (len(ordered), len(names))

    def table(values: Array) -> Array:
        made = np.full(shape, np.nan)
        made[row, column] = values
        return made

    volumes = None if dollar_volumes is None else table(dollar_volumes)
    return whole(name, unit, PriceTable(tuple(names.tolist()), ordered, table(closes), volumes))


def whole(name: str, unit: str, table: PriceTable) -> PriceTable:
    """The table, if it has a return.

    Raises
    ------
    DataError
    """
    if len(table.times) < 2:
        raise DataError(f"{name}: {len(table.times)} {unit}(s) of closes; a return needs two")
    return table
