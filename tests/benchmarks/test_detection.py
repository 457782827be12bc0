"""The experiments of benchmarks.detection, in miniature."""

import numpy as np
import pytest

from benchmarks.detection import (
    BEFORE,
    CHANGES,
    HAZARD,
    QUIET,
    RECENT,
    WATCHED,
    Paths,
    Simulated,
    cost_ratio,
    figures,
    panel_detector,
)
from benchmarks.detection_figure import SHOWN, draw
from benchmarks.simulation import NOISES
from stream_allocator.regime import RunLengthPanel


def test_the_same_seed_draws_the_same_paths_and_another_seed_others():
    first, again, other = Paths.draw(1, 3, 10), Paths.draw(1, 3, 10), Paths.draw(2, 3, 10)
    for kind in NOISES:
        assert first.quiet[kind].shape == (BEFORE + 10, 3)
        assert np.array_equal(first.quiet[kind], again.quiet[kind])
        assert not np.array_equal(first.quiet[kind], other.quiet[kind])


def test_changes_share_their_noise_and_leave_what_came_before():
    paths = Paths.draw(1, 4, 1)
    base = paths.turning["t4", "volatility x2"]
    assert base.shape == (BEFORE + WATCHED, 4)
    for change, (shift, factor) in CHANGES.items():
        turned = paths.turning["t4", change]
        assert np.array_equal(turned[:BEFORE], base[:BEFORE])
        assert np.allclose(turned[BEFORE:], shift + factor * base[BEFORE:] / 2.0)


def test_a_detector_in_panels_is_one_panel(monkeypatch):
    x = np.random.default_rng(0).standard_normal((80, 5))
    monkeypatch.setattr("benchmarks.detection.PANEL", 2)
    found = panel_detector(8.0, 70)(x)
    panel = RunLengthPanel(5, hazard=HAZARD, max_run=70, warmup=0, location=0.0, scale=1.0, outlier_df=8.0)
    for row, expected in zip(x, found, strict=True):
        panel.update(row)
        assert np.array_equal(panel.probability_at_most(RECENT), expected)


def a_step_detector(values):
    """Alarms for good from the first observation above 2 on."""
    return np.where(np.maximum.accumulate(values > 2.0, axis=0), 0.9, 0.1)


def test_figures_of_a_detector_against_itself_have_ratio_one():
    paths = Paths.draw(3, 40, 60)
    model = Simulated.run(a_step_detector, paths)
    assert model.turning["gaussian", "shift 1 sigma"].shape == (QUIET + WATCHED, 40)
    found = figures(model, model, np.ones(40, bool))
    for change in CHANGES:
        ratio = found[f"ratio {change}"]
        assert ratio == 1.0 or np.isnan(ratio)
    assert found["arl0 robust t4"] == found["arl0 gaussian t4"]


def test_the_cost_ratio_is_of_two_positive_times():
    plain, weighted, ratio = cost_ratio(16, 4, 5)
    assert plain > 0.0
    assert ratio == pytest.approx(weighted / plain)


def test_the_figure_has_the_same_bytes_every_time(tmp_path):
    curves = {
        (kind, change): {name: ([100.0, 1000.0, 5000.0], [5.0, 10.0, 20.0]) for name in ("one", "two")}
        for kind in ("gaussian", "t4")
        for change in SHOWN
    }
    draw(curves, tmp_path / "a.svg")
    draw(curves, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "two" in (tmp_path / "a.svg").read_text("utf-8")
