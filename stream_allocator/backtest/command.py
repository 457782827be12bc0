"""``stream-allocator backtest``: a price file, a policy, a report."""

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from stream_allocator.backtest.prices import Prices, load_prices
from stream_allocator.backtest.report import Origin, verdict, write_report
from stream_allocator.backtest.summary import summarise
from stream_allocator.backtest.text import table
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.errors import ConfigurationError
from stream_allocator.events import Allocation, RegimeUpdate
from stream_allocator.policy import load_policy
from stream_allocator.topology import Portfolio, Universe, check_policies, load_topology

__all__ = ["run_backtest", "universe_for"]

PORTFOLIO = "core"


def run_backtest(
    prices_file: Path,
    policy_file: Path,
    topology_file: Path | None,
    report: Path,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Drive the engine over a price file and write the report.

    Parameters
    ----------
    prices_file, policy_file : Path
    topology_file : Path, optional
        Its universe of these assets gives name and groups; without it, one universe of every column
        and no groups.
    report : Path
    quiet : bool
        Nothing on the terminal.

    Returns
    -------
    dict
        The summary, JSON-able.

    Raises
    ------
    DataError, ConfigurationError
    """
    console = Console(quiet=quiet)
    prices, policy = load_prices(prices_file), load_policy(policy_file)
    universe = universe_for(prices, topology_file)
    check_policies(universe, {PORTFOLIO: policy}, str(policy_file))
    begun = time.monotonic()
    with Progress(console=console, transient=True, disable=quiet) as progress:
        task = progress.add_task("bars", total=prices.bars)

        def tick(_update: RegimeUpdate, _decided: list[Allocation]) -> None:
            progress.advance(task)

        run = walk_forward(prices, universe, {PORTFOLIO: policy}, progress=tick)
    seconds = time.monotonic() - begun
    portfolio = run.portfolios[0]
    summary = summarise(run, portfolio)
    command = f"stream-allocator backtest {prices_file} --policy {policy_file}"
    origin = Origin(
        title=f"Backtest: policy {policy.name} on {prices_file.name}",
        data=prices_file.name,
        data_digest=prices.digest,
        way="Every bar went through the engine that the worker runs, with a paper execution in the loop.",
        command=command if topology_file is None else f"{command} --topology {topology_file}",
    )
    write_report(report, run, portfolio, summary, origin)
    console.print(table(summary))
    console.print(verdict(summary), highlight=False)
    console.print(f"{len(run.times):,} bars in {seconds:.1f} s", style="dim", highlight=False)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    return summary.as_json() | {
        "bars": len(run.times),
        "audit_chain": run.chain,
        "data_digest": prices.digest,
        "policy_digest": policy.digest,
        "report": str(report),
    }


def universe_for(prices: Prices, topology_file: Path | None) -> Universe:
    """The universe to run: the topology's first whose assets the prices have, or all columns.

    Raises
    ------
    ConfigurationError
        When the topology has none.
    """
    book = (Portfolio(name=PORTFOLIO, policy="given"),)
    if topology_file is None:
        return Universe(name="backtest", assets=prices.assets, groups={}, portfolios=book)
    for universe in load_topology(topology_file).universes:
        if set(universe.assets) <= set(prices.assets):
            return universe.model_copy(update={"portfolios": book})
    raise ConfigurationError(
        f"{topology_file}: no universe whose assets are all among {', '.join(prices.assets)}"
    )
