"""The engine fed from memory: what a bar and a decision cost, stage by stage, and asset-ticks a second.

The workload is that of the stream benchmark (`benchmarks.workload`): detectors with 256 run lengths, every
21 bars a decision in which OSQP must agree, everything encoded.  Times are of the processor, without what
else the machine does meanwhile: the lowest decile over bars, or over stretches of 21 bars.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher

from benchmarks.harness import last_line, options, show
from benchmarks.workload import DAY, returns, topology
from stream_allocator import answer, codec, decision
from stream_allocator.bars import BarAssembly
from stream_allocator.book import Book
from stream_allocator.engine import Engine
from stream_allocator.market import Market
from stream_allocator.moments import CovarianceMixture, SegmentWindow
from stream_allocator.moments.volatility import VolatilityForecasts
from stream_allocator.moments.weights import CombinationWeights
from stream_allocator.regime import RunLengthPanel, Segmentation, UniverseRegime

#: Bars between decisions.
EVERY = 21
#: Bars before anything is measured: detectors have all their runs.
BEFORE = 15 * EVERY

#: Kernels that are shown by name.
MOST = 10
#: The file of what is not Python, as profiles have it.
BUILT_IN = "~"

#: Where a stage's time is taken: owner, function, the stage, and the stage that it is a part of.
STAGES: tuple[tuple[Any, str, str, str], ...] = (
    (BarAssembly, "late", "bar assembly", ""),
    (BarAssembly, "add", "bar assembly", ""),
    (BarAssembly, "close", "bar assembly", ""),
    (Market, "tick", "detectors of the assets", ""),
    (UniverseRegime, "update", "detector of the universe", ""),
    (CovarianceMixture, "update", "covariance mixture", ""),
    (CombinationWeights, "update", "  its weights", "covariance mixture"),
    (CovarianceMixture, "_factorise", "  its factors", "covariance mixture"),
    (VolatilityForecasts, "update", "  its volatilities", "covariance mixture"),
    (SegmentWindow, "append", "segment window", ""),
    (Market, "_view", "view", ""),
    (RunLengthPanel, "strongest_evidence", "  strongest evidence", "view"),
    (Segmentation, "step", "  segmentation", "view"),
    (Book, "drift", "holdings: drift", ""),
    (Book, "trigger", "holdings: volatility and triggers", ""),
)
OF_A_DECISION: tuple[tuple[Any, str, str, str], ...] = (
    (decision, "usable_moments", "moments", ""),
    (decision, "likely_factor_form", "  factor form", "moments"),
    (answer, "decide", "solve and prove", ""),
    (decision, "evidence_of", "evidence", ""),
    (decision, "limit_states", "limits told", ""),
    (decision, "encode", "evidence encoded for its digest", ""),
)


@contextmanager
def timed(stages: tuple[tuple[Any, str, str, str], ...], took: dict[str, float]) -> Iterator[None]:
    """Add up the time spent in some functions, by stage."""
    originals = [(owner, name, getattr(owner, name)) for owner, name, _, _ in stages]

    def around(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time_ns()
            try:
                return function(*args, **kwargs)
            finally:
                took[stage] += 1e-3 * (time.thread_time_ns() - start)

        return call

    for (owner, name, function), (_, _, stage, _) in zip(originals, stages, strict=True):
        setattr(owner, name, around(function, stage))
    try:
        yield
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


class Run:
    """An engine and a stream of arrays, as the bus hands them over.

    Parameters
    ----------
    assets, bars : int
        ``bars`` are those that can be asked for after the first `BEFORE`.
    seed : int
    """

    def __init__(self, assets: int, bars: int, seed: int) -> None:
        deployed = topology(assets)
        universe = deployed.universes[0]
        self.assets = assets
        self.engine = Engine(universe, deployed.policies(universe.name))
        self._rows = list(returns(assets, BEFORE + bars, seed))
        self._index = np.arange(assets)
        self.bar = 0
        for _ in range(BEFORE):
            self.step()

    def step(self) -> tuple[float, float, bool]:
        """One bar: microseconds of the engine, of encoding what it said, and whether it decided."""
        row, offset = self._rows[self.bar], self.bar
        start = time.thread_time_ns()
        said = self.engine.apply_returns("feed", offset, (1 + offset) * DAY, self._index, row, None, offset)
        applied = time.thread_time_ns()
        for record in said:
            codec.encode(record)  # type: ignore[arg-type]  # nothing is refused here
        self.bar += 1
        return 1e-3 * (applied - start), 1e-3 * (time.thread_time_ns() - applied), len(said) > 1


def low(values: list[float]) -> float:
    """The lowest decile."""
    return float(np.quantile(values, 0.1))


def whole(assets: int, stretches: int, seed: int) -> tuple[float, float, float, float]:
    """Microseconds of a bar, of a decision beside it, of a bar with its share; wall clock over processor."""
    run = Run(assets, stretches * EVERY, seed)
    bars, decisions, each = [], [], []
    wall = time.perf_counter()
    for _ in range(stretches):
        total = 0.0
        for _ in range(EVERY):
            applied, encoded, decided = run.step()
            total += applied + encoded
            (decisions if decided else bars).append(applied + encoded)
        each.append(total / EVERY)
    wall = 1e6 * (time.perf_counter() - wall) / (stretches * EVERY)
    return low(bars), low(decisions) - low(bars), low(each), wall / float(np.mean(each))


def by_stage(
    stages: tuple[tuple[Any, str, str, str], ...], run: Run, bars: int, decisions: bool
) -> tuple[dict[str, float], float, float]:
    """Lowest decile of each stage over bars with or without a decision, of encoding, and of the whole."""
    found: dict[str, list[float]] = defaultdict(list)
    encodings, totals = [], []
    took: dict[str, float] = defaultdict(float)
    with timed(stages, took):
        for _ in range(bars):
            took.clear()
            applied, encoded, decided = run.step()
            if decided is not decisions:
                continue
            for _, _, stage, _ in stages:
                found[stage].append(took[stage]) if took[stage] else None
            encodings.append(encoded)
            totals.append(applied + encoded)
    return {stage: low(values) for stage, values in found.items()}, low(encodings), low(totals)


def stage_table(title: str, stages: tuple[tuple[Any, str, str, str], ...], run: Run, bars: int) -> None:
    """Show where the time goes; a stage's parts are indented."""
    took, encoding, total = by_stage(stages, run, bars, stages is OF_A_DECISION)
    parents = {stage: parent for _, _, stage, parent in stages}
    named = sum(us for stage, us in took.items() if not parents[stage]) + encoding
    rows: list[list[object]] = [
        [stage, us, None if parents[stage] else us / total] for stage, us in took.items()
    ]
    rows += [["encoding for publication", encoding, encoding / total]]
    rows += [
        ["the rest, and taking these times", total - named, (total - named) / total],
        ["all", total, 1.0],
    ]
    show(title, ["stage", "us", "share"], rows, "a stage's parts, indented, are within it")


