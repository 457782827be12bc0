"""``stream-allocator regimes``: the posterior over some years as a picture, and its switches as a table."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from stream_allocator.backtest.command import PORTFOLIO, universe_for
from stream_allocator.backtest.days import day, microseconds
from stream_allocator.backtest.prices import Prices, bundled, load_prices
from stream_allocator.backtest.regime_pictures import Event, draw
from stream_allocator.backtest.regime_record import regime_record
from stream_allocator.backtest.regime_summary import summarise_regimes, tables
from stream_allocator.backtest.text import widen
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.errors import ConfigurationError, DataError
from stream_allocator.events import Allocation, RegimeUpdate
from stream_allocator.policy import Policy, load_policy
from stream_allocator.shipped import shipped_policy, shipped_topology
from stream_allocator.topology import Universe, check_policies, load_topology

__all__ = ["run_regimes"]

#: Characters in a line where the output is not a terminal's, so that no column is cut.
FILE_WIDTH = 120

LAST_MICROSECOND = timedelta(days=1, microseconds=-1)


def run_regimes(
    prices_file: Path | None,
    policy_file: Path | None,
    topology_file: Path | None,
    first: datetime,
    last: datetime,
    out: Path,
    events: Sequence[str] = (),
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Drive the engine up to the last day and draw what it thought from the first day on.

    Parameters
    ----------
    prices_file : Path, optional
        The bundled history when not given, with the demo's universe.
    policy_file : Path, optional
        The policy that the demo has for that universe, or for other prices the shipped default.
    topology_file : Path, optional
        Groups, as in ``backtest``.
    first, last : datetime
        Days, both included.
    out : Path
        The SVG file; folders above it are made.
    events : sequence of str
        Each ``2008-09-15 Lehman``: marked in the picture, and switches are counted from it.
    quiet : bool
        Nothing on the terminal.

    Returns
    -------
    dict
        Range, switches, events and decisions, JSON-able.

    Raises
    ------
    DataError, ConfigurationError
    """
    if out.suffix != ".svg":
        raise ConfigurationError(f"--out {out}: the picture is SVG; name a file that ends in .svg")
    if last < first:
        raise ConfigurationError(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}")
    known = tuple(_event(text, first, last) for text in events)
    prices = load_prices(prices_file) if prices_file else bundled()
    start, stop = _range(prices, first, last)
    universe, policy = _subject(prices, prices_file is None, policy_file, topology_file)
    until = prices.until(stop - 1)
    console = Console(quiet=quiet)
    with Progress(console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("bars", total=until.bars)

        def tick(_update: RegimeUpdate, _decided: list[Allocation]) -> None:
            progress.advance(task)

        run = walk_forward(until, universe, {PORTFOLIO: policy}, progress=tick)
    record = regime_record(run, start, stop)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(draw(record, known), "utf-8")
    summary = summarise_regimes(record, known)
    widen(console, FILE_WIDTH)
    for part in tables(summary):
        console.print(part)
    console.print(f"picture: {out}", highlight=False, soft_wrap=True)
    return summary | {"policy_digest": policy.digest, "data_digest": until.digest, "picture": str(out)}


def _event(text: str, first: datetime, last: datetime) -> Event:
    date, _, name = text.partition(" ")
    try:
        moment = datetime.strptime(date, "%Y-%m-%d")
    except ValueError:
        raise ConfigurationError(f"--event {text!r}: begin with a date, as in '2008-09-15 Lehman'") from None
    if not name.strip():
        raise ConfigurationError(f"--event {text!r}: say what happened, as in '2008-09-15 Lehman'")
    if not first <= moment <= last:
        raise ConfigurationError(f"--event {text!r}: not between {first:%Y-%m-%d} and {last:%Y-%m-%d}")
    return Event(microseconds(moment), name.strip())


def _range(prices: Prices, first: datetime, last: datetime) -> tuple[int, int]:
    """The bars of the run that belong to the range; bar t ends at ``times[t + 1]``."""
    times = prices.times[1:]
    start = int(np.searchsorted(times, microseconds(first)))
    stop = int(np.searchsorted(times, microseconds(last + LAST_MICROSECOND), side="right"))
    if stop <= start:
        raise DataError(
            f"{prices.source}: no bars from {first:%Y-%m-%d} to {last:%Y-%m-%d}; "
            f"it has {day(int(times[0]))} to {day(int(times[-1]))}"
        )
    return start, stop


def _subject(
    prices: Prices, shipped: bool, policy_file: Path | None, topology_file: Path | None
) -> tuple[Universe, Policy]:
    """The universe with one portfolio, and its policy."""
    if shipped and topology_file is None:
        topology_file = shipped_topology()
    universe = universe_for(prices, topology_file)
    if policy_file is not None:
        policy = load_policy(policy_file)
    elif shipped and topology_file is not None:
        policy = next(iter(load_topology(topology_file).policies(universe.name).values()))
    else:
        policy = load_policy(shipped_policy())
    check_policies(universe, {PORTFOLIO: policy}, str(policy_file or policy.name))
    return universe, policy
