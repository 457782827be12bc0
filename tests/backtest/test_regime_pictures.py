"""The pictures show the posterior that the engine had, and repeat to the byte."""

import dataclasses
import io
import json
import xml.etree.ElementTree as ET
from datetime import datetime

import numpy as np
import pytest
import worlds
import yaml
from rich.console import Console
from typer.testing import CliRunner
from walks import prices

from stream_allocator.backtest.prices import Prices
from stream_allocator.backtest.regime_command import run_regimes
from stream_allocator.backtest.regime_pictures import Event, draw
from stream_allocator.backtest.regime_record import regime_record
from stream_allocator.backtest.regime_summary import births, summarise_regimes, tables
from stream_allocator.backtest.walkforward import walk_forward
from stream_allocator.cli import app
from stream_allocator.errors import ConfigurationError, DataError

BARS, SHIFT = 260, 130
WARMUP = 20
POLICY = worlds.policy(regime={"horizon": 30, "cooldown": 31})


def returns():
    """A storm of 60 bars; one asset enters late, one misses bars, and one bar is missing altogether."""
    x = worlds.returns(BARS, seed=3, shift=SHIFT)
    x[SHIFT + 60 :] /= 4.0
    x[:50, 3] = np.nan
    x[100:104, 1] = np.nan
    x[110] = np.nan
    return x


def history(x):
    made = prices(np.where(np.isfinite(x), x, 0.0))
    closes = made.closes.copy()
    closes[1:][~np.isfinite(x)] = np.nan
    closes[0, 3] = np.nan
    return Prices(made.source, made.assets, made.times, closes)


@pytest.fixture(scope="module")
def run():
    return walk_forward(history(returns()), worlds.universe(), {"core": POLICY})


@pytest.fixture(scope="module")
def record(run):
    return regime_record(run, 0, BARS)


def test_the_posterior_is_the_one_that_the_engine_published(run, record):
    horizon = POLICY.regime.horizon
    total = record.probabilities[:, : horizon + 1].sum(axis=1)
    np.testing.assert_allclose(total[WARMUP:], run.regimes.switch_probability[WARMUP:], rtol=0, atol=1e-13)
    np.testing.assert_allclose(record.probabilities.sum(axis=1), 1.0, rtol=0, atol=1e-12)


def test_the_most_probable_run_length_is_where_the_posterior_is_highest(record):
    seen = record.probabilities[:, 1:]  # r = 0 has the hazard's probability whatever was seen
    held = seen[np.arange(BARS), record.map_run_length - 1]
    np.testing.assert_array_equal(held, seen.max(axis=1))


@pytest.mark.parametrize(
    ("field", "value", "bar"),
    [
        ("switch_probability", 0.123, WARMUP + 5),
        ("switch_probability", 0.123, BARS - 1),
        ("segment_volatility", 9.0, WARMUP + 5),
    ],
)
def test_a_run_of_another_release_is_refused(run, field, value, bar):
    changed = getattr(run.regimes, field).copy()
    changed[bar:] = value
    other = dataclasses.replace(run, regimes=dataclasses.replace(run.regimes, **{field: changed}))
    with pytest.raises(DataError, match=r"bar \d+: .*another release"):
        regime_record(other, 0, BARS)


def test_a_part_of_the_bars_is_cut_from_the_whole(run, record):
    part = regime_record(run, 120, 200)
    np.testing.assert_array_equal(part.probabilities, record.probabilities[120:200])
    np.testing.assert_array_equal(part.map_run_length, record.map_run_length[120:200])
    assert part.switches == tuple(s for s in record.switches if 120 <= s.bar < 200)


def test_every_switch_of_the_run_is_told_with_its_cause_and_its_decision(run, record):
    rule = run.portfolios[0].policy.regime
    assert [s.bar for s in record.switches] == np.flatnonzero(run.regimes.switched).tolist()
    assert {s.cause for s in record.switches} == {"alarm", "label"}
    for s in record.switches:
        lately = run.regimes.switch_probability[s.bar - rule.dwell + 1 : s.bar + 1]
        if s.cause == "alarm":
            assert (lately >= rule.threshold).all()
        else:
            assert s.before != s.after
        assert s.after == run.regimes.label[s.bar]
        assert s.decision is not None
        assert s.decision.trigger == "regime_switch"
        assert s.decision.event_time == s.event_time == run.times[s.bar]


def test_the_storm_is_seen_as_one(run, record):
    first = next(s for s in record.switches if s.bar >= SHIFT)
    assert first.bar - SHIFT < 10
    assert abs(first.bar - first.map_run_length + 1 - SHIFT) <= 2


@pytest.fixture(scope="module")
def picture(run, record):
    return draw(record, [Event(int(run.times[SHIFT]), "storm & <thunder>")])


def test_the_picture_is_the_same_bytes_again(run, picture):
    event = Event(int(run.times[SHIFT]), "storm & <thunder>")
    assert draw(regime_record(run, 0, BARS), [event]) == picture
    assert len(picture.encode()) < 300_000


