"""The stream's benchmark on a real broker: its own checks pass, and its last line has the promised keys."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from absence import skip_unless_ci

from benchmarks.brokers import BrokerUnavailable, running_broker
from benchmarks.stream.cluster import Record
from benchmarks.stream.contestants import ROOT
from benchmarks.stream.drain import DrainFailed, check, rate
from benchmarks.stream.job import Job
from benchmarks.stream.wire import encode_update

KEYS = (
    "bus_ratio_to_raw bus_ratio_to_quix single_ratio_to_quix engine_ratio_to_memory "
    "engine_asset_ticks_per_s p50_ms p99_ms p99_ratio_to_raw restore_500_s"
)
#: Null where the peers are not installed.
OF_PEERS = {"bus_ratio_to_quix", "single_ratio_to_quix"}
JOB = Job("nowhere", "tag", "inputs", "outputs")


def records(bars: list[int], step: int = 10) -> list[Record]:
    """An output for each bar, so many milliseconds apart."""
    event = {"universe": "u0", "event_time": 0, "sequence": 0}
    return [Record(0, i, encode_update(event, bar, 0.5), step * i) for i, bar in enumerate(bars)]


@pytest.mark.kafka
def test_a_quick_run_ends_with_its_figures():
    try:
        with running_broker() as broker:
            run = subprocess.run(
                [sys.executable, "-m", "benchmarks.stream", "--quick"],
                cwd=ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "KAFKA_BOOTSTRAP": broker.bootstrap_servers},
                capture_output=True,
                text=True,
                check=False,
            )
    except BrokerUnavailable as reason:
        skip_unless_ci(f"no Kafka broker: {reason}")
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert list(figures) == KEYS.split()
    for key, value in figures.items():
        assert (value is None and key in OF_PEERS) or value > 0.0, key


@pytest.mark.parametrize("bars", [[0, 1], [0, 1, 1, 2], [0, 2, 1], [1, 2, 3]])
def test_outputs_that_are_lost_doubled_or_out_of_order_fail_the_drain(bars):
    with pytest.raises(DrainFailed, match="3 bars were to come"):
        check(JOB, records(bars), 3)


def test_every_bar_once_in_order_passes():
    check(JOB, records([0, 1, 2]), 3)


def test_a_rate_leaves_the_first_burst_out():
    # 0, 10 and 20 ms belong to the burst; 7 outputs of 50 assets came in the 70 ms after it
    found, seconds = rate(records(list(range(10))), assets=50)
    assert seconds == pytest.approx(0.07)
    assert found == pytest.approx(7 * 50 / 0.07)
