"""The compiled reader and the codec agree on every record: the same outputs, dead letters and state."""

import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import recorded
import worlds
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.codec import FINGERPRINT_HEADER, SCHEMA_NAMES, Codec
from stream_allocator.events import PackedReturnEvent, ReturnEvent
from stream_allocator.intake import refuse_returns
from stream_allocator.packed import asset_order
from stream_allocator.stream.decoder import RecordBatch
from stream_allocator.stream.decoder_kernel import fill_slots
from stream_allocator.stream.record import UNREADABLE_HEADERS, Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import load_topology

IDS = {name: 300 + i for i, name in enumerate(SCHEMA_NAMES.values())}
KNOWN = ("u", "v")


@pytest.fixture(scope="module", params=["fingerprint", "confluent"])
def topology(request, tmp_path_factory):
    """Universes ``u`` and ``v``, which has its assets in another order."""
    path = recorded.write_topology(tmp_path_factory.mktemp("decoder"))
    data = yaml.safe_load(path.read_text())
    data["universes"].append(data["universes"][0] | {"name": "v", "assets": list(worlds.ASSETS[::-1])})
    if request.param == "confluent":
        data["wire"] = {"framing": "confluent", "schema_ids": IDS}
    path.write_text(yaml.safe_dump(data))
    return load_topology(path)


returns = st.floats(-0.2, 0.2) | st.just(math.nan)
odd_returns = returns | st.floats() | st.sampled_from([-1.0, -1.5, math.inf])
volumes = st.floats(0, 1e9) | st.just(math.nan)
odd_volumes = volumes | st.floats()
ordinary_time = st.integers(1, 40).map(lambda day: day * worlds.DAY)


@st.composite
def plain_events(draw, odd=True):
    """Return events, of some assets, in any order; ``odd`` ones may be what an engine refuses."""
    names = st.sampled_from((*worlds.ASSETS, "AA", "ÄÖ", "") if odd else worlds.ASSETS)
    assets = draw(st.just(worlds.ASSETS) | st.lists(names, min_size=not odd, max_size=5, unique=not odd))
    n = len(assets)
    numbers = st.lists(
        odd_returns if odd else returns, min_size=n, max_size=n + (odd and draw(st.booleans()))
    )
    traded = st.lists(odd_volumes if odd else volumes, min_size=n, max_size=n)
    return ReturnEvent(
        universe=draw(st.sampled_from((*KNOWN, "w", "") if odd else KNOWN)),
        source=draw(st.sampled_from(("feed", "", "söürce"))),
        sequence=draw(st.integers(0, 30) | st.integers(-(2**63), 2**63 - 1))
        if odd
        else draw(st.integers(0, 99)),
        event_time=draw(ordinary_time | st.integers(-(2**63), 2**63 - 1)) if odd else draw(ordinary_time),
        assets=tuple(assets),
        returns=tuple(draw(numbers)),
        dollar_volumes=draw(st.none() | traded.map(tuple)),
    )


@st.composite
def packed_events(draw, odd=True):
    event = draw(plain_events(odd=odd))
    order = worlds.ASSETS if event.universe == "u" else worlds.ASSETS[::-1]
    traded = st.binary(max_size=40) if odd else st.lists(volumes, min_size=4, max_size=4).map(floats)
    return PackedReturnEvent(
        universe=event.universe,
        source=event.source,
        sequence=event.sequence,
        event_time=event.event_time,
        asset_order=draw(st.just(asset_order(order)) | st.binary(max_size=9)) if odd else asset_order(order),
        returns=floats(draw(st.lists(odd_returns if odd else returns, min_size=4, max_size=4 + odd))),
        dollar_volumes=draw(st.none() | traded),
    )


def floats(numbers):
    return struct.pack(f"<{len(numbers)}d", *numbers)


def framed(codec, event):
    value, headers = codec.frame(event)
    return value, tuple(headers)


@st.composite
def damaged(draw, value, headers):
    """A record that was cut, lengthened, flipped, emptied, or given other headers."""
    kind = draw(st.sampled_from(["cut", "longer", "flip", "byte", "none", "headers", "noise"]))
    at = draw(st.integers(0, max(0, len(value) - 1)))
    match kind:
        case "cut":
            return value[:at], headers
        case "longer":
            return value + draw(st.binary(min_size=1, max_size=9)), headers
        case "flip" if value:
            return value[:at] + bytes([value[at] ^ (1 << draw(st.integers(0, 7)))]) + value[at + 1 :], headers
        case "byte":
            return value[:at] + draw(st.binary(max_size=10)) + value[at + 1 :], headers
        case "none":
            return None, headers
        case "headers":
            names = st.sampled_from([FINGERPRINT_HEADER, "traceparent", ""])
            values = st.sampled_from([b"", bytes(8), *(v for _, v in headers)])
            return value, tuple(draw(st.lists(st.tuples(names, values), max_size=3)))
    return draw(st.binary(max_size=40)), headers


def through(shard, records, size):
    """What comes out of the compiled path, batch by batch."""
    outputs = []
    for start in range(0, len(records), size):
        decoded = shard.decode_returns(RecordBatch(records[start : start + size]))
        outputs += [shard.step_returns(decoded, i) for i in range(len(decoded))]
    return outputs