def test_the_picture_is_whole_and_carries_no_clock(picture):
    text = " ".join(
        "".join(x.itertext()) for x in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    )
    assert "storm & <thunder>" in text
    for title in (
        "Run length",
        "P(run length ≤ 30)",
        "Volatility",
        "Label",
        "Invested share",
        "regime switch: ",
    ):
        assert title in text
    assert f"≥ {POLICY.regime.max_run}" in text
    assert picture.count("data:image/png;base64") >= 1
    assert "<dc:date>" not in picture
    assert str(datetime.now().year) not in text


@pytest.mark.parametrize(("first", "stop"), [(0, 5), (BARS - 1, BARS), (30, 90)])
def test_any_bars_can_be_drawn(run, first, stop):
    part = regime_record(run, first, stop)
    ET.fromstring(draw(part))
    summary = summarise_regimes(part, [Event(int(run.times[first]), "now")])
    assert summary["bars"] == stop - first
    json.dumps(summary, allow_nan=False)


def test_an_event_is_followed_by_the_first_switch_after_it(run, record):
    found = summarise_regimes(
        record, [Event(int(run.times[SHIFT]), "storm"), Event(int(run.times[-1]), "end")]
    )
    storm, end = found["events"]
    switch = next(s for s in record.switches if s.bar >= SHIFT)
    assert storm["switch_after"] == switch.bar - SHIFT
    assert storm["invested_before"] == run.portfolios[0].held[SHIFT - 1].sum()
    assert end["switch_after"] is None


def test_the_months_of_birth_share_the_posterior(record):
    for bar in (WARMUP, SHIFT, BARS - 1):
        found = births(record, bar)
        assert 0.9 < sum(found.values()) <= 1.0
        assert list(found.values()) == sorted(found.values(), reverse=True)
    storm = next(s for s in record.switches if s.bar >= SHIFT)
    assert next(iter(births(record, storm.bar))) == "1970-05"  # bar 130 is 12 May 1970


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regimes")
    made = history(returns())
    days = np.datetime64("2001-01-01") + np.arange(len(made.times))
    rows = [
        ",".join([str(d), *("" if np.isnan(c) else repr(float(c)) for c in row)])
        for d, row in zip(days, made.closes, strict=True)
    ]
    (folder / "prices.csv").write_text("\n".join([",".join(["date", *made.assets]), *rows]) + "\n")
    (folder / "policy.yaml").write_text(yaml.safe_dump(POLICY.model_dump(mode="json")))
    return folder


def day(text):
    return datetime.strptime(text, "%Y-%m-%d")


def test_the_command_draws_and_tells_the_switches(files):
    out = files / "new" / "a.svg"
    arguments = ["regimes", files / "prices.csv", "--policy", files / "policy.yaml", "--from", "2001-04-01"]
    arguments += ["--to", "2001-08-31", "--out", out, "--event", "2001-05-12 the storm", "--json"]
    told = CliRunner().invoke(app, [*map(str, arguments)])
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    assert (found["from"], found["to"], found["bars"]) == ("2001-04-01", "2001-08-31", 153)
    assert found["switches"]
    assert "the storm" in out.read_text("utf-8")
    page = io.StringIO()
    Console(file=page, width=140).print(*tables(found))
    for switch in found["switches"]:
        assert (
            f"{switch['date']}  {switch['cause']}  {switch['before']} → {switch['after']}" in page.getvalue()
        )
    assert "the storm  2001-05-12" in page.getvalue()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"out": "a.png"}, ConfigurationError, "ends in .svg"),
        ({"last": "2001-03-31"}, ConfigurationError, "--from 2001-04-01 is after --to 2001-03-31"),
        (
            {"last": "2001-04-01", "first": "2000-01-01", "events": ["Lehman"]},
            ConfigurationError,
            "begin with a date",
        ),
        ({"events": ["2001-04-05"]}, ConfigurationError, "say what happened"),
        ({"events": ["2008-09-15 Lehman"]}, ConfigurationError, "not between 2001-04-01 and 2001-08-31"),
        (
            {"first": "2011-01-01", "last": "2011-12-31"},
            DataError,
            "no bars .* it has 2001-01-02 to 2001-09-18",
        ),
        ({"first": "2000-01-01", "last": "2001-01-01"}, DataError, "no bars"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_error(files, changes, error, words):
    asked = {"first": "2001-04-01", "last": "2001-08-31", "out": "a.svg", "events": ()} | changes
    with pytest.raises(error, match=words):
        run_regimes(
            files / "prices.csv",
            files / "policy.yaml",
            None,
            day(asked["first"]),
            day(asked["last"]),
            files / "no" / asked["out"],
            asked["events"],
            quiet=True,
        )
    assert not (files / "no").exists()


def test_a_date_that_is_none_is_a_usage_error(files):
    arguments = ["regimes", "--from", "2001-13-01", "--to", "2001-08-31", "--out", str(files / "b.svg")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "2001-13-01" in result.output
