"""Single cells of a file as times and numbers, or an error that says where and what."""

import math
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream_allocator.backtest.days import microseconds
from stream_allocator.errors import DataError

__all__ = ["CLOSE", "VOLUME", "Quantity", "number_of", "time_of"]


class Quantity(NamedTuple):
    """What a column of numbers holds.

    Attributes
    ----------
    zero : bool
        Whether it may be 0; negative or infinite it may never be.
    refusal : str
        What is said of a value that it cannot be.
    """

    zero: bool
    refusal: str

    def admits(self, values: ArrayLike) -> NDArray[np.bool_]:
        """Which values it can be; NaN is none."""
        x = np.asarray(values)
        return np.asarray(((x > 0.0) | (self.zero & (x == 0.0))) & (x < np.inf))


CLOSE = Quantity(False, "is not a positive close; leave out a missing one")
VOLUME = Quantity(True, "is not a traded value, which is finite and not negative; leave out a missing one")


def time_of(where: str, column: str, cell: str) -> int:
    """A date in ISO 8601 as microseconds since the epoch; UTC where it does not say.

    Raises
    ------
    DataError
    """
    try:
        return microseconds(datetime.fromisoformat(cell.strip()))
    except ValueError:
        raise DataError(f"{where}, column {column}: {cell!r} is not a date; write 2020-01-31") from None


def number_of(where: str, column: str, cell: str, quantity: Quantity) -> float:
    """A number; NaN for an empty cell.

    Raises
    ------
    DataError
    """
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not quantity.admits(value):
        raise DataError(f"{where}, column {column}: {cell!r} {quantity.refusal}")
    return value
