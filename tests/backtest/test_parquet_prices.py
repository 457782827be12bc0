"""Parquet prices, wide and long, are the same prices as the CSV's."""

import datetime
from decimal import Decimal
from importlib.util import find_spec

import numpy as np
import pytest
import worlds
from absence import skip_unless_ci

from stream_allocator.backtest import price_parquet
from stream_allocator.backtest.prices import load_prices
from stream_allocator.errors import ConfigurationError, DataError

DATES = [datetime.date(2020, 1, day) for day in (1, 2, 3)]
WIDE = "date,AAA,BBB\n2020-01-01,1,10\n2020-01-02,2,\n2020-01-03,4,30\n"


@pytest.fixture(scope="module")
def arrow():
    if find_spec("pyarrow") is None:
        skip_unless_ci("pyarrow is not installed")
    import pyarrow
    import pyarrow.parquet

    return pyarrow


@pytest.fixture
def wide_csv(tmp_path):
    path = tmp_path / "wide.csv"
    path.write_text(WIDE)
    return load_prices(path)


@pytest.fixture
def stored(arrow, tmp_path):
    """Store columns, by name, and read them as prices."""

    def store(columns, name="prices.parquet", **settings):
        names, values = zip(*columns, strict=True)
        table = arrow.Table.from_arrays(
            [arrow.array(v) if isinstance(v, list) else v for v in values], list(names)
        )
        arrow.parquet.write_table(table, tmp_path / name, **settings)
        return load_prices(tmp_path / name)

    return store


def long_columns():
    return [
        ("date", [DATES[2], DATES[0], DATES[0], DATES[1], DATES[2]]),
        ("asset", ["BBB", "AAA", "BBB", "AAA", "AAA"]),
        ("price", [30.0, 1.0, 10.0, 2.0, 4.0]),
    ]


def test_wide_and_long_are_what_the_csv_says(stored, wide_csv):
    wide = [("date", DATES), ("AAA", [1.0, 2.0, 4.0]), ("BBB", [10.0, None, 30.0])]
    assert stored(wide).digest == wide_csv.digest
    assert stored(long_columns()).digest == wide_csv.digest
    assert stored(wide, "prices.dat").digest == wide_csv.digest  # told by its content


def test_dates_may_be_dates_timestamps_of_any_unit_or_zone_or_text(stored, wide_csv, arrow):
    midnight = [datetime.datetime(d.year, d.month, d.day) for d in DATES]
    kinds = [arrow.array(midnight, arrow.timestamp(unit)) for unit in ("s", "ms", "us", "ns")]
    kinds += [arrow.array(DATES, arrow.date64()), arrow.array([str(d) for d in DATES])]
    kinds += [arrow.array([str(d) for d in DATES]).dictionary_encode()]
    closes = [("AAA", [1.0, 2.0, 4.0]), ("BBB", [10.0, None, 30.0])]
    for kind in kinds:
        assert stored([("date", kind), *closes]).digest == wide_csv.digest
    east = datetime.timezone(datetime.timedelta(hours=-5))
    local = arrow.array(
        [m.replace(hour=16, tzinfo=east) for m in midnight], arrow.timestamp("us", tz="-05:00")
    )
    moved = stored([("date", local), *closes])
    np.testing.assert_array_equal(moved.times - wide_csv.times, 21 * 3_600_000_000)


def test_a_data_frames_index_is_found_at_the_end(stored, wide_csv):
    closes = [("AAA", [1.0, 2.0, 4.0]), ("BBB", [10.0, None, 30.0])]
    assert stored([*closes, ("__index_level_0__", DATES)]).digest == wide_csv.digest


def test_numbers_may_be_of_any_kind_and_nan_is_missing(stored, wide_csv, arrow):
    for a in (
        arrow.array([1, 2, 4], arrow.int32()),
        arrow.array([1, 2, 4], arrow.float32()),
        arrow.array([Decimal("1.00"), Decimal("2.00"), Decimal("4.00")]),
    ):
        assert stored([("d", DATES), ("AAA", a), ("BBB", [10.0, np.nan, 30.0])]).digest == wide_csv.digest
    empty = stored([("d", DATES), ("AAA", [1.0, 2.0, 4.0]), ("CCC", arrow.nulls(3))])
    assert np.isnan(empty.closes[:, 1]).all()


