"""False alarms and delays of the run-length posterior under heavy tails, by simulation.

Set-up: the prior is right (location 0, scale 1), the hazard is 1/250, an alarm is P(r <= 60) above a
threshold.  Each model's threshold is set to one false alarm in 1,000 steps (ARL0) under Gaussian noise.  Then
ARL0 is measured from step 200 on under other noises, and the delay after a change that comes at step 200.

    python -m benchmarks.detection [--quick] [--seed N] [--max-run N]
    python -m benchmarks.detection --figure docs/detection.svg
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.detection_figure import SHOWN, draw
from benchmarks.harness import last_line, show
from benchmarks.likelihoods import LIKELIHOODS, recent_change
from benchmarks.simulation import (
    CHANGES,
    NOISES,
    QUIET,
    FloatArray,
    StatisticArray,
    average_run_length,
    calibrated_threshold,
    changed,
    jackknife_error,
    log_odds,
    mean_delay,
    noise,
    records,
)
from stream_allocator.regime import RunLengthPanel

HAZARD = 1 / 250
RECENT = 60  # the k of P(r <= k); with 20 a fall of the volatility is missed
BEFORE = 200  # in-control steps before a run to false alarm is timed, or before a change
WATCHED = 200  # steps watched after a change
ARL0 = 1000.0
OUTLIER_DF = 8.0
CURVE = np.geomspace(100.0, 5000.0, 13).tolist()  # ARL0s of the figure
CHANGED_NOISES = ("gaussian", "t4")
PANEL = 250  # paths to a panel: small enough for the processor's cache
KEYS = {
    "shift 1 sigma": "delay_ratio_1s",
    "shift 2 sigma": "delay_ratio_2s",
    "volatility x1.5": "delay_ratio_vol15",
    "volatility x2": "delay_ratio_vol2",
    "volatility /2": "delay_ratio_half",
}
TARGETS = {
    "arl0_t4": ">= 900",
    "arl0_outliers": ">= 750",
    "delay_ratio_1s": "<= 1.05",
    "delay_ratio_2s": "<= 1.25",
    "delay_ratio_vol15": "<= 1.55",
    "delay_ratio_vol2": "<= 1.85",
    "delay_ratio_half": "<= 1.15",
    "cost_ratio": "<= 1.9",
}

Detector = Callable[[FloatArray], FloatArray]  # observations (steps, paths) -> P(r <= RECENT) after each
Mask = np.ndarray


@dataclass(frozen=True)
class Paths:
    """Observations of all experiments, of shape (steps, paths) each; all detectors see the same."""

    quiet: Mapping[str, FloatArray]
    turning: Mapping[tuple[str, str], FloatArray]

    @classmethod
    def draw(cls, seed: int, paths: int, steps: int) -> Paths:
        """Every experiment from a generator of its own."""
        quiet = {
            kind: noise(kind, BEFORE + steps, paths, np.random.default_rng([seed, 0, i]))
            for i, kind in enumerate(NOISES)
        }
        turning = {}
        for i, kind in enumerate(CHANGED_NOISES):
            base = noise(kind, BEFORE + WATCHED, paths, np.random.default_rng([seed, 1, i]))
            for change in CHANGES:
                after = changed(base[BEFORE:], change)
                turning[kind, change] = np.concatenate((base[:BEFORE], after))
        return cls(quiet, turning)


@dataclass(frozen=True)
class Simulated:
    """What a detector said: enough to put any threshold on it afterwards."""

    record: Mapping[str, StatisticArray]  # noise -> highest log odds from step BEFORE on
    turning: Mapping[tuple[str, str], StatisticArray]  # (noise, change) -> log odds from QUIET steps before

    @classmethod
    def run(cls, detector: Detector, paths: Paths) -> Simulated:
        """Let a detector see the paths."""
        record = {k: records(log_odds(detector(x)[BEFORE - 1 :])) for k, x in paths.quiet.items()}
        turning = {k: log_odds(detector(x)[BEFORE - QUIET :]) for k, x in paths.turning.items()}
        return cls(record, turning)

    def threshold(self, mask: Mask, kind: str = "gaussian", arl0: float = ARL0) -> float:
        """Log odds at which a noise makes one false alarm in ``arl0`` steps."""
        return calibrated_threshold(self.record[kind][:, mask], arl0)

    def arl0(self, mask: Mask, kind: str, threshold: float) -> float:
        """Steps to a false alarm."""
        return average_run_length(self.record[kind][:, mask], threshold)

    def delay(self, mask: Mask, kind: str, change: str, threshold: float) -> float:
        """Observations to the alarm after a change."""
        return mean_delay(self.turning[kind, change][:, mask], QUIET, threshold)


def panel_detector(outlier_df: float, max_run: int) -> Detector:
    """The package's posterior, the object under test."""

    def detect(values: FloatArray) -> FloatArray:
        out = np.empty(values.shape)
        for start in range(0, values.shape[1], PANEL):
            part = np.ascontiguousarray(values[:, start : start + PANEL])
            panel = RunLengthPanel(
                part.shape[1],
                hazard=HAZARD,
                max_run=max_run,
                warmup=0,
                location=0.0,
                scale=1.0,
                outlier_df=outlier_df,
            )
            for i, x in enumerate(part):
                panel.update(x)
                out[i, start : start + PANEL] = panel.probability_at_most(RECENT)
        return out

    return detect


