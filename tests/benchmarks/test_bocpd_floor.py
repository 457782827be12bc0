"""The floor of the posterior's benchmark does the arithmetic that it says, and stores it."""

import numpy as np

from benchmarks.bocpd import R, floor_state, floor_stream, floor_tick


def test_floor_does_the_multiplications_of_every_run_and_stores_them():
    rng = np.random.default_rng(0)
    runs, tables = floor_state(3)
    runs[:], tables[:] = rng.random(runs.shape), rng.random(tables.shape)
    mean, rate, anchor = runs[:, 0].copy(), runs[:, 1].copy(), runs[:, 2].copy()
    values = rng.normal(size=3)
    floor_tick(values, runs, tables)
    gain, half, precision, normaliser, shape = tables[:, :R]
    after, mean, rate, anchor = runs[..., :R], mean[:, :R], rate[:, :R], anchor[:, :R]
    d = values[:, None] - mean
    np.testing.assert_allclose(after[:, 0], mean + gain * d, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(after[:, 1], rate + half * d * d, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(after[:, 2], anchor)
    level = normaliser - shape * precision * (rate + half * d * d) + anchor - 0.5
    np.testing.assert_allclose(after[:, 3], level, rtol=1e-12, atol=1e-14)


def test_floor_of_a_stream_takes_its_observations_one_after_another():
    rng = np.random.default_rng(1)
    (stream, tables), (ticks, _) = floor_state(1), floor_state(1)
    values = rng.normal(size=20)
    floor_stream(values, stream, tables)
    for z in values:
        floor_tick(np.array([z]), ticks, tables)
    assert stream.tobytes() == ticks.tobytes()
