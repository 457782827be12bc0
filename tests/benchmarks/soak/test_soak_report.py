"""A soak holds only when nothing grows, lags, or is lost; each way to fail is found."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.chaos.tally import Verdict
from benchmarks.soak.faults import KINDS, Fault
from benchmarks.soak.report import Findings
from benchmarks.soak.run import STEADY, VICTIM, Size
from benchmarks.soak.samples import Sample, Usage

SIZE = Size(1800.0, 60.0, 15.0, 20.0, 5.0, 1000, 2, 600.0)
FED = {"cross_sections": 900_000, "positions": 45_000, "control": 1800, "bad": 4000}


def findings(rss=lambda t: 0.0, descriptors=lambda t: 0, lag=lambda t: 0, seen=900_000, size=SIZE):
    """Half an hour of made-up samples: memory and descriptors beyond 300 MB and 20, and the lag."""
    kinds = list(KINDS)
    faults = [Fault(kinds[i % len(kinds)], 1015.0 + 60.0 * i) for i in range(30)]
    noise = np.convolve(np.random.default_rng(5).standard_normal(1830), np.ones(30) / 30, mode="valid")
    samples = []
    for t in range(1800):
        steady = Usage(int(1e6 * (300.0 + noise[t] + rss(t))), 20 + descriptors(t), 30, 0.5 * t)
        waits = {"returns": 5 + lag(t), "positions": 0, "control": 0}
        workers = {STEADY: (0, 60.0 + t, steady), VICTIM: (t // 420, t % 420, steady)}
        samples.append(Sample(1000.0 + t, workers, waits, 1))
    lines = [{"time": 1000.0 + t, "count": 500 * t, "p50": 0.01, "p99": 0.03} for t in range(1800)]
    lines[-1]["count"] = seen
    soak = SimpleNamespace(
        size=size, faults=faults, started=1000.0, ended=2800.0, rate=500.0, fed_rate=520.0,
        maximum=1000.0, begun_again=2,
        sampler=SimpleNamespace(samples=samples), observer=SimpleNamespace(lines=lines),
    )  # fmt: skip
    return Findings(soak, FED, Verdict())


def test_what_is_flat_holds_and_says_so():
    found = findings(lag=lambda t: 3000 if 60 <= t % 420 < 80 else 0)
    assert found.holds()
    figures = found.figures()
    assert figures["rss_slope_low"] <= 0.05 * 300
    assert figures["descriptors_growth"] == 0.0
    assert figures["share_of_maximum"] == 0.52
    assert 0.0 < figures["recovery_worst_s"] < 30.0
    assert "900,000 cross-sections fed and 900,000 seen" in found.words()
    assert next(table.title for table in found.tables()) == "The soak"


@pytest.mark.parametrize(
    "grown",
    [
        {"rss": lambda t: 0.02 * t},  # 72 MB an hour
        {"descriptors": lambda t: t // 420},  # one a rotation of faults
        {"lag": lambda t: 2000 if t > 1700 else 0},  # not back after the last fault
        {"lag": lambda t: 600 if t % 60 > 40 else 0},
        {"seen": 899_999},
        {"seen": 900_001},
    ],
)
def test_what_grows_lags_or_is_lost_does_not_hold(grown):
    assert not findings(**grown).holds()


def test_memory_that_rises_in_the_first_rotation_alone_is_warm_up():
    assert findings(rss=lambda t: min(t, 420) / 10).holds()


def test_a_short_soak_is_judged_by_what_is_lost_alone():
    short = replace(SIZE, soak=240.0)
    assert findings(rss=lambda t: 0.02 * t, size=short).holds()
    assert not findings(seen=1, size=short).holds()
