"""The run-length posterior on a logarithmic grid against its plain twin and the exact posterior."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_run_length import log_student
from scipy.special import logsumexp

from stream_allocator.regime import RunLengthPanel
from stream_allocator.regime.loggrid import RunLengthGrid, ring_sizes


class NaiveGrid:
    """Adams & MacKay's recursion on lists of levels, each from the oldest run to the youngest.

    A run is [mean, rate, strength, shape, probability, masses], the last being the probabilities of the
    single births it stands for, oldest first.
    """

    def __init__(self, hazard, resolution, max_run):
        self.hazard, self.ring, self.max_run = hazard, 2 * resolution, max_run
        self.levels = [[[0.0, 1.0, 1.0, 1.0, 1.0, [1.0]]]]
        self.log_evidence = 0.0

    def runs(self):
        return [run for level in reversed(self.levels) for run in level]

    def update(self, x):
        if not math.isfinite(x):
            return
        runs = self.runs()
        joint = [(math.log(run[4]) if run[4] > 0 else -math.inf) + log_student(x, *run[:4]) for run in runs]
        predictive = logsumexp(joint)
        self.log_evidence += predictive
        for run, term in zip(runs, joint, strict=True):
            mean, rate, strength, shape, before, masses = run
            after = (1.0 - self.hazard) * math.exp(term - predictive)
            run[0] = (strength * mean + x) / (strength + 1.0)
            run[1] = rate + strength * (x - mean) ** 2 / (2.0 * (strength + 1.0))
            run[2:5] = strength + 1.0, shape + 0.5, after
            run[5] = [after * m / before if before > 0 else after / len(masses) for m in masses]
        self.cap()
        self.cascade()
        self.levels[0].append([0.0, 1.0, 1.0, 1.0, self.hazard, [self.hazard]])

    def cap(self):
        old, young = self.runs()[:2] if len(self.runs()) > 1 else (None, None)
        if old is None or old[2] - 1.0 <= self.max_run:
            return
        mass = old[4] + young[4]
        share = old[4] / mass if mass > 0 else 0.0
        variance = (1 - share) * young[1] / young[3] + share * old[1] / old[3]
        young[0] = (1 - share) * young[0] + share * old[0]
        young[1] = variance * young[3]
        young[5] = [m * mass / young[4] if young[4] > 0 else m for m in young[5]]
        young[4] = mass
        self.levels[-1].pop(0)
        while len(self.levels) > 1 and not self.levels[-1]:
            self.levels.pop()

    def cascade(self):
        full = 0
        while full < len(self.levels) and len(self.levels[full]) == self.ring:
            full += 1
        if full == len(self.levels) and full > 0:
            self.levels.append([])
        for level in range(full - 1, -1, -1):
            old, young = self.levels[level].pop(0), self.levels[level].pop(0)
            heavy, light = (young, old) if young[4] > old[4] else (old, young)
            mass = old[4] + young[4]
            share = light[4] / mass if mass > 0 else 0.5
            mean = (1 - share) * heavy[0] + share * light[0]
            variance = (1 - share) * heavy[1] / heavy[3] + share * light[1] / light[3]
            merged = [mean, variance * heavy[3], *heavy[2:4], mass, old[5] + young[5]]
            self.levels[level + 1].append(merged)

    def posterior(self):
        runs = self.runs()[::-1]
        return [round(run[2] - 1.0) for run in runs], [run[4] for run in runs]

    def probability_at_most(self, k):
        return sum([mass for run in self.runs() for mass in run[5]][::-1][: k + 1])


def switching(seed, steps, every=90):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=steps)
    for start in range(every, steps, every):
        x[start:] = 2.0 * rng.normal() + np.exp(0.5 * rng.normal()) * rng.normal(size=steps - start)
    return x


def run(panel, rows):
    for row in rows:
        panel.update(row)
    return panel


@pytest.mark.parametrize(("resolution", "max_run"), [(2, 40), (4, 100), (8, 90), (8, 4096), (16, 10)])
def test_kernel_agrees_with_its_naive_twin(resolution, max_run):
    values = switching(resolution, 400)
    values[[7, 130, 131]] = np.nan, np.inf, -np.inf
    grid = RunLengthGrid(1, hazard=0.02, resolution=resolution, max_run=max_run, warmup=0)
    naive = NaiveGrid(0.02, resolution, max_run)
    for t, x in enumerate(values):
        grid.update([x])
        naive.update(x)
        lengths, probabilities = grid.posterior(0)
        expected_lengths, expected = naive.posterior()
        kept = len(lengths)  # runs without any weight left may have been dropped
        assert lengths.tolist() == expected_lengths[:kept]
        np.testing.assert_allclose(probabilities, expected[:kept], rtol=1e-8, atol=1e-13)
        assert sum(expected[kept:]) < 1e-60
        if t % 10 == 0:
            for k in (0, 3, 10, 60, 100):
                wanted = naive.probability_at_most(k)
                assert grid.probability_at_most(k)[0] == pytest.approx(wanted, rel=1e-8, abs=1e-12)
    assert grid.log_evidence()[0] == pytest.approx(naive.log_evidence, rel=1e-10)


@pytest.mark.parametrize(("resolution", "max_run", "steps"), [(8, 4096, 15), (64, 4096, 127), (64, 120, 600)])
def test_grid_is_exact_while_no_pair_has_merged(resolution, max_run, steps):
    rows = np.column_stack([switching(1, steps, 50), 5.0 - 1e3 * switching(2, steps, 70)])
    prior = {"hazard": 0.01, "max_run": max_run, "warmup": 0, "location": [0.0, 5.0], "scale": [1.0, 1e3]}
    grid, panel = RunLengthGrid(2, resolution=resolution, **prior), RunLengthPanel(2, **prior)
    for row in rows:
        grid.update(row)
        panel.update(row)
        for j in range(2):
            lengths, probabilities = grid.posterior(j)
            exact = panel.posterior(j)[1]
            np.testing.assert_allclose(probabilities, exact[lengths], atol=1e-12)
            assert np.delete(exact, lengths).sum() < 1e-60
        np.testing.assert_allclose(grid.probability_at_most(9), panel.probability_at_most(9), atol=1e-12)
    np.testing.assert_array_equal(grid.map_run_length(), panel.map_run_length())
    for read in ("expected_run_length", "segment_mean", "segment_variance", "log_evidence"):
        np.testing.assert_allclose(getattr(grid, read)(), getattr(panel, read)(), rtol=1e-8, err_msg=read)


@pytest.mark.parametrize(
    ("resolution", "mean", "worst"), [(4, 1.2e-3, 0.3), (8, 5e-4, 0.15), (32, 3e-5, 0.003)]
)
def test_error_against_the_exact_posterior_is_bounded_and_falls_with_the_resolution(resolution, mean, worst):
    """Measured on these series: mean 5.7e-4, 2.2e-4, 1.0e-5 and worst 0.14, 0.071, 0.0008."""
    values = np.column_stack([switching(seed, 1200, 250) for seed in range(8)])
    exact = RunLengthPanel(8, hazard=1 / 250, max_run=1200, warmup=0)
    expected = exact.filter(values, 60)
    grid = RunLengthGrid(8, hazard=1 / 250, resolution=resolution, warmup=0)
    found = np.empty(values.shape)
    for t, row in enumerate(values):
        grid.update(row)
        found[t] = grid.probability_at_most(60)
    off = np.abs(found - expected)
    assert off.mean() < mean
    assert off.max() < worst


@settings(max_examples=40)
@given(
    values=st.lists(
        st.one_of(
            st.floats(-10, 10),
            st.sampled_from([0.0, 1.0, -1.0, 1e8, 1e300, -1e300, 5e-324, math.nan, math.inf, -math.inf]),
        ),
        max_size=150,
    ),
    hazard=st.floats(1e-4, 0.9),
    resolution=st.integers(2, 6),
    max_run=st.integers(2, 60),
)
def test_probabilities_sum_to_one_and_no_run_outgrows_the_cap(values, hazard, resolution, max_run):
    grid = RunLengthGrid(1, hazard=hazard, resolution=resolution, max_run=max_run, warmup=0)
    run(grid, [[x] for x in values])
    lengths, probabilities = grid.posterior(0)
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)
    assert (probabilities >= 0.0).all()
    assert lengths[0] == 0
    assert lengths[-1] <= max_run
    assert (np.diff(lengths) > 0).all()
    cumulated = [grid.probability_at_most(k)[0] for k in range(0, 200, 7)]
    assert (np.diff(cumulated) >= -1e-13).all()
    assert cumulated[-1] == pytest.approx(1.0, abs=1e-12)
    if np.isfinite(values).any():
        assert probabilities[0] == pytest.approx(hazard, rel=1e-9)
        assert cumulated[0] == pytest.approx(hazard, rel=1e-9)


@given(st.integers(2, 5000), st.integers(2, 40))
def test_memory_grows_with_the_logarithm_of_the_longest_run(max_run, resolution):
    rings = ring_sizes(max_run, resolution)
    assert sum(rings) <= 2 * resolution * (2 + max(0.0, math.log2(max_run / resolution)))


def test_a_far_cap_takes_little_more_memory_and_a_long_stream_no_more():
    small, large = (RunLengthGrid(1, hazard=1e-3, max_run=m, warmup=0) for m in (256, 100_000))
    sizes = {name: array.nbytes for name, array in large.state().items()}
    assert sizes["runs"] < 4 * small.state()["runs"].nbytes
    run(large, [[x] for x in switching(5, 3000, 3000)])
    assert {name: array.nbytes for name, array in large.state().items()} == sizes
    assert large.map_run_length()[0] > 2700


@pytest.mark.parametrize("steps", [0, 5, 59, 61, 300])
def test_a_restored_grid_goes_on_with_the_same_bits(steps):
    rows = np.column_stack([switching(seed, 600) for seed in range(3)])
    rows[20:40, 1] = np.nan
    grid = run(RunLengthGrid(3, hazard=0.01, max_run=200, prior_strength=0.5), rows[:steps])
    state = grid.state()
    again = RunLengthGrid.from_state(state)
    run(grid, rows[steps:])
    run(again, rows[steps:])
    assert (again.hazard, again.resolution, again.max_run) == (0.01, 8, 200)
    for name, array in grid.state().items():
        assert array.tobytes() == again.state()[name].tobytes(), name
    for read in ("map_run_length", "expected_run_length", "segment_mean", "segment_variance", "log_evidence"):
        assert getattr(grid, read)().tobytes() == getattr(again, read)().tobytes(), read
    assert state["counters"].tobytes() == RunLengthGrid.from_state(state).state()["counters"].tobytes()


def test_a_missing_value_leaves_its_series_as_it_was_and_no_other():
    rows = np.column_stack([switching(seed, 300) for seed in range(2)])
    with_gaps, alone = RunLengthGrid(2, hazard=0.01), RunLengthGrid(2, hazard=0.01)
    for t, row in enumerate(rows):
        with_gaps.update(row)
        alone.update(row)
        if t % 3 == 0:
            with_gaps.update([math.nan, math.inf])
    for name, array in with_gaps.state().items():
        assert array.tobytes() == alone.state()[name].tobytes(), name
    alone.update([1.0], index=[1])
    assert alone.observations().tolist() == [300, 301]


def test_warm_up_is_that_of_the_panel():
    rows = np.column_stack([switching(0, 200), np.r_[np.full(100, 3.0), switching(1, 100)]])
    grid, panel = RunLengthGrid(2, hazard=0.01), RunLengthPanel(2, hazard=0.01)
    assert np.isnan(grid.segment_mean()).all()
    for t, row in enumerate(rows):
        grid.update(row)
        panel.update(row)
        np.testing.assert_array_equal(grid.detecting(), panel.detecting())
        np.testing.assert_array_equal(grid.observations(), panel.observations())
        if t < 59:
            np.testing.assert_array_equal(grid.map_run_length(), panel.map_run_length())
            np.testing.assert_allclose(grid.segment_mean(), panel.segment_mean(), equal_nan=True)
            np.testing.assert_allclose(grid.segment_variance(), panel.segment_variance(), equal_nan=True)
            assert (grid.probability_at_most(10) == 0.0).all()
            assert grid.posterior(0)[0].tolist() == [t + 1]
    np.testing.assert_allclose(grid.segment_mean(), panel.segment_mean(), rtol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"series": 0}, "series"),
        ({"hazard": 1.0}, "hazard"),
        ({"resolution": 1}, "resolution"),
        ({"max_run": 1}, "max_run"),
        ({"warmup": 1}, "warmup"),
        ({"prior_strength": 0.0}, "prior_strength"),
        ({"prior_shape": math.inf}, "prior_shape"),
        ({"location": 1.0}, "warm-up"),
        ({"warmup": 0, "scale": 0.0}, "scale"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        RunLengthGrid(**({"series": 1, "hazard": 0.01} | arguments))


def test_ticks_of_another_shape_are_refused_and_not_taken():
    grid = RunLengthGrid(2, hazard=0.01)
    for values, index in (([1.0], None), ([1.0, 2.0], [0, 2]), ([1.0], [-1])):
        with pytest.raises(ValueError, match="index"):
            grid.update(values, index)
    with pytest.raises(ValueError, match="run length"):
        grid.probability_at_most(-1)
    with pytest.raises(ValueError, match="no series"):
        grid.posterior(2)
    assert grid.observations().tolist() == [0, 0]
    with pytest.raises(ValueError, match="runs"):
        RunLengthGrid.from_state(grid.state() | {"runs": np.zeros((2, 4, 8))})
    with pytest.raises(ValueError, match="settings"):
        RunLengthGrid.from_state(grid.state() | {"settings": np.zeros(3)})
