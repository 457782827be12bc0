"""Several policies over one history, in processes beside this one, and a table of them all.

A backtest depends on its own files alone, so how many run at once, and where, changes no bit.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from stream_allocator.backtest.baselines import Path as WealthPath
from stream_allocator.backtest.command import USUAL, Backtest, Outcome, Terms
from stream_allocator.backtest.days import day
from stream_allocator.backtest.metrics import metrics
from stream_allocator.backtest.prices import load_prices
from stream_allocator.backtest.summary import Row
from stream_allocator.backtest.text import comparison_table
from stream_allocator.errors import ConfigurationError, StreamAllocatorError

__all__ = ["Comparison", "compare", "run_backtests"]

#: How often the progress bar looks how far the processes are.
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Policies and static portfolios over the same bars.

    Attributes
    ----------
    since : int
        Event time where every path has wealth 1: when the last of the policies took its first decision.
    policies, baselines : tuple of Row
    """

    since: int
    policies: tuple[Row, ...]
    baselines: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything but the paths."""
        rows = (*self.policies, *self.baselines)
        return {"since": day(self.since), "portfolios": {row.name: asdict(row.metrics) for row in rows}}


def compare(outcomes: Sequence[Outcome]) -> Comparison:
    """Put outcomes over the same history side by side; baselines are those of the policy that starts last."""
    last = max(outcomes, key=lambda outcome: int(outcome.summary.times[0]))
    since = int(last.summary.times[0])
    return Comparison(since, tuple(_from(since, outcome) for outcome in outcomes), last.summary.baselines)


def _from(since: int, outcome: Outcome) -> Row:
    """A policy's row from a later start on."""
    summary = outcome.summary
    start = int(np.searchsorted(summary.times, since))
    own = summary.allocator.path
    path = WealthPath(own.wealth[start:] / own.wealth[start], own.traded[start:])
    year = outcome.policy.moments.periods_per_year
    found = metrics(path.wealth, path.traded, year, interest=summary.interest[start:])
    return Row(outcome.policy.name, path, found)


def run_backtests(
    prices_file: Path,
    policy_files: Sequence[Path],
    topology_file: Path | None,
    report: Path,
    terms: Terms = USUAL,
    *,
    processes: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Backtest several policies at once and compare them.

    Parameters
    ----------
    prices_file : Path
    policy_files : sequence of Path
        Their policies must have names of their own.
    topology_file : Path, optional
        As for one policy.
    report : Path
        ``report.html`` becomes ``report-NAME.html`` for each policy.
    terms : Terms
    processes : int, optional
        How many run at once; as many as there are cores when not given.
    quiet : bool
        Nothing on the terminal.

    Returns
    -------
    dict
        Each policy's summary under its name, and the comparison; JSON-able.

    Raises
    ------
    DataError, ConfigurationError
        Before anything runs, or naming the policy file whose backtest failed.
    """
    console = Console(quiet=quiet)
    prices = load_prices(prices_file)
    backtests: dict[str, Backtest] = {}
    for file in policy_files:
        backtest = Backtest.of(prices, prices_file, file, topology_file, report, terms)
        name = backtest.policy.name
        if name in backtests:
            raise ConfigurationError(
                f"{file}: another policy is named {name} too; each needs a name of its own for its report"
            )
        backtests[name] = replace(backtest, report=report.with_name(f"{report.stem}-{name}{report.suffix}"))
    begun = time.monotonic()
    outcomes = _all(list(backtests.values()), policy_files, processes, console, quiet)
    seconds = time.monotonic() - begun
    found = compare(outcomes)
    console.print(comparison_table(found.policies, found.baselines, day(found.since)))
    total = prices.bars * len(outcomes)
    console.print(f"{total:,} bars in {seconds:.1f} s", style="dim", highlight=False)
    for outcome in outcomes:
        console.print(f"report: {outcome.report}", highlight=False, soft_wrap=True)
    return {
        "policies": {outcome.policy.name: outcome.told for outcome in outcomes},
        "comparison": found.as_json(),
    }


def _all(
    backtests: Sequence[Backtest],
    files: Sequence[Path],
    processes: int | None,
    console: Console,
    quiet: bool,
) -> list[Outcome]:
    """Run them, with one progress bar for all."""
    context = multiprocessing.get_context("spawn")
    bars = context.Value("q", 0)
    at_once = min(len(backtests), processes or os.cpu_count() or 1)
    with (
        ProcessPoolExecutor(at_once, context, initializer=_count_in, initargs=(bars,)) as pool,
        Progress(console=console, transient=True, disable=quiet) as progress,
    ):
        task = progress.add_task("bars", total=sum(b.prices.bars for b in backtests))
        running = [pool.submit(_run, backtest) for backtest in backtests]
        left = set(running)
        while left:
            ended, left = wait(left, timeout=LOOK_SECONDS)
            progress.update(task, completed=bars.value)
            if any(future.exception() for future in ended):
                pool.shutdown(wait=False, cancel_futures=True)  # what runs already may end
                break
    return _results(running, files)


def _results(futures: "Sequence[Future[Outcome]]", files: Sequence[Path]) -> list[Outcome]:
    """What they came to; or the first failure, with the file whose it is."""
    for future, file in zip(futures, files, strict=True):
        error = None if future.cancelled() else future.exception()
        if isinstance(error, BrokenProcessPool):
            raise StreamAllocatorError(
                "a process ended before its backtest, perhaps for want of memory; "
                "run fewer at once with --processes"
            ) from error
        if isinstance(error, StreamAllocatorError):
            raise type(error)(f"{file}: {error}") from error
        if error is not None:
            raise error
    return [future.result() for future in futures]


_bars: Any = None  # a counter in memory that all processes share


def _count_in(bars: Any) -> None:
    global _bars
    _bars = bars


def _run(backtest: Backtest) -> Outcome:
    def tick() -> None:
        with _bars.get_lock():
            _bars.value += 1

    return backtest.run(tick)
