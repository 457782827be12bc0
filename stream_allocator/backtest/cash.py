"""What cash earns: an annual yield, constant or from a file, as interest over each bar.

Interest is ``(1 + y) ** (1 / year) - 1`` a bar, with as many bars to the year as the policy says, on the cash
that was held over the bar; a debt pays it. The yield of a bar is the last that was known when the bar began.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.backtest.csv_lines import CsvLines
from stream_allocator.errors import ConfigurationError, DataError

__all__ = ["interest_of", "read_interest"]

Array = NDArray[np.float64]


def interest_of(annual: ArrayLike, periods_per_year: float = 252.0) -> Array:
    """Interest over a bar at an annual yield: compounded over a year it is the yield.

    Parameters
    ----------
    annual : array_like
        Above -1: 0.02 is 2% a year.
    periods_per_year : float
    """
    return np.asarray((1.0 + np.asarray(annual, np.float64)) ** (1.0 / periods_per_year) - 1.0)


def read_interest(given: str, times: NDArray[np.int64], periods_per_year: float = 252.0) -> Array | None:
    """What ``--cash-yield`` says, for each bar.

    Parameters
    ----------
    given : str
        A number (0.02 is 2% a year), or a CSV file of two columns with a header: date and annual yield, in
        the order of the dates. Each yield holds until the next.
    times : ndarray of int64, shape (T + 1,)
        Of the closes; bar ``t`` is from ``times[t]`` to ``times[t + 1]``.
    periods_per_year : float

    Returns
    -------
    ndarray, shape (T,), or None where cash earns nothing

    Raises
    ------
    ConfigurationError
        For a number that is no yield.
    DataError
        Naming file, line and column; or when the first bar begins before the first yield.
    """
    try:
        constant = float(given)
    except ValueError:
        return interest_of(_yields(Path(given), times[:-1]), periods_per_year)
    if not -1.0 < constant < float("inf"):
        raise ConfigurationError(f"--cash-yield {given}: must be above -1 and finite; 0.02 is 2% a year")
    return (
        None if constant == 0.0 else np.full(len(times) - 1, float(interest_of(constant, periods_per_year)))
    )


def _yields(path: Path, begins: NDArray[np.int64]) -> Array:
    """The last yield known at each of some times."""
    known: list[int] = []
    yields: list[float] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = CsvLines(str(path), lines)
            if len(rows.header) != 2:
                raise DataError(f"{path}, line 1: the header must name two columns: the date and the yield")
            for where, time, row in rows.in_order():
                known.append(time)
                yields.append(_yield(f"{where}, column {rows.header[1]}", row[1]))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--cash-yield {path}: neither a number nor a file that can be read: {error}"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: not CSV: {error}") from error
    if not known or known[0] > begins[0]:
        raise DataError(f"{path}: no yield is known when the first bar begins; add an earlier line")
    return np.array(yields)[np.searchsorted(known, begins, side="right") - 1]


def _yield(where: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not -1.0 < value < float("inf"):
        raise DataError(f"{where}: {cell!r} is not an annual yield; 0.02 is 2% a year")
    return value
