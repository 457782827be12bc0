"""A plan follows from the load: more of it never needs less, and the formulas add up."""

import math
from dataclasses import replace

import numpy as np
import pytest
from costs import COSTS
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scale.capacity import Load, Site, busiest, needs

loads = st.builds(Load, st.integers(1, 10_000), st.sampled_from((20, 50, 500, 2000)), st.floats(1e3, 1e7))


@settings(max_examples=200)
@given(load=loads, factor=st.floats(1.0, 10.0))
def test_more_ticks_never_need_less(load, factor):
    small, large = (
        needs(each, COSTS) for each in (load, replace(load, asset_ticks=factor * load.asset_ticks))
    )
    for name in ("workers", "partitions", "brokers", "inward", "outward", "snapshots", "disk"):
        assert getattr(large, name) >= getattr(small, name), name


@given(load=loads)
def test_workers_have_the_cores_and_the_memory_and_a_universe_is_never_split(load):
    plan, site = needs(load, COSTS), Site()
    assert 1 <= plan.workers <= plan.partitions <= max(load.universes, 4 * plan.workers)
    assert plan.workers <= load.universes
    if plan.workers < load.universes:
        cores = load.cross_sections * COSTS.cross_section(load.assets, site)
        assert plan.workers >= cores / site.utilisation - 1e-9
        assert plan.memory <= site.worker_memory * (1 + 1e-9)
    assert plan.fits == (plan.busiest_universe <= 1.0)


def test_a_plan_in_numbers():
    load, site = Load(1, 100, 1000.0), Site()
    plan = needs(load, COSTS, site)
    each = 1e-4 + 4e-4 + 3e-4 + 4e-3 / 21 + 11e-3 / 250 + 3e-5
    assert plan.busiest_universe == pytest.approx(10 * each)
    assert plan.inward == pytest.approx(10 * 860)
    assert plan.outward == pytest.approx(10 * (250 + 26_000 / 21))
    assert plan.snapshots == pytest.approx(10 * (1e4 + 2e6 + 32e4) / 250)
    assert (plan.workers, plan.partitions, plan.brokers) == (1, 1, 3)


def test_transactions_take_from_workers_and_brokers_and_longer_ones_take_less():
    dear = replace(COSTS, commit=2e-3, broker_commit=2e-2, commit_wait=0.01)
    load = Load(10_000, 50, 1e6)
    free, often, seldom = (
        needs(load, costs, Site(batch_seconds=seconds))
        for costs, seconds in ((COSTS, 0.01), (dear, 0.01), (dear, 0.1))
    )
    assert free.workers < seldom.workers < often.workers
    assert free.brokers < seldom.brokers < often.brokers
    assert often.commits == pytest.approx(often.workers * 50)
    assert often.busy_commits == pytest.approx(3 * often.commits * 2e-2)


def test_the_busiest_worker_is_about_where_hashing_puts_it():
    rng = np.random.default_rng(3)
    for universes, workers in ((1000, 10), (10_000, 100), (10_000, 40)):
        counts = [
            np.bincount(rng.integers(0, workers, universes), minlength=workers).max() for _ in range(200)
        ]
        seen = float(np.mean(counts)) * workers / universes
        assert busiest(universes, workers) >= seen
        assert busiest(universes, workers) - 1 <= 2 * (seen - 1)
    assert busiest(5, 1) == 1.0
    assert math.isfinite(busiest(1, 2))