def figures(gaussian: Simulated, robust: Simulated, mask: Mask) -> dict[str, float]:
    """Everything that is reported, from the paths of a mask."""
    found: dict[str, float] = {}
    level = {"gaussian": gaussian.threshold(mask), "robust": robust.threshold(mask)}
    level_t4 = {"gaussian": gaussian.threshold(mask, "t4"), "robust": robust.threshold(mask, "t4")}
    for name, model in (("gaussian", gaussian), ("robust", robust)):
        found[f"threshold {name}"] = 1.0 / (1.0 + math.exp(-level[name]))
        for kind in NOISES[1:]:
            found[f"arl0 {name} {kind}"] = model.arl0(mask, kind, level[name])
        for change in CHANGES:
            found[f"delay {name} {change}"] = model.delay(mask, "gaussian", change, level[name])
            found[f"delay t4 {name} {change}"] = model.delay(mask, "t4", change, level_t4[name])
    for change in CHANGES:
        found[f"ratio {change}"] = found[f"delay robust {change}"] / found[f"delay gaussian {change}"]
        found[f"ratio t4 {change}"] = (
            found[f"delay t4 robust {change}"] / found[f"delay t4 gaussian {change}"]
        )
    return found


def cost_ratio(max_run: int, series: int, ticks: int) -> tuple[float, float, float]:
    """Median time of a tick of a full panel, Gaussian and robust taken in turns, and their ratio."""
    values = np.random.default_rng(0).standard_normal((max_run + 2 + ticks, series))
    panels = [
        RunLengthPanel(
            series, hazard=HAZARD, max_run=max_run, warmup=0, location=0.0, scale=1.0, outlier_df=outlier_df
        )
        for outlier_df in (math.inf, OUTLIER_DF)
    ]
    seconds: tuple[list[float], list[float]] = ([], [])
    for i, x in enumerate(values):
        for panel, spent in zip(panels, seconds, strict=True):
            start = time.perf_counter()
            panel.update(x)
            if i >= max_run + 2:
                spent.append(time.perf_counter() - start)
    plain, weighted = (statistics.median(spent) for spent in seconds)
    return plain, weighted, weighted / plain


def print_tables(found: Mapping[str, float], error: Mapping[str, float], paths: int) -> None:
    """ARL0 by noise and delays by change, with standard errors."""

    def cell(key: str, digits: int) -> str:
        return f"{found[key]:.{digits}f} ± {error[key]:.{digits}f}"

    show(
        "Steps to a false alarm (ARL0), thresholds set to 1000 under Gaussian noise",
        ("noise", "Gaussian model", f"shared weight, nu = {OUTLIER_DF:g}"),
        [(kind, *(cell(f"arl0 {m} {kind}", 0) for m in ("gaussian", "robust"))) for kind in NOISES[1:]],
        note=f"± standard error, the threshold's included; {paths} paths each; thresholds P(r <= {RECENT}) > "
        f"{found['threshold gaussian']:.2f} and {found['threshold robust']:.2f}",
    )
    for title, tag in (
        ("Delay on Gaussian data, ARL0 = 1000 under Gaussian noise", ""),
        ("Delay on t4 data, ARL0 = 1000 under t4 noise", "t4 "),
    ):
        show(
            title,
            ("change", "Gaussian model", "shared weight", "ratio"),
            [
                (
                    change,
                    cell(f"delay {tag}gaussian {change}", 1),
                    cell(f"delay {tag}robust {change}", 1),
                    cell(f"ratio {tag}{change}", 3),
                )
                for change in CHANGES
            ],
            note=f"mean steps to the alarm, at most {WATCHED}",
        )


