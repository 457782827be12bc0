"""The command says what was kept, repeats, and ends with 1 where a bound is broken."""

import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from stream_allocator.backtest import stress_report
from stream_allocator.backtest.bounds import Bound
from stream_allocator.backtest.stress_report import run_stress, stress_tables
from stream_allocator.cli import app
from stream_allocator.errors import ConfigurationError
from stream_allocator.shipped import shipped_policy


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    out = tmp_path_factory.mktemp("stress") / "new" / "report.json"
    found = run_stress(None, ["flash-crash"], 3, out, quiet=True)
    assert json.loads(out.read_text("utf-8")) == found
    return found


def test_the_report_names_what_repeats_it(report):
    assert report["passed"] is True
    assert report["command"] == "stream-allocator stress --scenario flash-crash --seed 3"
    assert run_stress(shipped_policy(), ["flash-crash"], 3, quiet=True)["scenarios"] == report["scenarios"]


def test_the_report_has_each_bound_with_its_reason(report):
    (one,) = report["scenarios"]
    assert len(one["bounds"]) >= 17
    assert all(b["why"] and b["holds"] for b in one["bounds"])
    assert len(one["switches"]) == one["transitions"]["switches"]
    assert report["worst_transition_share_of_budget"] <= 1.0 + 1e-9


def shown(report, **kwargs):
    console = Console(width=130, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for part in stress_tables(report, **kwargs):
        console.print(part)
    return console.export_text()


def test_the_table_shows_what_broke_and_all_bounds_where_one_scenario_is_asked_for(report):
    assert "1 scenarios, every bound kept" in shown(report)
    assert "✓" not in shown(report)
    assert shown(report, full=True).count("✓") == len(report["scenarios"][0]["bounds"])


def test_a_broken_bound_is_shown_and_ends_with_exit_code_1(monkeypatch):
    bad = Bound("turnover of any stretch", 1.5, 1.0, "the law")
    monkeypatch.setattr(stress_report, "judge", lambda replayed: (bad,))
    result = CliRunner().invoke(app, ["stress", "--scenario", "flash-crash"])
    assert result.exit_code == 1
    assert "Regime switches" in result.output
    assert "✗ turnover of any stretch 1.5 <= 1 (the law)" in result.output
    assert "1 of 1 scenarios broke a bound" in result.output


def test_an_unknown_scenario_is_told_the_known_ones():
    with pytest.raises(ConfigurationError, match="gap-1929: there is none; choose among gap-1987, "):
        run_stress(None, ["gap-1929"])
