"""The backtest as a user runs it: daily prices of 20 and 500 assets, and several policies side by side.

A price file is read, every bar goes through the engine with the paper execution in the loop, static
portfolios are followed beside it and the report is written: all of it is timed. 20 assets are the bundled
history of 33 years; 500 are simulated returns of a market, five sectors and each asset's own
(`benchmarks.workload`). Kernels are compiled before anything is timed.
"""

from __future__ import annotations

import time
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.harness import last_line, options, show
from benchmarks.workload import returns
from stream_allocator.backtest.command import Backtest
from stream_allocator.backtest.prices import load_prices
from stream_allocator.backtest.several import run_backtests
from stream_allocator.shipped import shipped_policy, shipped_topology

#: Daily bars in ten years.
TEN_YEARS = 2520
#: Assets that are simulated.
MANY = 500
#: Bars of 500 assets in a quick run; figures are scaled to ten years.
QUICK = 315

PACKAGE = files("stream_allocator")


def simulated(path: Path, bars: int, seed: int) -> Path:
    """Write closes of `MANY` assets, 100 at first, as a wide CSV of business days."""
    closes = 100.0 * np.cumprod(1.0 + np.array(list(returns(MANY, bars, seed))), axis=0)
    days = np.busday_offset("2000-01-03", np.arange(bars + 1)).astype(str)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"date,{','.join(f'A{i:04d}' for i in range(MANY))}\n")
        for day, row in zip(days, np.vstack((np.full(MANY, 100.0), closes)), strict=True):
            file.write(f"{day},{','.join(map(repr, row.tolist()))}\n")
    return path


def timed(prices_file: Path, policy: Path, folder: Path, bars: int | None = None) -> dict[str, float]:
    """Seconds of reading, of the walk, of baselines and report; the slowest bar, and bars."""
    begun = time.perf_counter()
    prices = load_prices(prices_file).tail(bars)
    read = time.perf_counter()
    ticks = [read]
    backtest = Backtest.of(prices, prices_file, policy, None, folder / "report.html")
    backtest.run(lambda: ticks.append(time.perf_counter()))
    ended = time.perf_counter()
    return {
        "bars": prices.bars,
        "read": read - begun,
        "walk": ticks[-1] - read,
        "rest": ended - ticks[-1],
        "slowest": max(after - before for before, after in pairwise(ticks)),
    }


def side_by_side(prices_file: Path, folder: Path) -> list[list[object]]:
    """Two shipped policies over 33 years, one after the other and both at once."""
    policies = [shipped_policy(name) for name in ("default", "us-large-cap")]
    topology = shipped_topology()
    rows: list[list[object]] = []
    chains = []
    for processes in (1, 2):
        begun = time.perf_counter()
        found = run_backtests(
            prices_file, policies, topology, folder / "several.html", processes=processes, quiet=True
        )
        rows.append([len(policies), processes, time.perf_counter() - begun])
        chains.append([told["audit_chain"] for told in found["policies"].values()])
    if chains[0] != chains[1]:
        raise AssertionError("the number of processes changed a decision")
    return rows


def main() -> None:
    """Run it."""
    asked = options(__doc__)
    policy = shipped_policy()
    bars = QUICK if asked.quick else TEN_YEARS
    with (
        TemporaryDirectory() as temporary,
        as_file(PACKAGE / "data" / "us_large_caps.csv.gz") as bundled,
    ):
        folder = Path(temporary)
        file = simulated(folder / "simulated.csv", bars, asked.seed)
        timed(bundled, policy, folder, 400)
        timed(file, policy, folder, 70)
        few, many = timed(bundled, policy, folder), timed(file, policy, folder)
        rows: list[list[object]] = []
        for assets, years, took in ((20, few["bars"] / 252, few), (MANY, bars / 252, many)):
            each = [took["read"], took["walk"], took["rest"], took["read"] + took["walk"] + took["rest"]]
            speed = took["bars"] / took["walk"]
            rows.append([assets, years, took["bars"], *each, speed, 1e3 * took["slowest"]])
        columns = ["assets", "years", "bars", "read, s", "walk, s", "baselines and report, s", "all, s"]
        show("A backtest", [*columns, "bars a second", "slowest bar, ms"], rows)
        if not asked.quick:
            show(
                "33 years of 20 assets",
                ["policies", "at once", "all, s"],
                side_by_side(bundled, folder),
                "the audit chains of both ways are the same; starting the processes is in the time",
            )
    scale = TEN_YEARS / bars
    last_line(
        {
            "seconds_20_assets_33_years": round(few["read"] + few["walk"] + few["rest"], 2),
            "seconds_500_assets_10_years": round(scale * (many["read"] + many["walk"] + many["rest"]), 1),
            "bars_per_second_20": round(few["bars"] / few["walk"]),
            "bars_per_second_500": round(many["bars"] / many["walk"], 1),
        }
    )


if __name__ == "__main__":
    main()
