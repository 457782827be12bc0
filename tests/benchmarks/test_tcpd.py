"""The published figures of the Turing benchmark, and that the project's own default is better."""

import numpy as np
import pytest

from benchmarks import tcpd
from benchmarks.ocp import ocp_changes


@pytest.fixture(scope="module")
def series(shared):
    return tcpd.load(shared / "data" / "tcpd")


@pytest.mark.parametrize(
    ("name", "f1", "cover"),
    [
        ("nile", "1.000", "0.888"),
        ("usd_isk", "0.609", "0.672"),
        ("run_log", "1.000", "0.815"),
        ("well_log", "0.796", "0.776"),
    ],
)
def test_default_bocpd_of_the_benchmark_gives_the_published_figures(series, name, f1, cover):
    found = tcpd.scores(ocp_changes, {name: series[name]})[0]
    assert (f"{found[0]:.3f}", f"{found[1]:.3f}") == (f1, cover)


def test_own_default_is_better_than_the_benchmarks_and_than_nothing_in_both_metrics(series):
    own = tcpd.scores(tcpd.own, series).mean(axis=0)
    for other in (ocp_changes, tcpd.nothing):
        assert (own[:2] > tcpd.scores(other, series).mean(axis=0)[:2] + 0.05).all()


def test_settings_chosen_without_a_series_are_better_on_it_too(series):
    table = np.array([tcpd.scores(tcpd.setting(*key), series) for key in tcpd.grid() if key[2] != 1.5])
    ocp = tcpd.scores(ocp_changes, series).mean(axis=0)
    assert (tcpd.left_out(table).mean(axis=0)[:2] > ocp[:2] + 0.05).all()
