"""The commands on histories of prices; what they do is imported when they run."""

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from stream_allocator.options import AsJson

__all__ = ["backtest", "regimes", "stress"]


def backtest(
    prices: Annotated[
        Path,
        typer.Argument(
            help="CSV, .csv.gz or Parquet: date and one column an asset, or date, asset, price a line"
        ),
    ],
    policy: Annotated[
        list[Path],
        typer.Option(
            "--policy",
            "-p",
            help="policy file (YAML); given often, they run side by side and are compared",
        ),
    ],
    topology: Annotated[
        Path | None, typer.Option("--topology", "-t", help="takes groups from its universe with these assets")
    ] = None,
    report: Annotated[
        Path, typer.Option(help="where the report goes; report-NAME.html for each of several policies")
    ] = Path("out/backtest/report.html"),
    nav: Annotated[
        float, typer.Option(min=1e-6, help="opening NAV, in the currency of dollar volumes")
    ] = 1e6,
    cost_bps: Annotated[
        float, typer.Option(min=0.0, max=1000.0, help="cost of trading, basis points of the traded value")
    ] = 10.0,
    cash_yield: Annotated[
        str, typer.Option(help="what cash earns a year, 0.02 is 2%; or a CSV file: date, yield")
    ] = "0",
    delisted_after: Annotated[
        int, typer.Option(min=1, help="bars without a price after which a holding is paid out")
    ] = 21,
    delisting_return: Annotated[
        float, typer.Option(min=-1.0, help="of a holding that is paid out, from its last price")
    ] = 0.0,
    processes: Annotated[
        int | None, typer.Option(min=1, help="policies that run at once; one for each core when not given")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Drive the engine over a price file and write the report of the demo."""
    from stream_allocator.backtest.account import Delisting
    from stream_allocator.backtest.command import Terms, run_backtest
    from stream_allocator.backtest.several import run_backtests

    try:
        terms = Terms(nav, cost_bps, cash_yield, Delisting(delisted_after, delisting_return))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if len(policy) == 1:
        summary = run_backtest(prices, policy[0], topology, report, terms, quiet=as_json)
    else:
        summary = run_backtests(prices, policy, topology, report, terms, processes=processes, quiet=as_json)
    if as_json:
        print(json.dumps(summary, sort_keys=True))


def regimes(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="first day")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="last day")],
    picture: Annotated[Path, typer.Option("--out", help="where the SVG goes")],
    prices: Annotated[
        Path | None, typer.Argument(help="price file, as for `backtest`; the bundled one when not given")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", "-p", help="policy file (YAML); the demo's when not given")
    ] = None,
    topology: Annotated[
        Path | None, typer.Option("--topology", "-t", help="takes groups from its universe with these assets")
    ] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="'2008-09-15 Lehman' to be marked; can be given often")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the run-length posterior over some years, its switches, and what the policy did."""
    from stream_allocator.backtest.regime_command import run_regimes

    summary = run_regimes(prices, policy, topology, first, last, picture, event or (), quiet=as_json)
    if as_json:
        print(json.dumps(summary, sort_keys=True))


def stress(
    policy: Annotated[
        Path | None,
        typer.Option("--policy", "-p", help="policy file (YAML); the shipped one when not given"),
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option(help="only this one, with all its bounds; can be given often")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the synthetic scenarios")] = 0,
    out: Annotated[Path | None, typer.Option(help="where the report goes (JSON)")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay crashes, jumps, gaps and stuck prices through the engine. Exit code 1 if a bound is broken."""
    from stream_allocator.backtest.stress_report import run_stress

    report = run_stress(policy, scenario or (), seed, out, quiet=as_json)
    if as_json:
        print(json.dumps(report, sort_keys=True, allow_nan=False))
    raise typer.Exit(0 if report["passed"] else 1)
