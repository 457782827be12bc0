"""Long prices: one line for each date and asset, in any order, as good as the wide ones."""

import gzip

import numpy as np
import pytest
import worlds

from stream_allocator.backtest.prices import Prices, load_prices, return_events
from stream_allocator.errors import DataError

LINES = [
    "2020-01-01,AAA,1,100",
    "2020-01-01,BBB,10,",
    "2020-01-02,AAA,2,300",
    "2020-01-03,BBB,30,5",
    "2020-01-06,BBB,60,0",
    "2020-01-06,AAA,3,70",
]
WIDE = "date,AAA,BBB\n2020-01-01,1,10\n2020-01-02,2,\n2020-01-03,,30\n2020-01-06,3,60\n"
VOLUMES = [[100, np.nan], [300, np.nan], [np.nan, 5], [70, 0]]


def write(tmp_path, text, name="prices.csv"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def long(lines=LINES, header="date,asset,price,dollar_volume"):
    return "\n".join([header, *lines]) + "\n"


def without_volumes(prices):
    return Prices("", prices.assets, prices.times, prices.closes)


def test_long_and_wide_give_the_same_prices(tmp_path):
    wide = load_prices(write(tmp_path, WIDE))
    found = load_prices(write(tmp_path, long(), "long.csv"))
    assert without_volumes(found).digest == wide.digest
    np.testing.assert_array_equal(found.dollar_volumes, VOLUMES)
    assert wide.dollar_volumes is None


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_lines_makes_no_difference(tmp_path, seed):
    shuffled = np.random.default_rng(seed).permutation(LINES).tolist()
    a, b = load_prices(write(tmp_path, long())), load_prices(write(tmp_path, long(shuffled), "b.csv"))
    assert a.digest == b.digest
    assert a.assets == b.assets == ("AAA", "BBB")


@pytest.mark.parametrize(
    ("header", "order"),
    [
        ("Date,Ticker,Close", (0, 1, 2)),
        ("symbol,timestamp,adj_close", (1, 0, 2)),
        (" Price,day,ASSET", (2, 0, 1)),
    ],
)
def test_columns_are_told_by_their_names_wherever_they_stand(tmp_path, header, order):
    lines = [",".join(line.split(",")[i] for i in order) for line in LINES]
    found = load_prices(write(tmp_path, long(lines, header)))
    assert found.digest == load_prices(write(tmp_path, WIDE, "wide.csv")).digest


def test_the_digest_covers_traded_values(tmp_path):
    with_volumes = load_prices(write(tmp_path, long()))
    changed = load_prices(write(tmp_path, long().replace("300", "301"), "b.csv"))
    assert len({with_volumes.digest, changed.digest, without_volumes(with_volumes).digest}) == 3


def test_traded_values_reach_the_return_events_of_their_bar(tmp_path):
    prices = load_prices(write(tmp_path, long()))
    events = list(return_events(prices, worlds.universe(("BBB", "AAA"))))
    np.testing.assert_array_equal([e.dollar_volumes for e in events], np.array(VOLUMES)[1:, ::-1])
    last = next(return_events(prices.tail(1), worlds.universe(("AAA", "BBB"))))
    assert last.dollar_volumes == (70.0, 0.0)
    assert prices.until(1).times.tolist() == prices.times[:3].tolist()
    assert prices.until(1).dollar_volumes.shape == (3, 2)


def test_gzip_is_known_by_its_content_too(tmp_path):
    path = tmp_path / "prices.txt"
    path.write_bytes(gzip.compress(long().encode()))
    assert load_prices(path).digest == load_prices(write(tmp_path, long())).digest


@pytest.mark.parametrize(
    ("lines", "header", "message"),
    [
        ([*LINES, LINES[2]], None, "line 8: AAA has a price for that date already, at line 4"),
        (["2020-01-01,AAA,0,"], None, "line 2, column price: '0' is not a positive close"),
        (["2020-01-01,AAA,x,"], None, "line 2, column price: 'x'"),
        (["2020-01-01,AAA,1,-1"], None, "line 2, column dollar_volume: '-1' is not a traded value"),
        (["2020-01-01,AAA,1,inf"], None, "line 2, column dollar_volume: 'inf'"),
        (["2020-01-01,,1,"], None, "line 2: the asset has no name"),
        (["1 May,AAA,1,"], None, "line 2, column date: '1 May' is not a date"),
        (["2020-01-01,AAA,1"], None, "line 2: 3 cells, but the header has 4"),
        (["2020-01-01,AAA,1,"], None, "1 line(s) of closes; a return needs two"),
        ([], None, "0 line(s) of closes"),
        ([], "asset,price", "line 1: long prices need a column of dates"),
        ([], "date,asset,price,volume", "leave out volume"),
        ([], "date,asset,close,adj_close", "close and adj_close are both the price"),
    ],
)
def test_a_mistake_is_an_error_that_names_file_line_and_column(tmp_path, lines, header, message):
    text = long(lines) if header is None else long(lines, header)
    with pytest.raises(DataError) as caught:
        load_prices(write(tmp_path, text))
    assert message in str(caught.value)
    assert "prices.csv" in str(caught.value)
