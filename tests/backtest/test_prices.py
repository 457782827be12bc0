"""Price files are read strictly, and their returns compound to their prices."""

import gzip

import numpy as np
import pytest
import worlds

from stream_allocator.backtest.prices import bundled, load_prices, return_events
from stream_allocator.errors import DataError

GOOD = "date,AAA,BBB\n2020-01-01,1,10\n2020-01-02,2,\n2020-01-03,,30\n2020-01-06,3,60\n"


def write(tmp_path, text, name="prices.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def naive_returns(closes):
    """One asset after the other, one bar after the other."""
    result = np.full((len(closes) - 1, closes.shape[1]), np.nan)
    for i in range(closes.shape[1]):
        last = closes[0, i]
        for t in range(1, len(closes)):
            if not np.isnan(closes[t, i]):
                if not np.isnan(last):
                    result[t - 1, i] = closes[t, i] / last - 1.0
                last = closes[t, i]
    return result


def test_an_empty_cell_is_missing_and_the_next_return_spans_the_gap(tmp_path):
    prices = load_prices(write(tmp_path, GOOD))
    assert prices.assets == ("AAA", "BBB")
    np.testing.assert_array_equal(prices.returns(), [[1.0, np.nan], [np.nan, 2.0], [0.5, 1.0]])


def test_dates_are_midnight_utc_in_microseconds_unless_they_say_otherwise(tmp_path):
    text = "date,A\n1970-01-02,1\n1970-01-03T16:00:00-05:00,2\n"
    assert load_prices(write(tmp_path, text)).times.tolist() == [
        86_400_000_000,
        (2 * 24 + 21) * 3_600_000_000,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_returns_agree_with_the_naive_loop(tmp_path, seed):
    rng = np.random.default_rng(seed)
    closes = np.exp(rng.standard_normal((30, 4)))
    closes[rng.random((30, 4)) < 0.3] = np.nan
    closes[:, 3] = np.nan
    rows = [
        f"2020-01-{t + 1:02},{','.join('' if np.isnan(x) else repr(float(x)) for x in row)}"
        for t, row in enumerate(closes)
    ]
    prices = load_prices(write(tmp_path, "\n".join(["d,A,B,C,D", *rows])))
    np.testing.assert_array_equal(prices.returns(), naive_returns(closes))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("date\n", "line 1"),
        ("date,A,A\n2020-01-01,1,1\n", "line 1"),
        ("date,A\n2020-01-01,1\n", "a return needs two"),
        ("date,A\n2020-01-01,1\n2020-01-02,0\n", "line 3, column A: '0'"),
        ("date,A\n2020-01-01,1\n2020-01-02,-5\n", "line 3, column A: '-5'"),
        ("date,A\n2020-01-01,1\n2020-01-02,nan\n", "line 3, column A: 'nan'"),
        ("date,A\n2020-01-01,1\n2020-01-02,inf\n", "line 3, column A: 'inf'"),
        ("date,A\n2020-01-01,1\n2020-01-02,x\n", "line 3, column A: 'x'"),
        ("date,A\n2020-01-01,1\n2020-01-01,1\n", "line 3, column date: 2020-01-01 is not after"),
        ("date,A\n2020-01-01,1\n01/02/2020,1\n", "line 3, column date: '01/02/2020' is not a date"),
        ("date,A\n2020-01-01,1\n2020-01-02,1,2\n", "line 3: 3 cells"),
    ],
)
def test_a_mistake_is_an_error_that_names_file_line_and_column(tmp_path, text, message):
    with pytest.raises(DataError) as caught:
        load_prices(write(tmp_path, text))
    assert message in str(caught.value)
    assert "prices.csv" in str(caught.value)


def test_a_file_that_is_not_there_or_not_gzip_is_an_error_too(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_prices(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read"):
        load_prices(write(tmp_path, GOOD, "plain.csv.gz"))


def test_gzip_and_plain_give_the_same_prices(tmp_path):
    packed = tmp_path / "prices.csv.gz"
    packed.write_bytes(gzip.compress(GOOD.encode()))
    assert load_prices(packed).digest == load_prices(write(tmp_path, GOOD)).digest


def test_events_follow_the_universes_order_and_lack_of_an_asset_is_an_error(tmp_path):
    prices = load_prices(write(tmp_path, GOOD))
    events = list(return_events(prices, worlds.universe(("BBB", "AAA"))))
    assert [e.sequence for e in events] == [0, 1, 2]
    assert events[-1].assets == ("BBB", "AAA")
    assert events[-1].returns == (1.0, 0.5)
    with pytest.raises(DataError, match="no column for CCC"):
        next(return_events(prices, worlds.universe(("AAA", "CCC"))))


def test_the_bundled_history_is_whole():
    prices = bundled()
    assert prices.closes.shape == (8313, 20)
    assert np.isfinite(prices.closes).all()
    assert prices.tail(100).bars == 100
    np.testing.assert_array_equal(prices.tail(100).returns(), prices.returns()[-100:])
    assert prices.tail(None) is prices
