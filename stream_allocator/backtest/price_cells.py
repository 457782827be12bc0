"""Single cells of a file as times and numbers, or an error that says where and what."""

import math
from datetime import UTC, datetime, timedelta

from stream_allocator.errors import DataError

__all__ = ["NOT_A_CLOSE", "NOT_A_VOLUME", "close_of", "time_of", "volume_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

NOT_A_CLOSE = "is not a positive close; leave out a missing one"
NOT_A_VOLUME = "is not a traded value, which is finite and not negative; leave out a missing one"


def time_of(where: str, column: str, cell: str) -> int:
    """A date in ISO 8601 as microseconds since the epoch; UTC where it does not say.

    Raises
    ------
    DataError
    """
    try:
        moment = datetime.fromisoformat(cell.strip())
    except ValueError:
        raise DataError(f"{where}, column {column}: {cell!r} is not a date; write 2020-01-31") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def close_of(where: str, column: str, cell: str) -> float:
    """A close, positive; NaN for an empty cell.

    Raises
    ------
    DataError
    """
    value = _number(cell)
    if value is None:
        return math.nan
    if not 0.0 < value < math.inf:
        raise DataError(f"{where}, column {column}: {cell!r} {NOT_A_CLOSE}")
    return value


def volume_of(where: str, column: str, cell: str) -> float:
    """A traded value, not negative; NaN for an empty cell.

    Raises
    ------
    DataError
    """
    value = _number(cell)
    if value is None:
        return math.nan
    if not 0.0 <= value < math.inf:
        raise DataError(f"{where}, column {column}: {cell!r} {NOT_A_VOLUME}")
    return value


def _number(cell: str) -> float | None:
    """None for an empty cell; NaN, which no check lets pass, for what is no number."""
    if not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        return math.nan