def compiled_table(run: Run, stretches: int) -> float:
    """Show what kernels and OSQP take of a bar with its share of a decision; microseconds in all.

    No Python is in these times, but for the step into a kernel, nor is what NumPy and LAPACK do.
    """
    kernels = {each.py_func.__code__ for each in gc.get_objects() if isinstance(each, Dispatcher)}
    names = {(code.co_filename, code.co_firstlineno, code.co_name): code.co_name for code in kernels}
    profile = cProfile.Profile(time.thread_time_ns, 1e-3)
    profile.enable()
    for _ in range(stretches * EVERY):
        run.step()
    profile.disable()
    took: dict[str, float] = defaultdict(float)
    for key, (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        name = "OSQP" if key[0] == BUILT_IN and "osqp" in key[2] else names.get(key)
        if name is not None:
            took[name] += own / (stretches * EVERY)
    total = sum(took.values())
    most = sorted(took.items(), key=lambda item: -item[1])[:MOST]
    rows: list[list[object]] = [[name, us] for name, us in most]
    rows += [["others", total - sum(us for _, us in most)], ["all", total]]
    show("50 assets: compiled code alone, a bar with its share of a decision", ["kernel", "us"], rows)
    return total


def main() -> None:
    """Run it."""
    asked = options(__doc__)
    stretches = {20: 15, 50: 20, 500: 3} if asked.quick else {20: 60, 50: 80, 500: 15}
    rows, figures = [], {}
    for assets, count in stretches.items():
        bar, decided, each, ratio = whole(assets, count, asked.seed)
        rows.append([assets, bar, decided, each, assets / each * 1e6, ratio])
        figures[assets] = (bar, decided, assets / each * 1e6)
    columns = ["assets", "bar, us", "decision, us", "bar with its share, us", "asset-ticks a second"]
    show("The engine from memory", [*columns, "wall over processor"], rows)
    bars = (10 if asked.quick else 60) * EVERY
    profiled = 10 if asked.quick else 40
    run = Run(50, 2 * bars + profiled * EVERY, asked.seed)
    stage_table("50 assets: a bar without a decision", STAGES, run, bars)
    stage_table("50 assets: a bar with a decision, beside the above", OF_A_DECISION, run, bars)
    compiled = compiled_table(run, profiled)
    last_line(
        {
            "compiled_50_us": round(compiled, 1),
            "bar_50_us": round(figures[50][0], 1),
            "decision_50_us": round(figures[50][1], 1),
            "asset_ticks_per_s_50": round(figures[50][2]),
            "asset_ticks_per_s_500": round(figures[500][2]),
        }
    )


if __name__ == "__main__":
    main()
