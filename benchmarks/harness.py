"""What every benchmark shares: its options, its tables, its clock and its last line."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

__all__ = ["last_line", "median_seconds", "options", "show"]


def options(description: str | None, *, seed: int = 20261122) -> argparse.Namespace:
    """``--quick`` (a shorter run, done within 45 s) and ``--seed``."""
    parser = argparse.ArgumentParser(description=(description or "").strip().partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a shorter run: the same keys, rougher figures")
    parser.add_argument("--seed", type=int, default=seed, help="of all random numbers (default %(default)s)")
    return parser.parse_args()


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], note: str = "") -> None:
    """Print one table; numbers to the right, anything else to the left."""
    table = Table(title=title, title_justify="left", title_style="bold", caption=note or None)
    for i, column in enumerate(columns):
        numeric = all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    Console(width=118).print(table)


def last_line(figures: Mapping[str, float | int | None]) -> None:
    """Print the JSON object that closes a run; NaN (a peer that is not installed) becomes null."""
    clean = {
        key: None if value is None or (isinstance(value, float) and math.isnan(value)) else value
        for key, value in figures.items()
    }
    print(json.dumps(clean), flush=True)


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of a call after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
