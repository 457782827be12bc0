"""Events keep every bit on the wire, and nothing else passes for one."""

import contextlib
import math
import struct
from dataclasses import replace

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.codec import (
    DIGESTED,
    FINGERPRINT_HEADER,
    SCHEMA_NAMES,
    Codec,
    decode,
    encode,
    read_published,
)
from stream_allocator.errors import CodecError
from stream_allocator.events import ReturnEvent

ALL_IDS = {name: i + 1 for i, name in enumerate(SCHEMA_NAMES.values())}
TICK = ReturnEvent("u", "feed", 7, 1_000_000, ("A", "B"), (0.01, -0.02), None)


@pytest.mark.parametrize("cls", SCHEMA_NAMES, ids=lambda c: c.__name__)
def test_every_event_survives_the_round_trip(cls):
    @given(strategies.events(cls))
    def check(event):
        payload = encode(event)
        assert decode(cls, payload) == event
        assert encode(decode(cls, payload)) == payload

    check()


@pytest.mark.parametrize("ids", [None, ALL_IDS], ids=["fingerprint", "confluent"])
@given(event=strategies.events(ReturnEvent))
def test_framing_is_undone(ids, event):
    codec = Codec(ids)
    value, headers = codec.frame(event)
    assert codec.unframe(ReturnEvent, value, headers) == event


def test_nan_and_infinity_keep_their_place():
    event = replace(TICK, returns=(math.nan, math.inf))
    back = decode(ReturnEvent, encode(event))
    assert math.isnan(back.returns[0])
    assert back.returns[1] == math.inf


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_an_event_or_a_codec_error(data):
    with contextlib.suppress(CodecError):
        assert len(encode(decode(ReturnEvent, data))) <= len(data)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_truncated_bytes_are_malformed(cut):
    with pytest.raises(CodecError, match="not a return_event"):
        decode(ReturnEvent, encode(TICK)[:-cut])


def test_a_reason_is_the_same_words_every_time():
    reasons = set()
    for _ in range(5):
        with pytest.raises(CodecError) as caught:
            decode(ReturnEvent, encode(TICK)[:-5])
        reasons.add(str(caught.value))
    assert len(reasons) == 1
    assert "0x" not in reasons.pop()


def test_left_over_bytes_are_malformed():
    with pytest.raises(CodecError, match="1 bytes left over"):
        decode(ReturnEvent, encode(TICK) + b"x")


def test_an_unknown_fingerprint_is_named():
    value, _ = Codec().frame(TICK)
    with pytest.raises(CodecError, match="0102030405060708") as caught:
        Codec().unframe(ReturnEvent, value, [(FINGERPRINT_HEADER, bytes(range(1, 9)))])
    assert caught.value.code == "unknown_schema"


def test_a_record_without_headers_is_read_with_the_current_schema():
    assert Codec().unframe(ReturnEvent, encode(TICK), None) == TICK


def test_a_tombstone_is_malformed():
    with pytest.raises(CodecError, match="no value"):
        Codec().unframe(ReturnEvent, None, [])


@pytest.mark.parametrize(
    ("value", "code"),
    [(b"", "malformed"), (b"\x01\0\0\0\x01rest", "malformed"), (struct.pack(">bI", 0, 99), "unknown_schema")],
)
def test_wrong_confluent_framing_is_refused(value, code):
    with pytest.raises(CodecError) as caught:
        Codec(ALL_IDS).unframe(ReturnEvent, value, [])
    assert caught.value.code == code


@pytest.mark.parametrize("ids", [None, ALL_IDS], ids=["fingerprint", "confluent"])
@given(event=strategies.events(ReturnEvent).filter(lambda e: e.universe))
def test_a_record_is_read_without_knowing_its_framing(ids, event):
    value, headers = Codec(ids).frame(event)
    assert read_published(ReturnEvent, value, headers) == (event, encode(event))
    assert read_published(ReturnEvent, value) == (event, encode(event))


def test_what_is_of_no_published_version_is_refused_with_the_newest_ones_reason():
    for value in (b"junk", encode(TICK)[:-1], encode(TICK) + b"x", None):
        with pytest.raises(CodecError, match="not a return_event"):
            read_published(ReturnEvent, value)
    with pytest.raises(CodecError, match="no schema with fingerprint"):
        read_published(ReturnEvent, encode(TICK), [(FINGERPRINT_HEADER, bytes(8))])


@pytest.mark.parametrize("cls", DIGESTED)
def test_a_decision_is_written_once_and_its_bytes_go_with_it(cls):
    @given(strategies.events(cls))
    def check(event):
        first = encode(event)
        assert encode(event) is first
        equal = replace(event)
        assert encode(equal) == first
        assert encode(equal) is not first
        # whatever takes the place of one that is gone is written for itself
        for universe in ("u", "v", "w"):
            assert decode(cls, encode(replace(event, universe=universe))).universe == universe

    check()
