"""The report is one page that needs nothing else, repeats, and says what the run says."""

import html.parser
import json
import re

import numpy as np
import pytest
import worlds
import yaml
from rich.console import Console
from walks import prices, walk

from stream_allocator.backtest.account import Delisting
from stream_allocator.backtest.command import Terms, run_backtest, universe_for
from stream_allocator.backtest.prices import load_prices
from stream_allocator.backtest.report import Origin, render, verdict, write_report
from stream_allocator.backtest.summary import summarise
from stream_allocator.backtest.text import table
from stream_allocator.errors import ConfigurationError, DataError

ORIGIN = Origin("A <b>title</b>", "made up", "d" * 64, "By hand.", "make demo")
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(html.parser.HTMLParser):
    """Checks nesting, gathers ids and what would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.fetched, self.labels, self.charts = [], [], [], [], 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in attrs:
            self.ids.append(attrs["id"])
        self.fetched += [
            v for k, v in attrs.items() if k in {"src", "href", "xlink:href"} and not v.startswith("#")
        ]
        if tag in {"script", "link", "iframe", "img"}:
            self.fetched.append(tag)
        if attrs.get("role") == "img":
            self.labels.append(attrs["aria-label"])
        self.charts += tag == "svg"

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run():
    return walk(prices(worlds.returns(420, shift=200)))


@pytest.fixture(scope="module")
def summary(run):
    return summarise(run, run.portfolios[0])


@pytest.fixture(scope="module")
def page(run, summary):
    return render(run, run.portfolios[0], summary, ORIGIN)


def test_the_page_fetches_nothing_and_is_well_formed(page):
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.fetched == []
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert len(page) < 3_000_000


def test_ids_are_unique_and_every_reference_has_its_target(page):
    parsed = Page(page)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', page)) <= set(parsed.ids)


def test_every_picture_is_described_in_words(page):
    parsed = Page(page)
    assert parsed.charts == len(parsed.labels) == 6
    assert all(len(label) > 30 for label in parsed.labels)


def test_the_same_run_gives_the_same_page(run, summary, page, tmp_path):
    write_report(tmp_path / "new" / "report.html", run, run.portfolios[0], summary, ORIGIN)
    assert (tmp_path / "new" / "report.html").read_text("utf-8") == page


def test_names_cannot_break_the_page(page):
    assert "A &lt;b&gt;title&lt;/b&gt;" in page


def test_pictures_take_their_colours_from_the_page(page):
    used = set(re.findall(r"var\((--[a-z0-9-]+)\)", page))
    assert used <= set(re.findall(r"(--[a-z0-9-]+):", page))
    charts = page[page.index("<svg") :]
    assert not re.search(r"(?:fill|stroke): #0[0-9a-f]0", charts)


def test_the_page_shows_the_numbers_of_the_summary(page, run, summary):
    assert verdict(summary) in page.replace("&#39;", "'")
    for row in summary.rows:
        assert f"{row.metrics.sharpe:.2f}" in page
        assert f"{row.metrics.max_drawdown:.1%}" in page
    last = run.portfolios[0].decisions[-1]
    assert last.decision_id in page
    assert last.policy_digest in page
    assert run.chain in page


def test_all_paths_start_together_at_the_first_decision(run, summary):
    first = run.portfolios[0].decisions[0].event_time
    assert summary.times[0] == first
    assert {len(row.path.wealth) for row in summary.rows} == {len(summary.times)}
    assert all(row.path.wealth[0] == 1.0 for row in summary.rows)


def test_counts_add_up(run, summary):
    assert sum(summary.triggers.values()) == summary.decisions == len(run.portfolios[0].decisions)
    assert sum(summary.rungs.values()) == summary.decisions
    assert sum(summary.time_in.values()) == pytest.approx(1.0)
    assert json.loads(json.dumps(summary.as_json()))["decisions"] == summary.decisions


def test_the_verdict_does_not_flatter(run, summary):
    text = verdict(summary)
    own, other = summary.allocator.metrics, summary.reference.metrics
    assert ("a higher Sharpe" in text) == (round(own.sharpe, 2) > round(other.sharpe, 2))
    assert ("a lower Sharpe" in text) == (round(own.sharpe, 2) < round(other.sharpe, 2))
    assert ("less turnover" in text) == (round(own.turnover, 2) < round(other.turnover, 2))
    assert other.sharpe == max(row.metrics.sharpe for row in summary.baselines)


def test_a_run_without_decisions_cannot_be_summarised():
    run = walk(prices(worlds.returns(10)))
    with pytest.raises(DataError, match="warmup"):
        summarise(run, run.portfolios[0])


def test_the_terminal_table_has_a_line_for_each_portfolio(summary):
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(summary))
    text = console.export_text()
    assert all(row.name in text for row in summary.rows)


def write_inputs(folder):
    rows = ["date,AAA,BBB,CCC,DDD"]
    closes = np.vstack((np.ones(4), np.cumprod(1.0 + worlds.returns(80), axis=0)))
    for t, row in enumerate(closes):
        day = np.datetime64("2020-01-01") + t
        rows.append(f"{day},{','.join(repr(float(x)) for x in row)}")
    (folder / "prices.csv").write_text("\n".join(rows), "utf-8")
    (folder / "policy.yaml").write_text(yaml.safe_dump(worlds.policy().model_dump(mode="json")), "utf-8")
    return folder / "prices.csv", folder / "policy.yaml"


def test_the_backtest_command_writes_a_report_and_a_summary(tmp_path):
    prices_file, policy_file = write_inputs(tmp_path)
    report = tmp_path / "out" / "report.html"
    result = run_backtest(prices_file, policy_file, None, report, quiet=True)
    assert report.exists()
    assert result["bars"] == 80
    assert result["worst_trade_violation"] <= 1e-12
    again = run_backtest(prices_file, policy_file, None, report, quiet=True)
    assert again == result


def test_the_report_names_the_terms_that_are_not_the_usual_ones(tmp_path):
    prices_file, policy_file = write_inputs(tmp_path)
    report = tmp_path / "report.html"
    terms = Terms(nav=2e6, cost_bps=20.0, cash_yield="0.02", delisting=Delisting(30, -0.3))
    told = run_backtest(prices_file, policy_file, None, report, terms, quiet=True)
    assert len(told["interest_digest"]) == 64
    assert told["terms"]["nav"] == 2e6
    page = report.read_text("utf-8")
    assert (
        "--nav 2000000.0 --cost-bps 20.0 --cash-yield 0.02 --delisted-after 30 --delisting-return -0.3"
    ) in page
    assert "20 bp of the traded value · cash earned 1.98% a year" in page
    run_backtest(prices_file, policy_file, None, report, quiet=True)
    page = report.read_text("utf-8")
    assert f"--policy {policy_file}</pre>" in page
    assert "10 bp of the traded value · cash earns nothing" in page


def test_groups_come_from_the_topologys_universe(tmp_path, root):
    prices_file, _ = write_inputs(tmp_path)
    loaded = load_prices(prices_file)
    assert universe_for(loaded, None).assets == loaded.assets
    with pytest.raises(ConfigurationError, match="no universe whose assets"):
        universe_for(loaded, root / "topologies" / "demo.yaml")
