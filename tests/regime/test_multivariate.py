"""What the run-length posterior of a universe promises."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.regime import RunLengthPanel
from stream_allocator.regime.multivariate import MultivariateRunLength

SCALE = np.array([[1.5, 0.6], [0.6, 0.8]])


def vectors(T=240, d=3, seed=0):
    """Normal observations; at 150 the first coordinate's volatility and the others' mean and sign change."""
    x = np.random.default_rng(seed).normal(size=(T, d))
    x[:, 1:] += 0.7 * x[:, :1]
    x[150:, 0] *= 4.0
    x[150:, 1:] = 3.0 - x[150:, 1:]
    return x


def run(filtered, rows):
    for row in rows:
        filtered.update(row)
    return filtered


def distance(probabilities, others):
    """Total variation."""
    return 0.5 * np.abs(probabilities - others).sum()


def assert_same_bits(a, b):
    for name, array in a.state().items():
        assert array.tobytes() == b.state()[name].tobytes(), name
    for read in ("map_run_length", "expected_run_length", "expected_hazard", "log_evidence", "detecting"):
        assert getattr(a, read)() == getattr(b, read)(), read
    assert a.effective_sample_size() == b.effective_sample_size()
    assert a.probability_at_most(20) == b.probability_at_most(20)
    assert a.segment_mean().tobytes() == b.segment_mean().tobytes()
    assert a.segment_covariance().tobytes() == b.segment_covariance().tobytes()


@pytest.mark.parametrize("outlier_df", [math.inf, 8.0])
@pytest.mark.parametrize("max_run", [2, 30, 400])
def test_in_one_dimension_it_is_the_panels_posterior(max_run, outlier_df):
    values = np.random.default_rng(max_run).standard_t(4, size=320)
    values[120:] *= 3.0
    values[200:] += 2.0
    panel = RunLengthPanel(1, hazard=0.02, max_run=max_run, outlier_df=outlier_df)
    filtered = MultivariateRunLength(1, hazards=[0.02], max_run=max_run, outlier_df=outlier_df)
    for x in values:
        panel.update([x])
        filtered.update([x])
        assert distance(filtered.posterior()[1], panel.posterior(0)[1]) < 2e-12
    assert filtered.map_run_length() == panel.map_run_length()[0]
    for read in ("expected_run_length", "segment_mean", "effective_sample_size", "log_evidence"):
        assert getattr(filtered, read)() == pytest.approx(getattr(panel, read)()[0], rel=1e-11), read
    assert filtered.segment_covariance()[0, 0] == pytest.approx(panel.segment_variance()[0], rel=1e-11)


def test_a_change_of_correlation_alone_is_seen():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(260, 2))
    x[:200, 1] = 0.9 * x[:200, 0] + math.sqrt(0.19) * x[:200, 1]
    filtered = run(MultivariateRunLength(2, hazards=[1 / 250]), x[:200])
    assert filtered.probability_at_most(20) < 0.3
    run(filtered, x[200:])
    assert abs(filtered.map_run_length() - 60) <= 6
    assert abs(filtered.segment_covariance()[0, 1]) < 0.4


def test_a_learned_hazard_concentrates_near_the_truth():
    hazards = np.geomspace(1 / 1000, 1 / 5, 8)
    for truth, seed in ((1 / 200, 0), (1 / 15, 1)):
        rng = np.random.default_rng(seed)
        level, rows = np.zeros(2), []
        for _ in range(3000):
            if rng.uniform() < truth:
                level = 5.0 * rng.normal(size=2)
            rows.append(level + rng.normal(size=2))
        filtered = run(MultivariateRunLength(2, hazards=hazards, max_run=128), rows)
        probabilities = filtered.hazard_posterior()[1]
        assert probabilities.sum() == pytest.approx(1.0, abs=1e-13)
        assert truth / 2.0 < filtered.expected_hazard() < truth * 2.0
        assert probabilities[np.abs(np.log(hazards / truth)) > math.log(4.0)].sum() < 0.01


@given(
    st.integers(1, 3),
    st.integers(0, 10**6),
    st.sampled_from([1e-100, 1.0, 1e100]),
    st.sampled_from([0.0, 1e4]),
    st.sampled_from([math.inf, 8.0]),
)
@settings(max_examples=25)
def test_posterior_does_not_depend_on_units_origin_or_basis(d, seed, unit, origin, outlier_df):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0] * rng.uniform(0.1, 10.0, size=d)
    x = vectors(200, d)
    moved = unit * (x @ turn.T + origin)
    plain = run(MultivariateRunLength(d, hazards=[0.01, 0.1], outlier_df=outlier_df), x)
    other = run(MultivariateRunLength(d, hazards=[0.01, 0.1], outlier_df=outlier_df), moved)
    assert distance(plain.posterior()[1], other.posterior()[1]) < 1e-8
    np.testing.assert_allclose(plain.hazard_posterior()[1], other.hazard_posterior()[1], rtol=1e-7)
    mean = unit * (turn @ plain.segment_mean() + origin)
    np.testing.assert_allclose(other.segment_mean(), mean, rtol=1e-6, atol=1e-9 * unit)
    if unit == 1.0:
        covariance = turn @ plain.segment_covariance() @ turn.T
        np.testing.assert_allclose(other.segment_covariance(), covariance, rtol=1e-6, atol=1e-8)


@given(st.integers(0, 90), st.integers(2, 30), st.lists(st.floats(0.001, 0.5), min_size=1, max_size=3))
def test_probabilities_sum_to_one_and_a_run_of_length_zero_has_the_expected_hazard(count, max_run, hazards):
    filtered = run(MultivariateRunLength(3, hazards=hazards, max_run=max_run, warmup=10), vectors()[:count])
    lengths, probabilities = filtered.posterior()
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-13)
    assert (probabilities >= 0.0).all()
    assert lengths[-1] <= max_run
    assert filtered.probability_at_most(max_run) == pytest.approx(float(filtered.detecting()), abs=1e-13)
    if filtered.detecting():
        assert filtered.probability_at_most(0) == pytest.approx(filtered.expected_hazard(), rel=1e-12)


def test_candidates_that_are_equal_are_one_hazard():
    x = vectors()
    one = run(MultivariateRunLength(3, hazards=[0.02], max_run=40), x)
    three = run(MultivariateRunLength(3, hazards=[0.02] * 3, hazard_weights=[1, 2, 5], max_run=40), x)
    assert distance(one.posterior()[1], three.posterior()[1]) < 1e-13
    np.testing.assert_allclose(three.hazard_posterior()[1], [0.125, 0.25, 0.625], rtol=1e-12)
    assert three.log_evidence() == pytest.approx(one.log_evidence(), rel=1e-13)


def test_a_hazard_that_the_data_rule_out_leaves_the_other_alone():
    x = np.random.default_rng(6).normal(size=(1500, 2))
    both = run(MultivariateRunLength(2, hazards=[0.001, 0.9], max_run=64, warmup=0), x)
    likely, unlikely = (
        run(MultivariateRunLength(2, hazards=[h], max_run=64, warmup=0), x) for h in (0.001, 0.9)
    )
    assert unlikely.log_evidence() < likely.log_evidence() - 800.0
    assert both.log_evidence() == pytest.approx(likely.log_evidence() + math.log(0.5), rel=1e-12)
    assert distance(both.posterior()[1], likely.posterior()[1]) < 1e-13
    assert both.hazard_posterior()[1][1] < 1e-300


def test_warm_up_says_nothing_about_changes():
    filtered = MultivariateRunLength(3, hazards=[0.01, 0.1], hazard_weights=[3, 1], warmup=30)
    assert filtered.map_run_length() == 0
    assert filtered.effective_sample_size() == 0.0
    assert filtered.survivor_weights(4).tolist() == [0.0] * 4
    assert np.isnan(filtered.segment_mean()).all()
    x = vectors()[:29]
    run(filtered, x)
    assert not filtered.detecting()
    assert filtered.probability_at_most(20) == 0.0
    assert filtered.posterior()[0].tolist() == [29]
    assert filtered.map_run_length() == filtered.observations() == 29
    assert filtered.expected_run_length() == 29.0
    assert filtered.effective_sample_size() == pytest.approx(29.0)
    assert filtered.expected_hazard() == pytest.approx(0.75 * 0.01 + 0.25 * 0.1)
    assert filtered.log_evidence() == 0.0
    np.testing.assert_allclose(filtered.segment_mean(), x.mean(axis=0))
    np.testing.assert_allclose(filtered.segment_covariance(), np.cov(x.T))
    np.testing.assert_allclose(filtered.survivor_weights(40)[:29], 1 / 29)


def test_detection_begins_with_the_warm_up_as_the_first_segment():
    x = vectors()
    filtered = run(MultivariateRunLength(3, hazards=[0.01, 0.1]), x[:60])
    assert filtered.detecting()
    assert filtered.observations() == 60
    assert filtered.log_evidence() == 0.0
    fixed = MultivariateRunLength(
        3, hazards=[0.01, 0.1], warmup=0, location=x[:60].mean(axis=0), scale=np.cov(x[:60].T)
    )
    np.testing.assert_allclose(fixed.segment_covariance(), np.cov(x[:60].T))
    np.testing.assert_allclose(fixed.segment_mean(), x[:60].mean(axis=0))
    before = run(fixed, x[:60]).log_evidence()
    run(filtered, x[60:100])
    run(fixed, x[60:100])
    np.testing.assert_allclose(filtered.posterior()[1], fixed.posterior()[1], rtol=1e-9)
    assert filtered.log_evidence() == pytest.approx(fixed.log_evidence() - before, rel=1e-11)


@pytest.mark.parametrize("singular", ["constant", "duplicate", "combination"])
def test_a_singular_covariance_stays_in_the_warm_up_until_it_is_regular(singular):
    x = vectors()
    x[:100, 2] = {"constant": 0.1, "duplicate": x[:100, 0], "combination": x[:100, 0] - 2.0 * x[:100, 1]}[
        singular
    ]
    filtered = run(MultivariateRunLength(3, hazards=[0.01], warmup=20), x[:100])
    assert not filtered.detecting()
    assert filtered.map_run_length() == 100
    run(filtered, x[100:101])
    assert filtered.detecting()
    assert filtered.observations() == 101
    assert filtered.posterior()[0][-1] == 20
    late = run(MultivariateRunLength(3, hazards=[0.01], warmup=20), x[81:101])
    run(filtered, x[101:150])
    run(late, x[101:150])
    np.testing.assert_allclose(filtered.posterior()[1], late.posterior()[1], rtol=1e-12)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [20, 100])
def test_an_observation_with_a_gap_leaves_the_state_untouched(missing, at):
    filtered, other = (run(MultivariateRunLength(3, hazards=[0.01]), vectors()[:at]) for _ in range(2))
    filtered.update([0.1, missing, 0.2])
    assert_same_bits(filtered, other)


@pytest.mark.parametrize("at", [0, 1, 30, 59, 60, 61, 100, 200])
@pytest.mark.parametrize(("hazards", "outlier_df"), [([0.01], math.inf), ([0.01, 0.05, 0.2], 8.0)])
def test_a_restored_filter_goes_on_with_the_same_bits(at, hazards, outlier_df):
    x = vectors(400)
    x[::7, 2] = np.nan
    x[180:190] += 1000.0
    filtered = MultivariateRunLength(3, hazards=hazards, max_run=50, outlier_df=outlier_df)
    run(filtered, x[:at])
    restored = MultivariateRunLength.from_state(filtered.state())
    assert_same_bits(filtered, restored)
    run(filtered, x[at:])
    run(restored, x[at:])
    assert_same_bits(filtered, restored)


def test_state_is_a_copy_and_holds_a_fixed_prior():
    filtered = MultivariateRunLength(2, hazards=[0.1, 0.3], warmup=0, location=[2.0, 3.0], scale=SCALE)
    run(filtered, vectors(20, 2))
    state = filtered.state()
    before = {name: array.copy() for name, array in state.items()}
    assert_same_bits(filtered, MultivariateRunLength.from_state(state))
    run(filtered, vectors(20, 2))
    assert all(np.array_equal(before[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"dimension": 0}, "dimension"),
        ({"dimension": 11}, "dimension"),
        ({"hazards": []}, "hazards"),
        ({"hazards": [0.1, 1.0]}, "hazards"),
        ({"hazards": [math.nan]}, "hazards"),
        ({"hazard_weights": [1.0, 1.0]}, "hazard_weights"),
        ({"hazard_weights": [0.0]}, "hazard_weights"),
        ({"max_run": 1}, "max_run"),
        ({"warmup": 2}, "warmup"),
        ({"prior_strength": 0.0}, "prior_strength"),
        ({"prior_degrees": 1.0}, "prior_degrees"),
        ({"outlier_df": 0.0}, "outlier_df"),
        ({"location": [0.0, 0.0]}, "warm-up"),
        ({"warmup": 0, "location": [0.0]}, "location"),
        ({"warmup": 0, "location": [0.0, math.inf]}, "location"),
        ({"warmup": 0, "scale": [1.0, 1.0]}, "scale"),
        ({"warmup": 0, "scale": [[1.0, 0.5], [0.4, 1.0]]}, "symmetric"),
        ({"warmup": 0, "scale": [[1.0, 1.0], [1.0, 1.0]]}, "definite"),
    ],
)
def test_what_is_out_of_range_is_named(change, word):
    arguments = {"dimension": 2, "hazards": [0.01]} | change
    with pytest.raises(ValueError, match=word):
        MultivariateRunLength(arguments.pop("dimension"), **arguments)


def test_what_does_not_fit_takes_nothing():
    filtered, other = (run(MultivariateRunLength(3, hazards=[0.01]), vectors()[:80]) for _ in range(2))
    for x in ([1.0, 2.0], 1.0, [[1.0, 2.0, 3.0]]):
        with pytest.raises(ValueError, match="shape"):
            filtered.update(x)
    with pytest.raises(ValueError, match="negative"):
        filtered.probability_at_most(-1)
    with pytest.raises(ValueError, match="length"):
        filtered.survivor_weights(0)
    assert_same_bits(filtered, other)
    for name in ("settings", "hazards", "runs", "recent"):
        broken = filtered.state()
        broken[name] = broken[name][:-1]
        with pytest.raises(ValueError, match=name):
            MultivariateRunLength.from_state(broken)


@pytest.mark.parametrize("outlier_df", [math.inf, 8.0])
def test_many_dimensions_and_many_mergers_leave_one_long_segment_alone(outlier_df):
    # the run that reaches the cap may have a share of nothing in the merger, to the last bit
    posterior = MultivariateRunLength(10, hazards=(1 / 250,), warmup=0, max_run=59, outlier_df=outlier_df)
    for x in np.random.default_rng(0).normal(size=(300, 10)):
        posterior.update(x)
    assert posterior.map_run_length() == 59
    assert posterior.probability_at_most(20) < 0.02
    assert np.isfinite(posterior.segment_covariance()).all()


@pytest.mark.parametrize("bars", [0, 1, 5, 30, 31, 90, 200])
@pytest.mark.parametrize("dimension", [1, 3])
def test_one_reading_is_all_that_is_read_apart(bars, dimension):
    rng = np.random.default_rng(bars)
    settings = {"hazards": (0.01, 0.04), "max_run": 60, "warmup": 30, "outlier_df": 8.0}
    found = MultivariateRunLength(dimension, **settings)
    for row in rng.standard_t(5, (bars, dimension)) * np.where(np.arange(bars) < 120, 1.0, 3.0)[:, None]:
        found.update(row)
    for k, length in ((0, 1), (10, 25), (59, 60), (80, 200)):
        reading = found.read(k, length)
        assert reading.probability_at_most == found.probability_at_most(k)
        assert reading.map_run_length == found.map_run_length()
        assert reading.expected_run_length == pytest.approx(found.expected_run_length(), rel=1e-13)
        omega = found.survivor_weights(length)
        np.testing.assert_allclose(reading.survivor_weights, omega, rtol=1e-13)
        size = 1.0 / (omega @ omega) if bars else 0.0
        assert reading.effective_sample_size == pytest.approx(size, rel=1e-12)
        variance = found.segment_covariance()[0, 0]
        assert reading.first_variance == pytest.approx(variance, rel=1e-12, nan_ok=True)


def test_a_reading_of_no_weights_or_of_a_negative_length_is_refused():
    found = MultivariateRunLength(1, hazards=(0.01,))
    for k, length in ((-1, 5), (5, 0)):
        with pytest.raises(ValueError, match="k must not"):
            found.read(k, length)
