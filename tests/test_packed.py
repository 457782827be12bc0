"""The packed form says the same as the plain one in fewer bytes, and never anything else."""

import math
from dataclasses import replace

import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.codec import OPTIONAL_SCHEMAS, SCHEMA_NAMES, Codec, encode
from stream_allocator.errors import CodecError, ConfigurationError, DataError
from stream_allocator.events import PackedReturnEvent, Rejection, ReturnEvent
from stream_allocator.packed import asset_order, pack

IDS = {name: i + 1 for i, name in enumerate(SCHEMA_NAMES.values())}
BARS = 45
volumes = st.none() | st.lists(st.floats(0, 1e9) | st.just(math.nan), min_size=4, max_size=4).map(tuple)


def packed(event):
    return pack(event, worlds.ASSETS)


@settings(max_examples=25, deadline=None)
@given(
    forms=st.lists(st.booleans(), min_size=BARS, max_size=BARS),
    holes=st.lists(st.tuples(st.integers(0, BARS - 1), st.integers(0, 3)), max_size=6),
    traded=st.lists(volumes, min_size=3, max_size=3),
)
def test_decisions_from_either_form_are_the_same_bytes(forms, holes, traded):
    x = worlds.returns(BARS, shift=25)
    for bar, asset in holes:
        x[bar, asset] = math.nan
    events = [replace(worlds.tick(i, row), dollar_volumes=traded[i % 3]) for i, row in enumerate(x)]
    plain, mixed = worlds.engine(), worlds.engine()
    for offset, (event, is_packed) in enumerate(zip(events, forms, strict=True)):
        other = packed(event) if is_packed else event
        expected = [encode(o) for o in plain.apply(event, offset)]
        assert [encode(o) for o in mixed.apply(other, offset)] == expected
    assert mixed.snapshot() == plain.snapshot()
    assert plain.bars == BARS


def test_every_bit_of_a_return_survives():
    event = replace(worlds.tick(0, [0.1] * 4), returns=(0.1, -0.0, 5e-324, math.nan))
    assert packed(event).returns.hex() == "9a9999999999b93f00000000000000800100000000000000000000000000f87f"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"asset_order": asset_order(worlds.ASSETS[::-1])}, "pack in the order of the universe's assets"),
        ({"asset_order": b""}, "pack in the order of the universe's assets"),
        ({"returns": bytes(24)}, "4 assets, but other numbers of packed"),
        ({"returns": bytes(33)}, "4 assets, but other numbers of packed"),
        ({"returns": b""}, "4 assets, but other numbers of packed"),
        ({"dollar_volumes": bytes(40)}, "4 assets, but other numbers of packed"),
        ({"event_time": -1}, "before 1970"),
    ],
)
def test_a_packed_event_that_does_not_fit_is_refused_and_the_engine_does_not_move(change, words):
    engine = worlds.engine()
    before = engine.snapshot()
    (refusal,) = engine.apply(replace(packed(worlds.tick(0, [0.01] * 4)), **change), 0)
    assert isinstance(refusal, Rejection)
    assert refusal.code == "invalid"
    assert words in refusal.reason
    assert engine.snapshot() == before


@given(
    returns=st.lists(st.floats() | st.just(-1.0), min_size=4, max_size=4).map(tuple),
    traded=st.none() | st.lists(st.floats(), min_size=4, max_size=4).map(tuple),
    time=st.integers(-5, 5),
)
def test_both_forms_are_refused_for_the_same_reason(returns, traded, time):
    event = ReturnEvent("u", "s", 0, time, worlds.ASSETS, returns, traded)
    plain, other = worlds.engine(), worlds.engine()
    assert repr(plain.apply(event, 0)) == repr(other.apply(packed(event), 0))


def test_only_a_whole_cross_section_in_order_can_be_packed():
    event = worlds.tick(0, [0.01] * 4)
    with pytest.raises(DataError, match="in the order of its assets"):
        pack(event, worlds.ASSETS[::-1])


@given(st.permutations(worlds.ASSETS))
def test_another_order_has_another_fingerprint(order):
    assert (asset_order(tuple(order)) == asset_order(worlds.ASSETS)) == (tuple(order) == worlds.ASSETS)
    assert asset_order(("AA", "B")) != asset_order(("A", "AB"))


@pytest.mark.parametrize("ids", [None, IDS], ids=["fingerprint", "confluent"])
def test_the_writers_schema_tells_the_forms_apart(ids):
    codec, event = Codec(ids), worlds.tick(0, [0.01] * 4)
    for sent in (event, packed(event)):
        assert codec.unframe_form(ReturnEvent, *codec.frame(sent)) == sent
    with pytest.raises(CodecError, match="return_event"):
        codec.unframe_form(ReturnEvent, encode(packed(event)), [])


def test_a_registry_need_not_have_the_packed_form_until_it_is_published():
    codec = Codec({name: i for name, i in IDS.items() if name not in OPTIONAL_SCHEMAS})
    event = worlds.tick(0, [0.01] * 4)
    assert codec.unframe_form(ReturnEvent, *codec.frame(event)) == event
    with pytest.raises(ConfigurationError, match="no id for packed_return_event"):
        codec.frame(packed(event))
    with pytest.raises(CodecError, match="schema id 2"):
        codec.unframe_form(ReturnEvent, *Codec(IDS).frame(packed(event)))


def test_its_class_is_named_once():
    assert SCHEMA_NAMES[PackedReturnEvent] in OPTIONAL_SCHEMAS
