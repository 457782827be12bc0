"""The command ``stress``; what it does is imported when it runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from stream_allocator.options import AsJson

__all__ = ["stress"]


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