def others(drawn: Paths, paths: int) -> dict[str, Simulated]:
    """The likelihoods of the reference engine on the first of the paths."""
    few = Paths(
        {k: x[:, :paths] for k, x in drawn.quiet.items()}, {k: x[:, :paths] for k, x in drawn.turning.items()}
    )
    return {
        name: Simulated.run(lambda x, name=name: recent_change(name, x, HAZARD, RECENT), few)
        for name in LIKELIHOODS
    }


def compare(models: Mapping[str, Simulated], path: Path) -> None:
    """Print every likelihood beside the package's two, and draw delay against false alarms."""
    rows = []
    curves: dict[tuple[str, str], dict[str, tuple[list[float], list[float]]]] = {}
    for name, model in models.items():
        everyone = np.ones(model.record["gaussian"].shape[1], bool)
        level = model.threshold(everyone)
        rows.append(
            (
                name,
                everyone.size,
                *(round(model.arl0(everyone, kind, level)) for kind in NOISES[1:]),
                *(round(model.delay(everyone, "gaussian", change, level), 1) for change in CHANGES),
            )
        )
        if name.startswith("reference"):
            continue
        for kind in CHANGED_NOISES:
            levels = [model.threshold(everyone, kind, arl0) for arl0 in CURVE]
            for change in SHOWN:
                delays = [model.delay(everyone, kind, change, x) for x in levels]
                curves.setdefault((kind, change), {})[name] = (list(CURVE), delays)
    show(
        "Each likelihood at ARL0 = 1000 under Gaussian noise: ARL0 under others, delays on Gaussian data",
        ("likelihood", "paths", *NOISES[1:], "1 sigma", "2 sigma", "vol x1.5", "vol x2", "vol /2"),
        rows,
        note="reference: the package's two models in the engine of the others, as a check on it",
    )
    draw(curves, path)


def measure(arguments: argparse.Namespace) -> None:
    """The tables, the figure and the last line."""
    paths, steps = (400, 800) if arguments.quick else (2000, 1800)
    drawn = Paths.draw(arguments.seed, paths, steps)
    gaussian, robust = (
        Simulated.run(panel_detector(df, arguments.max_run), drawn) for df in (math.inf, OUTLIER_DF)
    )
    found = figures(gaussian, robust, np.ones(paths, bool))
    error = jackknife_error(
        lambda mask: figures(gaussian, robust, mask), paths, 10 if arguments.quick else 20
    )
    print_tables(found, error, paths)
    if arguments.figure:
        reference = others(drawn, 200 if arguments.quick else 600)
        own = {"Gaussian": gaussian, "shared weight (package)": robust}
        checks = {f"reference {name}": reference.pop(name) for name in ("gaussian", "shared weight")}
        compare(own | reference | checks, Path(arguments.figure))
    plain, weighted, ratio = cost_ratio(arguments.max_run, 500, 100 if arguments.quick else 400)
    reported = {
        "arl0_t4": found["arl0 robust t4"],
        "arl0_outliers": found["arl0 robust outliers"],
        **{key: found[f"ratio {change}"] for change, key in KEYS.items()},
        "cost_ratio": ratio,
    }
    errors = {
        "arl0_t4": error["arl0 robust t4"],
        "arl0_outliers": error["arl0 robust outliers"],
        **{key: error[f"ratio {change}"] for change, key in KEYS.items()},
    }
    show(
        "Against the targets",
        ("figure", "measured", "standard error", "target"),
        [(key, value, errors.get(key), TARGETS[key]) for key, value in reported.items()],
        note=f"a tick of 500 series of {arguments.max_run} runs: Gaussian {1e6 * plain:.0f} us, "
        f"shared weight {1e6 * weighted:.0f} us",
    )
    last_line({key: round(value, 4) for key, value in reported.items()})


def main() -> None:
    """Parse, measure, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter paths: rougher figures")
    parser.add_argument("--seed", type=int, default=20261122, help="of all random numbers")
    parser.add_argument("--max-run", type=int, default=256, help="longest run length told apart")
    parser.add_argument("--figure", metavar="PATH", help="draw delay against false alarms into this SVG")
    arguments = parser.parse_args()
    measure(arguments)


if __name__ == "__main__":
    main()
