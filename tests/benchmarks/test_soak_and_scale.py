"""Both benchmarks run on real Kafka; the last line of each is one JSON object with the promised keys."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absence import skip_unless_ci

from benchmarks.brokers import BrokerUnavailable
from benchmarks.brokers.local import java, kafka_jars

pytestmark = pytest.mark.kafka

ROOT = Path(__file__).resolve().parents[2]
SOAK = (
    "minutes rate_asset_ticks_per_s share_of_maximum rss_slope_mb_per_hour rss_slope_low rss_slope_high "
    "rss_max_mb descriptors_growth threads_growth lag_max lag_end recovery_worst_s not_back faults "
    "begun_again unmatched lost duplicated"
)
SCALE = (
    "bar_us_n20 bar_us_n500 bar_us_n2000 bus_us_n50 commit_ms broker_commit_ms memory_mb_n20 memory_mb_n500 "
    "memory_mb_n2000 snapshot_mb_n500 restore_s_a_universe_n500 rebalance_s check_cpu_ratio "
    "check_memory_ratio check_snapshot_ratio check_bus_cpu_ratio check_restore_ratio workers_10m brokers_10m "
    "snapshot_share_10m"
)


def last_line_of(name, tmp_path):
    try:
        java(), kafka_jars()
    except BrokerUnavailable as reason:
        skip_unless_ci(f"no local broker: {reason}")
    picture = tmp_path / f"{name}.svg"
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--picture", str(picture)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    assert picture.read_text().rstrip().endswith("</svg>")
    return json.loads(run.stdout.splitlines()[-1])


def test_a_quick_soak_loses_and_doubles_nothing(tmp_path):
    figures = last_line_of("soak", tmp_path)
    assert list(figures) == SOAK.split()
    assert figures["faults"] >= 3
    assert (figures["lost"], figures["duplicated"], figures["unmatched"]) == (0, 0, 0)
    assert figures["share_of_maximum"] > 0.4
    assert figures["lag_max"] > 0


def test_a_quick_look_at_scale_ends_with_its_figures(tmp_path):
    figures = last_line_of("scale", tmp_path)
    assert list(figures) == SCALE.split()
    assert all(value > 0.0 for value in figures.values())
    assert figures["check_memory_ratio"] == pytest.approx(1.0, abs=0.5)
    assert figures["check_snapshot_ratio"] == pytest.approx(1.0, abs=0.2)
