"""Every benchmark runs, and its last line is one JSON object with the keys that were promised."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "bocpd": (
        "tv_vs_mpmath ns_per_observation_r256 floor_ratio_r256 speedup_vs_fast_bocpd panel500_us_exact "
        "panel500_us_loggrid panel500_floor_ratio loggrid_error_mean loggrid_error_max growth_1e3_to_1e6"
    ),
    "detection": (
        "arl0_t4 arl0_outliers delay_ratio_1s delay_ratio_2s delay_ratio_vol15 delay_ratio_vol2 "
        "delay_ratio_half cost_ratio"
    ),
    "covariance": "regret_mean regret_std regret_max update_500_ms",
    "allocator": (
        "n100_ms n500_ms n2000_ms speedup_osqp_n500 speedup_piqp_n500 speedup_skfolio_n100 "
        "speedup_cvxportfolio_n100 worst_violation worst_gap robust_n100_ms robust_n500_ms "
        "robust_gap_vs_cone newton_share"
    ),
    "engine": "compiled_50_us bar_50_us decision_50_us asset_ticks_per_s_50 asset_ticks_per_s_500",
    "calibration": (
        "decisions covered promised losses_covered decisions_p_value bars_p_value degrees_of_freedom "
        "transform_distance transform_deviation crps_ratio_rolling crps_ratio_expanding penalty_bp sharpe "
        "deflated_100"
    ),
    "growth": "n476_mean_s n476_max_s bracket_ok",
    "walkforward": (
        "seconds_20_assets_33_years seconds_500_assets_10_years bars_per_second_20 bars_per_second_500"
    ),
    "tcpd": "default_f1 default_cover own_f1 own_cover zero_f1 zero_cover",
}
#: Null where the peer is not installed.
OF_PEERS = {
    "speedup_vs_fast_bocpd",
    "speedup_piqp_n500",
    "speedup_skfolio_n100",
    "speedup_cvxportfolio_n100",
}


@pytest.mark.parametrize("name", KEYS)
def test_a_quick_run_ends_with_its_figures(name, request):
    if name in ("covariance", "tcpd"):
        request.getfixturevalue("shared")  # the recorded series
    run = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick"],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout.splitlines()[-1])
    assert list(figures) == KEYS[name].split()
    for key, value in figures.items():
        assert (value is None and key in OF_PEERS) or value > 0.0, key
    if name == "bocpd":
        assert figures["tv_vs_mpmath"] < 1e-12
    if name == "allocator":
        assert figures["worst_violation"] <= 1e-12
        assert figures["worst_gap"] <= 1e-9
        assert figures["robust_gap_vs_cone"] <= 1e-9
