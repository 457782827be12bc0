"""Prices from Parquet, wide or long.

Nulls and NaN are missing closes. Dates are dates, timestamps (UTC where they name no zone) or text in ISO
8601. A wide file's dates are its one column of such a type, wherever it stands, or else its first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.price_cells import CLOSE, VOLUME, Quantity, time_of
from stream_allocator.backtest.price_table import LongColumns, PriceTable, long_columns, pivoted, whole
from stream_allocator.errors import ConfigurationError, DataError

__all__ = ["read_parquet"]

Array = NDArray[np.float64]

try:
    import pyarrow
    from pyarrow import parquet, types
except ImportError:
    pyarrow = None


def read_parquet(path: Path) -> PriceTable:
    """Read a Parquet file.

    Raises
    ------
    ConfigurationError
        When pyarrow is not installed.
    DataError
        Naming file, row (the first is 1) and column.
    """
    if pyarrow is None:
        raise ConfigurationError(
            f"{path}: Parquet is read by pyarrow, which is not installed; "
            "install it with: pip install 'stream-allocator[parquet]'"
        )
    try:
        with parquet.ParquetFile(path) as file:
            table = file.read(use_threads=False)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from error
    names = [str(name) for name in table.column_names]
    found = long_columns(str(path), names)
    if found is not None:
        return _long(str(path), names, table, found)
    return _wide(str(path), names, table)


def _wide(name: str, names: list[str], table: Any) -> PriceTable:
    date = _date_column(name, names, table)
    places = [i for i in range(len(names)) if i != date]
    assets = tuple(names[i].strip() for i in places)
    if not assets or not all(assets) or len(set(assets)) != len(assets):
        raise DataError(
            f"{name}: it must have one column of dates and then one for each asset, or for the long form "
            f"date, asset and price; it has {', '.join(names) or 'none'}"
        )
    times = _times(name, names[date], table.column(date))
    if (late := np.flatnonzero(np.diff(times) <= 0)).size:
        raise DataError(
            f"{name}, row {int(late[0]) + 2}, column {names[date]}: the date is not after the row before"
        )
    closes = [_numbers(name, names[i], table.column(i), CLOSE) for i in places]
    return whole(name, "row", PriceTable(assets, times, np.column_stack(closes)))


def _long(name: str, names: list[str], table: Any, found: LongColumns) -> PriceTable:
    column = table.column(found.asset)
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
        raise DataError(f"{name}, row {row}, column {names[found.asset]}: the asset has no name")
    volume = found.volume
    traded = None if volume is None else _numbers(name, names[volume], table.column(volume), VOLUME)
    return pivoted(
        name,
        "row",
        range(1, table.num_rows + 1),
        _times(name, names[found.date], table.column(found.date)),
        [asset.strip() for asset in column.cast(pyarrow.string()).to_pylist()],
        _numbers(name, names[found.price], table.column(found.price), CLOSE),
        traded,
    )


def _date_column(name: str, names: list[str], table: Any) -> int:
    """The place of a wide file's dates."""
    dated = [i for i, field in enumerate(table.schema) if _is_date(field.type)]
    if len(dated) > 1:
        raise DataError(f"{name}: {' and '.join(names[i] for i in dated)} are all dates; leave one")
    return dated[0] if dated else 0


def _is_date(kind: Any) -> bool:
    return bool(types.is_date(kind) or types.is_timestamp(kind))


def _times(name: str, called: str, column: Any) -> NDArray[np.int64]:
    where = f"{name}, column {called}"
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
        raise DataError(f"{name}, row {row}, column {called}: the date is missing")
    if _is_date(column.type):
        zone = getattr(column.type, "tz", None)
        try:
            moments = column.cast(pyarrow.timestamp("us", tz=zone))
        except pyarrow.ArrowInvalid as error:
            raise DataError(f"{where}: times must be whole microseconds: {error}") from error
        return np.asarray(moments.cast(pyarrow.int64()).to_numpy(), np.int64)
    try:
        cells = column.cast(pyarrow.string()).to_pylist() if _is_text(column.type) else None
    except pyarrow.ArrowException as error:
        raise DataError(f"{where}: {error}") from error
    if cells is None:
        raise DataError(f"{where}: {column.type} is no date; store dates, timestamps or text like 2020-01-31")
    known: dict[str, int] = {}  # in the long form a date is on many rows
    for row, cell in enumerate(cells, start=1):
        if cell not in known:
            known[cell] = time_of(f"{name}, row {row}", called, cell)
    return np.array([known[cell] for cell in cells], np.int64)


def _is_text(kind: Any) -> bool:
    inner = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(inner) or types.is_large_string(inner) or types.is_string_view(inner))


def _numbers(name: str, called: str, column: Any, quantity: Quantity) -> Array:
    """A column as float64; NaN where it is null."""
    kind = column.type
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind)):
        raise DataError(f"{name}, column {called}: {kind} is not a number; store closes as numbers")
    values = np.array(column.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    wrong = ~(np.isnan(values) | quantity.admits(values))
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{name}, row {row + 1}, column {called}: {float(values[row])!r} {quantity.refusal}")
    return values