def test_traded_values_and_categories_of_names_are_read(stored, arrow):
    columns = long_columns()
    columns[1] = ("symbol", arrow.array(columns[1][1]).dictionary_encode())
    prices = stored([*columns, ("dollar_volume", [5, 1, None, 2, 0])])
    np.testing.assert_array_equal(prices.dollar_volumes, [[1, np.nan], [2, np.nan], [0, 5]])


@pytest.mark.parametrize("seed", range(3))
def test_many_row_groups_give_the_same_prices_as_one(stored, seed):
    rng = np.random.default_rng(seed)
    closes = np.exp(worlds.returns(40, seed=seed)).cumprod(axis=0)
    closes[rng.random(closes.shape) < 0.2] = np.nan
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=t) for t in range(40)]
    columns = [("date", days), *((a, closes[:, i].tolist()) for i, a in enumerate(worlds.ASSETS))]
    one, many = stored(columns), stored(columns, "many.parquet", row_group_size=7)
    assert one.digest == many.digest
    np.testing.assert_array_equal(one.closes, closes)


GOOD = ("AAA", [1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([("date", DATES), ("AAA", [1.0, 0.0, 1.0])], "row 2, column AAA: 0.0 is not a positive close"),
        ([("date", DATES), ("AAA", [1.0, 1.0, -3.0])], "row 3, column AAA: -3.0"),
        ([("date", DATES), ("AAA", [np.inf, 1.0, 1.0])], "row 1, column AAA: inf"),
        ([("date", DATES), ("AAA", ["1", "2", "3"])], "column AAA: string is not a number"),
        ([("date", [DATES[0], DATES[2], DATES[1]]), GOOD], "row 3, column date: the date is not after"),
        ([("date", [DATES[0], None, DATES[1]]), GOOD], "row 2, column date: the date is missing"),
        ([("date", ["2020-01-01", "soon", "x"]), GOOD], "row 2, column date: 'soon' is not a date"),
        ([("date", [1, 2, 3]), GOOD], "column date: int64 is no date"),
        ([("date", DATES), ("settled", DATES), GOOD], "date and settled are all dates"),
        ([("date", DATES)], "it must have one column of dates and then one for each asset"),
        ([("date", DATES), GOOD, GOOD], "one for each asset"),
        ([("date", DATES[:1]), ("AAA", [1.0])], "1 row(s) of closes; a return needs two"),
        ([*long_columns()[:2], ("price", [1.0, 1.0, 1.0, 1.0, 0.0])], "row 5, column price: 0.0"),
        (
            [*long_columns(), ("dollar_volume", [1, 1, -1, 1, 1])],
            "row 3, column dollar_volume: -1.0 is not a traded",
        ),
        (
            [long_columns()[0], ("asset", ["A", None, "B", "B", "C"]), long_columns()[2]],
            "row 2, column asset",
        ),
        (
            [long_columns()[0], ("asset", ["B", "A", "A", "A", "C"]), long_columns()[2]],
            "row 3: A has a price for that date already, at row 2",
        ),
        ([*long_columns(), ("open", [1.0] * 5)], "leave out open"),
    ],
)
def test_a_mistake_is_an_error_that_names_file_row_and_column(stored, columns, message):
    with pytest.raises(DataError) as caught:
        stored(columns)
    assert message in str(caught.value)
    assert "prices.parquet" in str(caught.value)


def test_times_finer_than_a_microsecond_are_refused(stored, arrow):
    moments = arrow.array([1, 2001, 3001], arrow.timestamp("ns"))
    with pytest.raises(DataError, match="whole microseconds"):
        stored([("date", moments), GOOD])


def test_a_damaged_file_is_an_error(arrow, tmp_path):
    path = tmp_path / "prices.parquet"
    path.write_bytes(b"PAR1 and then something else")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load_prices(path)


def test_a_name_that_promises_parquet_is_held_to_it(tmp_path):
    path = tmp_path / "prices.parquet"
    path.write_text(WIDE)
    with pytest.raises(DataError, match=r"named like Parquet, but begins with b'date'"):
        load_prices(path)


def test_without_its_library_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    path = tmp_path / "prices.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setattr(price_parquet, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'stream-allocator\[parquet\]'"):
        load_prices(path)
