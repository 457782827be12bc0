"""Lines of a CSV file with a header, each named where something is wrong with it."""

import csv
from collections.abc import Iterable, Iterator

from stream_allocator.backtest.price_cells import time_of
from stream_allocator.errors import DataError

__all__ = ["CsvLines"]


class CsvLines:
    """Rows with the numbers of their lines, each as long as the header.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    lines : iterable of str

    Attributes
    ----------
    header : list of str
        Empty where the file is.

    Raises
    ------
    DataError
        While going through them.
    """

    def __init__(self, name: str, lines: Iterable[str]) -> None:
        self._name = name
        self._rows = csv.reader(lines)
        self.header = next(self._rows, [])

    def __iter__(self) -> Iterator[tuple[int, str, list[str]]]:
        """Line number, words for where that is, and cells; empty lines are left out."""
        for row in self._rows:
            if not row:
                continue
            line = self._rows.line_num
            where = f"{self._name}, line {line}"
            if len(row) != len(self.header):
                raise DataError(f"{where}: {len(row)} cells, but the header has {len(self.header)}")
            yield line, where, row

    def in_order(self) -> Iterator[tuple[str, int, list[str]]]:
        """Words for where, the time in the first cell, and cells; times must be increasing."""
        last: int | None = None
        for _, where, row in self:
            time = time_of(where, self.header[0], row[0])
            if last is not None and time <= last:
                raise DataError(f"{where}, column {self.header[0]}: {row[0]} is not after the line before")
            last = time
            yield where, time, row
