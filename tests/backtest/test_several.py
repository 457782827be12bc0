"""Several policies at once decide what each decides alone, however many processes there are."""

import os
import subprocess
import sys

import numpy as np
import pytest
import worlds
import yaml
from typer.testing import CliRunner

from stream_allocator.backtest.command import run_backtest
from stream_allocator.backtest.metrics import metrics
from stream_allocator.backtest.several import run_backtests
from stream_allocator.cli import app
from stream_allocator.errors import ConfigurationError, DataError, StreamAllocatorError

BARS = 80
NAMES = ("calm", "bold", "late")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Prices and three policies; the third learns for longer."""
    here = tmp_path_factory.mktemp("several")
    closes = np.vstack((np.ones(4), np.cumprod(1.0 + worlds.returns(BARS), axis=0)))
    rows = ["date,AAA,BBB,CCC,DDD"]
    for t, row in enumerate(closes):
        rows.append(f"{np.datetime64('2020-01-01') + t},{','.join(repr(float(x)) for x in row)}")
    (here / "prices.csv").write_text("\n".join(rows), "utf-8")
    sections = {"calm": {"limits": {"upper": 0.1}}, "bold": {}, "late": {"regime": {"warmup": 40}}}
    for name, section in sections.items():
        policy = worlds.policy(**section).model_copy(update={"name": name})
        (here / f"{name}.yaml").write_text(yaml.safe_dump(policy.model_dump(mode="json")), "utf-8")
    return here


def files(folder, names=NAMES):
    return [folder / f"{name}.yaml" for name in names]


def together(folder, processes):
    report = folder / f"{processes}" / "report.html"
    return run_backtests(folder / "prices.csv", files(folder), None, report, processes=processes, quiet=True)


@pytest.fixture(scope="module")
def found(folder):
    return together(folder, 2)


def told(summary):
    """All but where the report lies."""
    return {key: value for key, value in summary.items() if key != "report"}


def test_each_decides_what_it_decides_alone(folder, found):
    for name in NAMES:
        alone = run_backtest(
            folder / "prices.csv", folder / f"{name}.yaml", None, folder / "alone.html", quiet=True
        )
        assert told(found["policies"][name]) == told(alone)
        report = folder / "2" / f"report-{name}.html"
        assert report.read_text("utf-8") == (folder / "alone.html").read_text("utf-8")


def test_the_summary_tells_its_terms_and_the_digest_of_what_cash_earned(folder, found):
    told = found["policies"]["calm"]
    assert told["terms"]["cost_bps"] == 10.0
    assert told["terms"]["delisting"] == {"after": 21, "final_return": 0.0}
    assert told["interest_digest"] is None


def test_the_number_of_processes_changes_nothing(folder, found):
    one = together(folder, 1)
    assert one["comparison"] == found["comparison"]
    assert [told(s) for s in one["policies"].values()] == [told(s) for s in found["policies"].values()]


def test_they_are_compared_over_the_same_bars(folder, found):
    compared = found["comparison"]
    assert list(compared["portfolios"])[:3] == list(NAMES)
    assert compared["since"] == "2020-02-10"  # the 40th return, where the last of them begins
    late = found["policies"]["late"]["portfolios"]
    for name, row in compared["portfolios"].items():
        if name not in ("calm", "bold"):
            assert row == late["core" if name == "late" else name]
    bold = found["policies"]["bold"]["portfolios"]["core"]
    assert compared["portfolios"]["bold"]["annual_return"] != bold["annual_return"]


def test_a_later_start_gives_the_metrics_of_the_rest_of_the_path(folder, found):
    from walks import walk

    from stream_allocator.backtest.prices import load_prices

    run = walk(load_prices(folder / "prices.csv"))  # the policy called bold
    nav, traded = run.portfolios[0].nav[39:], run.portfolios[0].traded[39:]
    expected = metrics(nav / nav[0], traded)
    row = found["comparison"]["portfolios"]["bold"]
    assert row["sharpe"] == pytest.approx(expected.sharpe, rel=1e-12)
    assert row["max_drawdown"] == pytest.approx(expected.max_drawdown, rel=1e-12)
    assert row["turnover"] == pytest.approx(expected.turnover, rel=1e-12)


def test_two_policies_of_one_name_are_refused_before_anything_runs(folder):
    with pytest.raises(ConfigurationError, match=r"calm\.yaml: another policy is named calm"):
        run_backtests(
            folder / "prices.csv", files(folder, ("calm", "calm")), None, folder / "r.html", quiet=True
        )


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--cash-yield", "-2", "--cash-yield -2: must be above -1"),
        ("--cost-bps", "-1", "Invalid value for '--cost-bps'"),
        ("--nav", "0", "Invalid value for '--nav'"),
        ("--delisting-return", "inf", "final_return must be finite"),
        ("--delisting-return", "-1.5", "Invalid value for '--delisting-return'"),
        ("--delisted-after", "0", "Invalid value for '--delisted-after'"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, option, value, said):
    arguments = ["backtest", str(folder / "prices.csv"), "--policy", str(folder / "calm.yaml"), option, value]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert result.exit_code != 0
    assert said in f"{result.output} {result.exception}"


def test_a_backtest_that_fails_names_its_policy(folder, tmp_path):
    short = tmp_path / "short.csv"
    lines = (folder / "prices.csv").read_text("utf-8").splitlines()
    short.write_text("\n".join(lines[:35]), "utf-8")
    with pytest.raises(DataError, match=r"late\.yaml: .*no decision in 33 bars"):
        run_backtests(
            short, files(folder, ("bold", "late")), None, tmp_path / "r.html", processes=1, quiet=True
        )


def test_a_process_that_dies_is_an_error_and_no_traceback(folder, tmp_path, monkeypatch):
    from stream_allocator.backtest import several

    monkeypatch.setattr(several, "_run", _die)
    with pytest.raises(StreamAllocatorError, match="run fewer at once"):
        run_backtests(
            folder / "prices.csv", files(folder), None, tmp_path / "r.html", processes=1, quiet=True
        )


def _die(_backtest):
    os._exit(9)


def test_the_command_line_takes_many_policies_and_tells_all(folder, tmp_path):
    command = [sys.executable, "-m", "stream_allocator.cli", "backtest", str(folder / "prices.csv")]
    for file in files(folder, ("calm", "bold")):
        command += ["--policy", str(file)]
    settings = ["--cash-yield", "0.02", "--report", str(tmp_path / "r.html"), "--processes", "2"]
    text = subprocess.run([*command, *settings], capture_output=True, text=True, check=True).stdout
    for word in ("calm", "bold", "1/N", "r-calm.html", "160 bars"):
        assert word in text
    page = (tmp_path / "r-bold.html").read_text("utf-8")
    assert "cash earned 1.98% a year" in page
    assert "--cash-yield 0.02" in page
