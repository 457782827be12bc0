"""Prices from CSV, plain or gzipped, wide or long, read a line at a time.

The standard library's reader is kept beside Parquet's library, whose own is faster: a mistake is named with
its line and cell, and a plain installation can read prices.
"""

import csv
import gzip
from contextlib import closing
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from stream_allocator.backtest.csv_lines import CsvLines
from stream_allocator.backtest.price_cells import CLOSE, VOLUME, number_of, time_of
from stream_allocator.backtest.price_table import LongColumns, PriceTable, long_columns, pivoted, whole
from stream_allocator.errors import DataError

__all__ = ["read_csv"]


def read_csv(path: Path, *, packed: bool) -> PriceTable:
    """Read a CSV file.

    Parameters
    ----------
    path : Path
    packed : bool
        Whether it is gzipped.

    Raises
    ------
    DataError
        Naming file, line and column.
    """
    try:
        with closing(_open(path, packed)) as text:
            lines = CsvLines(str(path), text)
            found = long_columns(f"{path}, line 1", lines.header)
            return _wide(str(path), lines) if found is None else _long(str(path), lines, found)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except csv.Error as error:
        raise DataError(f"{path}: not CSV: {error}") from error


def _open(path: Path, packed: bool) -> TextIO:
    if packed:
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _wide(name: str, lines: CsvLines) -> PriceTable:
    header = lines.header
    assets = tuple(cell.strip() for cell in header[1:])
    if not assets or not all(assets) or len(set(assets)) != len(assets):
        raise DataError(
            f"{name}, line 1: the header must name the date and then each asset once, or for the long form "
            "date, asset and price"
        )
    times: list[int] = []
    closes: list[list[float]] = []
    for where, time, row in lines.in_order():
        times.append(time)
        closes.append(
            [number_of(where, asset, cell, CLOSE) for asset, cell in zip(assets, row[1:], strict=True)]
        )
    table = PriceTable(assets, np.array(times, np.int64), np.array(closes, np.float64))
    return whole(name, "line", table)


def _long(name: str, lines: CsvLines, columns: LongColumns) -> PriceTable:
    header = lines.header
    numbers: list[int] = []
    times: list[int] = []
    assets: list[str] = []
    closes: list[float] = []
    volumes: list[float] = []
    known: dict[str, int] = {}  # a date is on many lines
    for line, where, row in lines:
        date = row[columns.date]
        if date not in known:
            known[date] = time_of(where, header[columns.date], date)
        numbers.append(line)
        times.append(known[date])
        assets.append(row[columns.asset].strip())
        closes.append(number_of(where, header[columns.price], row[columns.price], CLOSE))
        if columns.volume is not None:
            volumes.append(number_of(where, header[columns.volume], row[columns.volume], VOLUME))
    traded = None if columns.volume is None else np.array(volumes, np.float64)
    return pivoted(
        name, "line", numbers, np.array(times, np.int64), assets, np.array(closes, np.float64), traded
    )
