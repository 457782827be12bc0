"""A dead letter fits whatever the record was, and says what it had to leave out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.codec import Codec, digest
from stream_allocator.events import Cut, Rejection
from stream_allocator.stream.deadletter import LONGEST_REASON, SMALLEST_LIMIT, dead_letter
from stream_allocator.stream.record import Record

WHY = Rejection("malformed", "no event")
SIZES = st.integers(0, 3 * SMALLEST_LIMIT)


def produced(letter):
    """Bytes of the record that the letter becomes."""
    value, headers = Codec().frame(letter)
    return len(letter.key or b"") + len(value) + sum(len(k.encode()) + len(v) for k, v in headers)


def test_what_fits_is_whole():
    record = Record("returns", 1, 7, b"u", b"v" * 10_000, (("a", b"1"), ("a", b"2")))
    letter = dead_letter("returns", record, WHY, 900_000)
    assert (letter.key, letter.value, letter.cut) == (b"u", b"v" * 10_000, None)
    assert [(h.name, h.value) for h in letter.headers] == [("a", b"1"), ("a", b"2")]


@given(
    key=st.none() | SIZES,
    value=st.none() | SIZES,
    headers=st.lists(st.tuples(st.sampled_from(["a", "ü" * 2000]), SIZES), max_size=4),
    reason=st.integers(0, 50_000),
)
def test_whatever_its_sizes_a_letter_fits(key, value, headers, reason):
    parts = [None if n is None else b"x" * n for n in (key, value)]
    record = Record("returns", 1, 7, *parts, tuple((name, b"h" * n) for name, n in headers))
    letter = dead_letter("t" * 200, record, Rejection("malformed", "ü" * reason), SMALLEST_LIMIT)
    assert produced(letter) <= SMALLEST_LIMIT
    if letter.cut is None:
        assert (letter.key, letter.value, len(letter.headers)) == (*parts, len(headers))
    else:
        assert letter.cut.value_bytes == (-1 if value is None else value)
        assert letter.cut.key_bytes == (-1 if key is None else key)
        assert letter.cut.headers == len(headers)


def test_what_does_not_fit_is_cut_and_marked_with_size_and_digest():
    value = bytes(range(256)) * 4000
    record = Record("returns", 1, 7, b"u", value, (("a", b"1" * 60_000), ("b", b"2" * 100_000)))
    letter = dead_letter("returns", record, WHY, 900_000)
    assert letter.cut == Cut(1, len(value), digest(value), 2, 160_002)
    assert letter.value == value[:450_000]
    assert [h.name for h in letter.headers] == ["a"]


def test_a_reason_of_megabytes_is_shortened():
    record = Record("returns", 1, 7, b"u", None)
    letter = dead_letter("returns", record, Rejection("unknown_asset", "x" * 5_000_000), 900_000)
    assert len(letter.reason) == LONGEST_REASON
    assert letter.reason.endswith("x ...")


@pytest.mark.parametrize("key", [None, b"", b"u"])
def test_no_key_and_an_empty_key_stay_two_things(key):
    assert dead_letter("returns", Record("returns", 1, 7, key, None), WHY, 900_000).key == key
