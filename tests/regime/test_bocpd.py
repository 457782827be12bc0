"""What a panel of run-length posteriors promises."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.regime import RunLengthPanel

RNG_SHAPE = (240, 3)


def series(seed=0, shape=RNG_SHAPE):
    x = np.random.default_rng(seed).normal(size=shape)
    x[150:, 0] *= 4.0
    x[150:, 1:] += 3.0
    return x


def run(panel, rows):
    for row in rows:
        panel.update(row)
    return panel


def assert_same_bits(a, b):
    for name, array in a.state().items():
        assert array.tobytes() == b.state()[name].tobytes(), name
    for read in ("map_run_length", "expected_run_length", "segment_mean", "segment_variance", "log_evidence"):
        assert getattr(a, read)().tobytes() == getattr(b, read)().tobytes(), read
    assert a.probability_at_most(20).tobytes() == b.probability_at_most(20).tobytes()
    assert a.effective_sample_size().tobytes() == b.effective_sample_size().tobytes()


def test_probability_of_a_run_of_length_zero_is_the_hazard_whatever_the_data():
    panel = RunLengthPanel(3, hazard=0.03, max_run=40, warmup=0)
    for row in series():
        panel.update(row)
        np.testing.assert_allclose(panel.probability_at_most(0), 0.03, rtol=1e-13)


@given(st.integers(0, 120), st.integers(2, 30), st.floats(0.001, 0.5))
def test_probabilities_sum_to_one_also_when_runs_are_merged(steps, max_run, hazard):
    panel = run(RunLengthPanel(3, hazard=hazard, max_run=max_run, warmup=10), series()[:steps])
    for j in range(3):
        lengths, probabilities = panel.posterior(j)
        assert probabilities.sum() == pytest.approx(1.0, abs=1e-13)
        assert (probabilities >= 0.0).all()
        assert lengths[-1] <= max_run
        assert len(lengths) == len(probabilities)


def test_probability_at_most_is_the_cumulated_posterior():
    panel = run(RunLengthPanel(3, hazard=0.02, max_run=50), series())
    for k in (0, 1, 7, 50, 1000):
        for j in range(3):
            expected = panel.posterior(j)[1][: k + 1].sum()
            assert panel.probability_at_most(k)[j] == pytest.approx(expected, abs=1e-14)


def test_a_change_is_seen_within_its_horizon_and_placed_where_it_was():
    panel = RunLengthPanel(3, hazard=1 / 250)
    run(panel, series()[:150])
    assert (panel.probability_at_most(20) < 0.5).all()
    assert (panel.map_run_length() >= 140).all()
    run(panel, series()[150:165])
    assert (panel.probability_at_most(20) > 0.9).all()
    assert (np.abs(panel.map_run_length() - 15) <= 3).all()


def test_warm_up_says_nothing_about_changes_and_counts_observations():
    panel = RunLengthPanel(2, hazard=0.01, warmup=30)
    assert panel.map_run_length().tolist() == [0, 0]
    assert panel.effective_sample_size().tolist() == [0.0, 0.0]
    assert np.isnan(panel.segment_mean()).all()
    assert panel.survivor_weights(0, 5).tolist() == [0.0] * 5
    x = series()[:29, :2]
    run(panel, x)
    assert panel.probability_at_most(20).tolist() == [0.0, 0.0]
    assert panel.map_run_length().tolist() == [29, 29]
    assert panel.effective_sample_size() == pytest.approx([29.0, 29.0])
    assert panel.log_evidence().tolist() == [0.0, 0.0]
    assert not panel.detecting().any()
    np.testing.assert_allclose(panel.segment_mean(), x.mean(axis=0))
    np.testing.assert_allclose(panel.segment_variance(), x.var(axis=0, ddof=1))
    np.testing.assert_allclose(panel.survivor_weights(0, 40)[:29], 1 / 29)


def test_detection_begins_with_the_warm_up_as_the_first_segment():
    warmup = series()[:60]
    panel = run(RunLengthPanel(3, hazard=0.01), warmup)
    assert panel.detecting().all()
    assert panel.log_evidence().tolist() == [0.0] * 3
    fixed = RunLengthPanel(
        3, hazard=0.01, warmup=0, location=warmup.mean(axis=0), scale=warmup.std(axis=0, ddof=1)
    )
    run(fixed, warmup)
    before = fixed.log_evidence()
    tail = series()[60:100]
    run(panel, tail)
    run(fixed, tail)
    np.testing.assert_allclose(panel.posterior(1)[1], fixed.posterior(1)[1], rtol=1e-9)
    np.testing.assert_allclose(panel.log_evidence(), fixed.log_evidence() - before, rtol=1e-11)


@given(st.sampled_from([1e-200, 1e-8, 1.0, 7.3, 1e200]), st.sampled_from([0.0, -3.0, 1e4]))
def test_posterior_does_not_depend_on_unit_or_origin(unit, origin):
    x = series()[:200]
    plain = run(RunLengthPanel(3, hazard=0.01), x)
    moved = run(RunLengthPanel(3, hazard=0.01), unit * (x + origin))
    for j in range(3):
        np.testing.assert_allclose(plain.posterior(j)[1], moved.posterior(j)[1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(moved.segment_mean(), unit * (plain.segment_mean() + origin), rtol=1e-9)
    if 1e-100 < unit < 1e100:
        np.testing.assert_allclose(moved.segment_variance(), unit**2 * plain.segment_variance(), rtol=1e-8)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_missing_values_leave_their_series_untouched(missing):
    panel, other = (run(RunLengthPanel(3, hazard=0.01), series()[:100]) for _ in range(2))
    panel.update([missing, 0.5, missing])
    other.update([0.5], [1])
    assert_same_bits(panel, other)
    assert panel.observations().tolist() == [100, 101, 100]


def test_order_of_distinct_series_in_a_tick_does_not_matter():
    a, b, c = (RunLengthPanel(3, hazard=0.01) for _ in range(3))
    for row in series():
        a.update(row)
        b.update(row[[2, 0, 1]], [2, 0, 1])
        for j in (1, 2, 0):
            c.update(row[j : j + 1], [j])
    assert_same_bits(a, b)
    assert_same_bits(a, c)


def test_a_series_does_not_feel_its_neighbours():
    alone = run(RunLengthPanel(1, hazard=0.01), series()[:, 1:2])
    panel = run(RunLengthPanel(3, hazard=0.01), series())
    assert alone.posterior(0)[1].tobytes() == panel.posterior(1)[1].tobytes()


def test_an_empty_tick_changes_nothing():
    panel, other = (run(RunLengthPanel(3, hazard=0.01), series()[:80]) for _ in range(2))
    panel.update([], [])
    assert_same_bits(panel, other)


@pytest.mark.parametrize("at", [0, 1, 30, 59, 60, 61, 100, 200])
@pytest.mark.parametrize("outlier_df", [math.inf, 8.0])
def test_a_restored_panel_goes_on_with_the_same_bits(at, outlier_df):
    x = series()
    x[::7, 2] = np.nan
    panel = RunLengthPanel(3, hazard=0.01, max_run=50, outlier_df=outlier_df)
    run(panel, x[:at])
    restored = RunLengthPanel.from_state(panel.state())
    assert_same_bits(panel, restored)
    run(panel, x[at:])
    run(restored, x[at:])
    assert_same_bits(panel, restored)


def test_a_fixed_prior_is_part_of_the_state():
    panel = run(RunLengthPanel(3, hazard=0.1, warmup=0, location=2.0, scale=[1.0, 2.0, 3.0]), series()[:20])
    assert_same_bits(panel, RunLengthPanel.from_state(panel.state()))


def test_state_is_a_copy():
    panel = run(RunLengthPanel(3, hazard=0.01), series()[:100])
    state = panel.state()
    before = {name: array.copy() for name, array in state.items()}
    run(panel, series()[100:])
    assert all(np.array_equal(before[name], state[name]) for name in state)


def test_a_constant_series_stays_in_its_warm_up_until_it_moves():
    panel = RunLengthPanel(2, hazard=0.01, warmup=20)
    for t in range(100):
        panel.update([0.1, math.sin(t)])
    assert panel.detecting().tolist() == [False, True]
    assert panel.probability_at_most(20)[0] == 0.0
    assert panel.map_run_length()[0] == 100
    panel.update([0.2, 0.0])
    assert panel.detecting().tolist() == [True, True]
    assert panel.map_run_length()[0] <= 20
    assert np.isfinite(panel.segment_variance()).all()


def test_a_long_warm_up_is_as_if_only_its_latest_observations_had_come():
    late = [0.1] * 17 + [0.3, 0.2, 0.4]
    panel = RunLengthPanel(1, hazard=0.01, warmup=20)
    for x in [0.1] * 7 + late[:18]:
        panel.update([x])
    fresh = RunLengthPanel(1, hazard=0.01, warmup=20)
    for x in [0.1] * 2 + late[:18]:
        fresh.update([x])
    for x in [*late[18:], 0.35, 0.1]:
        panel.update([x])
        fresh.update([x])
    np.testing.assert_allclose(panel.posterior(0)[1], fresh.posterior(0)[1], rtol=1e-10)


def test_survivor_weights_are_the_average_over_runs_of_equal_weights():
    panel = run(RunLengthPanel(3, hazard=0.02, max_run=64), series()[:180])
    lengths, probabilities = panel.posterior(0)
    expected = np.zeros(64)
    for r, p in zip(lengths[1:], probabilities[1:], strict=True):
        expected[:r] += p / r
    expected /= expected.sum()
    omega = panel.survivor_weights(0, 64)
    np.testing.assert_allclose(omega, expected, rtol=1e-12)
    assert (np.diff(omega) <= 0.0).all()
    assert panel.effective_sample_size()[0] == pytest.approx(1.0 / (expected @ expected))
    short = panel.survivor_weights(0, 10)
    np.testing.assert_allclose(short, expected[:10] / expected[:10].sum(), rtol=1e-12)


def test_a_run_at_the_cap_forgets_what_lies_further_back():
    rng = np.random.default_rng(4)
    panel = RunLengthPanel(1, hazard=1e-9, max_run=20, warmup=0)
    drifting = rng.normal(size=4000) + np.linspace(0.0, 40.0, 4000)
    for x in drifting:
        panel.update([x])
    assert panel.segment_mean()[0] == pytest.approx(drifting[-20:].mean(), abs=1.0)
    assert 0.3 < panel.segment_variance()[0] < 3.0
    assert panel.map_run_length()[0] == 20


def test_outlier_weights_keep_heavy_tails_from_raising_alarms():
    rng = np.random.default_rng(5)
    x = rng.standard_t(4, size=(2500, 20)) / math.sqrt(2.0)
    alarms = {}
    for outlier_df in (math.inf, 8.0):
        panel = RunLengthPanel(20, hazard=1 / 250, outlier_df=outlier_df)
        hits = 0
        for t, row in enumerate(x):
            panel.update(row)
            hits += int((panel.probability_at_most(20) > 0.9).sum()) if t > 100 else 0
        alarms[outlier_df] = hits
    assert alarms[8.0] < 0.25 * alarms[math.inf]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"series": 0}, "series"),
        ({"hazard": 0.0}, "hazard"),
        ({"hazard": 1.0}, "hazard"),
        ({"hazard": math.nan}, "hazard"),
        ({"max_run": 1}, "max_run"),
        ({"warmup": 1}, "warmup"),
        ({"prior_strength": 0.0}, "prior_strength"),
        ({"prior_shape": math.inf}, "prior_shape"),
        ({"outlier_df": 0.0}, "outlier_df"),
        ({"scale": 1.0}, "warm-up"),
        ({"warmup": 0, "scale": 0.0}, "scale"),
    ],
)
def test_what_is_out_of_range_is_named(change, word):
    settings = {"series": 2, "hazard": 0.01} | change
    with pytest.raises(ValueError, match=word):
        RunLengthPanel(settings.pop("series"), **settings)


def test_a_tick_that_does_not_fit_takes_nothing():
    panel, other = (run(RunLengthPanel(3, hazard=0.01), series()[:80]) for _ in range(2))
    for values, index in (([1.0], None), ([1.0, 2.0], [0]), ([1.0, 2.0], [0, 3]), ([1.0], [-1])):
        with pytest.raises(ValueError, match="index"):
            panel.update(values, index)
    with pytest.raises(ValueError, match="series 3"):
        panel.posterior(3)
    with pytest.raises(ValueError, match="negative"):
        panel.probability_at_most(-1)
    assert_same_bits(panel, other)


def test_series_that_stay_keep_their_bits_and_newcomers_begin():
    x = series()
    panel = run(RunLengthPanel(3, hazard=0.01, max_run=50), x[:100])
    other = panel.reindex([2, -1, 0])
    alone = RunLengthPanel(1, hazard=0.01, max_run=50)
    for row in x[100:]:
        panel.update(row)
        other.update([row[2], row[1], row[0]])
        alone.update([row[1]])
    for old, new in ((2, 0), (0, 2)):
        assert panel.posterior(old)[1].tobytes() == other.posterior(new)[1].tobytes()
    assert alone.posterior(0)[1].tobytes() == other.posterior(1)[1].tobytes()
    for index in ([], [3], [-2], [[0]]):
        with pytest.raises(ValueError, match="index"):
            panel.reindex(index)


@pytest.mark.parametrize("outlier_df", [math.inf, 8.0])
def test_many_ticks_in_one_call_have_the_same_bits(outlier_df):
    x = series()
    x[::7, 2], x[50, 0] = np.nan, np.inf
    panel, other = (RunLengthPanel(3, hazard=0.01, max_run=50, outlier_df=outlier_df) for _ in range(2))
    found = panel.filter(x, 20)
    for row, probabilities in zip(x, found, strict=True):
        other.update(row)
        assert other.probability_at_most(20).tobytes() == probabilities.tobytes()
    assert_same_bits(panel, other)
    for values, k in ((x[:, :2], 20), (x[0], 20), (x, -1)):
        with pytest.raises(ValueError, match=r"values|negative"):
            panel.filter(values, k)
    assert_same_bits(panel, other)


@pytest.mark.parametrize("bars", [0, 3, 40, 150])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_the_strongest_evidence_is_that_of_the_whole_panel_sorted(bars, count):
    rng = np.random.default_rng(bars)
    panel = RunLengthPanel(6, hazard=0.01, max_run=50, warmup=20, outlier_df=8.0)
    rows = rng.standard_t(5, (bars, 6)) * np.where(np.arange(bars) < 110, 1.0, 4.0)[:, None] ** np.arange(6)
    rows[:, 1] = rows[:, 0]  # a tie
    rows[:, 5] = np.nan  # never seen
    for row in rows:
        panel.update(row)
    mass, lengths = panel.probability_at_most(10), panel.map_run_length()
    order = np.lexsort((np.arange(6), -mass))[:count]
    found = panel.strongest_evidence(10, count)
    np.testing.assert_array_equal(found[0], order)
    np.testing.assert_array_equal(found[1], mass[order])
    np.testing.assert_array_equal(found[2], lengths[order])


def test_evidence_up_to_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="not negative"):
        RunLengthPanel(1, hazard=0.1).strongest_evidence(-1, 1)