def published(outputs):
    return [(o.role, o.key, o.value, o.headers) for o in outputs]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_outputs_dead_letters_and_state_are_those_of_the_codec(topology, data):
    codec = Codec(topology.wire.schema_ids)
    form = plain_events(odd=False) | packed_events(odd=False) | plain_events() | packed_events()
    events = data.draw(st.lists(form, max_size=8))
    keys = [data.draw(st.just(e.universe.encode()) | st.sampled_from([b"u", b"v", None])) for e in events]
    sent = [data.draw(st.just(r) | damaged(*r)) for r in (framed(codec, e) for e in events)]
    records = [Record("returns", 1, 5 + i, k, *r) for i, (k, r) in enumerate(zip(keys, sent, strict=True))]
    one, other = Shard(topology, 1), Shard(topology, 1)
    expected = [published(one.apply(record)) for record in records]
    assert [published(o) for o in through(other, records, data.draw(st.integers(1, 13)))] == expected
    assert other.digest() == one.digest()
    assert [o.value for o in other.snapshots()] == [o.value for o in one.snapshots()]


@settings(max_examples=100, deadline=None)
@given(events=st.lists(plain_events(odd=False) | packed_events(odd=False) | plain_events(), max_size=8))
def test_it_reads_whatever_the_engine_does_not_refuse_and_nothing_else(topology, events):
    codec, shard = Codec(topology.wire.schema_ids), Shard(topology, 0)
    sent = [framed(codec, e) for e in events]
    records = [
        Record("returns", 0, i, event.universe.encode(), *r)
        for i, (event, r) in enumerate(zip(events, sent, strict=True))
    ]
    decoded = shard.decode_returns(RecordBatch(records))
    for i, event in enumerate(events):
        universe = topology.universe(event.universe)
        short = all(abs(n) < 2**61 for n in (event.sequence, event.event_time))  # nine bytes of an integer
        usual = universe is not None and refuse_returns(event, universe) is None and short
        assert decoded.row(i)[0] == (event.universe if usual else None)


@given(event=plain_events(odd=False) | packed_events(odd=False))
def test_the_numbers_are_the_events_bit_for_bit(topology, event):
    codec, shard = Codec(topology.wire.schema_ids), Shard(topology, 0)
    record = Record("returns", 0, 0, event.universe.encode(), *framed(codec, event))
    decoded = shard.decode_returns(RecordBatch([record]))
    *head, first, last, has_volumes = decoded.row(0)
    assert head == [event.universe, event.source, event.sequence, event.event_time]
    order = topology.universe(event.universe).assets
    names = order if isinstance(event, PackedReturnEvent) else event.assets
    assert [order[i] for i in decoded.index[first:last]] == list(names)
    bits = event.returns if isinstance(event, PackedReturnEvent) else floats(event.returns)
    assert decoded.returns[first:last].tobytes() == bits
    assert bool(has_volumes) == (event.dollar_volumes is not None)
    if has_volumes:
        traded = event.dollar_volumes
        packed = isinstance(event, PackedReturnEvent)
        assert decoded.volumes[first:last].tobytes() == (traded if packed else floats(traded))


@given(
    names=st.lists(st.text(st.characters(codec="ascii"), min_size=1, max_size=5), max_size=40, unique=True)
)
def test_every_name_has_a_slot_of_its_own(names):
    encoded = [n.encode() for n in names]
    bounds = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    slots = np.empty(1 << (2 * bounds.size).bit_length(), dtype=np.int64)
    fill_slots(slots, np.frombuffer(b"".join(encoded), dtype=np.uint8), bounds)
    assert sorted(s for s in slots if s >= 0) == list(range(len(names)))


ANOTHER = ((FINGERPRINT_HEADER, bytes(8)),)


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        (b"u", ANOTHER),
        (b"u", ((UNREADABLE_HEADERS, b""),)),
        (b"v", ()),
        (None, ()),
    ],
)
def test_another_schema_unreadable_headers_and_a_wrong_key_are_left_to_the_codec(topology, key, headers):
    value, own = framed(Codec(topology.wire.schema_ids), worlds.tick(0, [0.0] * 4))
    usual = Record("returns", 0, 0, b"u", value, own)
    decoded = Shard(topology, 0).decode_returns(
        RecordBatch([usual, replace(usual, key=key, headers=headers or own)])
    )
    heeded = (
        topology.wire.framing == "fingerprint" or headers != ANOTHER
    )  # elsewhere that header says nothing
    assert [decoded.row(i)[0] for i in range(2)] == ["u", None if heeded else "u"]


def test_the_tables_are_renewed_once_for_all_the_universes_of_a_batch(topology, monkeypatch):
    one = topology.universes[0]
    many = topology.model_copy(
        update={"universes": tuple(one.model_copy(update={"name": f"u{i}"}) for i in range(100))}
    )
    shard, codec = Shard(many, 0), Codec(many.wire.schema_ids)
    renewed = []
    renew = shard._decoder._renew
    monkeypatch.setattr(shard._decoder, "_renew", lambda: renewed.append(1) or renew())
    records = []
    for i, universe in enumerate(many.universes):
        value, headers = codec.frame(worlds.tick(0, (0.0,) * 4, universe=universe.name))
        records.append(Record("returns", 0, i, universe.name.encode(), value, tuple(headers)))
    decoded = shard.decode_returns(RecordBatch(records[:60]))
    assert [decoded.row(i)[0] for i in range(60)] == [u.name for u in many.universes[:60]]
    assert len(renewed) == 1
    shard.decode_returns(RecordBatch(records))
    shard.decode_returns(RecordBatch(records))
    assert len(renewed) == 2
