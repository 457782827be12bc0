"""Faults are spread evenly and drawn from the seed; what a round found is read back as it was."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from benchmarks.chaos.broker_faults import Happened, Round, _read
from benchmarks.chaos.faults import KINDS, schedule
from benchmarks.chaos.verdict import Verdict


@pytest.mark.parametrize("count", [4, 17, 100])
def test_every_kind_of_fault_comes_as_often_as_any_other(count):
    chosen = schedule(np.random.default_rng(5), count, [*KINDS])
    counts = [chosen.count(kind) for kind in KINDS]
    assert sum(counts) == count
    assert max(counts) - min(counts) <= 1


def test_a_seed_is_a_schedule():
    one, same, other = (schedule(np.random.default_rng(seed), 100, [*KINDS]) for seed in (5, 5, 6))
    assert one == same
    assert one != other


def test_what_a_round_found_is_read_back(tmp_path):
    found = Round(
        7, "consumer", [Happened("disk full", "node 2", 4.0, 1.0, 2.5)], Verdict(lost=1, findings=("a", "b")),
        300, 60.5, 1, 2, 3, 4, 210.0,
    )  # fmt: skip
    (tmp_path / "found.json").write_text(json.dumps(asdict(found)))
    assert _read(tmp_path / "found.json") == found
