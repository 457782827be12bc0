"""A shard turns records into records: routed by universe, whole dead letters, state in chunks."""

import subprocess
import sys
from dataclasses import replace

import pytest
import recorded
import worlds
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.codec import Codec
from stream_allocator.errors import SnapshotError
from stream_allocator.events import DeadLetter, ReturnEvent, Snapshot
from stream_allocator.stream.record import INPUTS, UNREADABLE_HEADERS, Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import load_topology

CODEC = Codec()


@pytest.fixture(scope="module")
def topology(tmp_path_factory):
    """Universes ``u`` and ``v``, and snapshot chunks of the smallest size."""
    path = recorded.write_topology(tmp_path_factory.mktemp("shard"))
    data = yaml.safe_load(path.read_text())
    data["universes"].append(data["universes"][0] | {"name": "v"})
    data["worker"] = {"chunk_bytes": 1024}
    path.write_text(yaml.safe_dump(data))
    return load_topology(path)


def framed(event, offset, partition=0):
    value, headers = CODEC.frame(event)
    role = next(role for role, cls in INPUTS.items() if isinstance(event, cls))
    return Record(role, partition, offset, event.universe.encode(), value, tuple(headers))


def ticks(universe, bars, seed=0):
    return [worlds.tick(i, x, universe=universe) for i, x in enumerate(worlds.returns(bars, seed=seed))]


def drive(shard, records):
    return [out for record in records for out in shard.apply(record)]


def test_the_shard_imports_no_kafka():
    code = "import sys, stream_allocator.stream.shard; sys.exit('confluent_kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_universes_of_one_partition_do_not_touch_one_another(topology):
    mixed = [e for pair in zip(ticks("u", 40), ticks("v", 40, seed=1), strict=True) for e in pair]
    alone = [e for e in mixed if e.universe == "u"]
    both, one = Shard(topology, 0), Shard(topology, 0)
    offsets = {id(e): i for i, e in enumerate(mixed)}
    together = drive(both, [framed(e, offsets[id(e)]) for e in mixed])
    apart = drive(one, [framed(e, offsets[id(e)]) for e in alone])
    assert [o.value for o in together if o.key == b"u"] == [o.value for o in apart]
    assert both.digest() != one.digest()
    assert both.bars == 80


def test_what_comes_out_has_the_key_of_its_universe_and_names_its_topic(topology):
    shard = Shard(topology, 3)
    outputs = drive(shard, [framed(e, i, partition=3) for i, e in enumerate(ticks("u", 30))])
    assert {o.key for o in outputs} == {b"u"}
    assert {o.role for o in outputs} == {"audit", "evidence", "allocations", "regimes"}


@settings(max_examples=60)
@given(
    role=st.sampled_from(sorted(INPUTS)),
    key=st.none() | st.binary(max_size=8),
    value=st.none() | st.binary(max_size=64),
    headers=st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3),
)
def test_any_bytes_end_in_one_dead_letter_that_holds_them_whole(topology, role, key, value, headers):
    shard = Shard(topology, 2)
    before = shard.digest()
    (out,) = shard.apply(Record(role, 2, 77, key, value, tuple(headers)))
    letter = out.event
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset) == (topology.topics.names[role], 2, 77)
    assert (letter.key, letter.value) == (key, value)
    assert [(h.name, h.value) for h in letter.headers] == headers
    assert letter.code in {"malformed", "unknown_schema"}
    assert letter.reason
    assert CODEC.unframe(DeadLetter, out.value, out.headers) == letter
    assert shard.digest() == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"universe": "w"}, "unknown_universe"),
        ({"assets": ("AAA", "ZZZ", "CCC", "DDD")}, "unknown_asset"),
        ({"returns": (0.0, -1.5, 0.0, 0.0)}, "invalid"),
        ({"event_time": worlds.DAY}, "late"),
    ],
)
def test_a_refused_record_is_a_dead_letter_with_its_reason(topology, change, code):
    shard = Shard(topology, 0)
    events = ticks("u", 5)
    drive(shard, [framed(e, i) for i, e in enumerate(events)])
    before, refused = shard.digest(), framed(replace(events[-1], sequence=99, **change), 5)
    (out,) = shard.apply(refused)
    assert (out.role, out.event.code, out.event.value) == ("dead_letters", code, refused.value)
    assert shard.digest() == before


def test_a_dead_letter_names_some_of_a_thousand_universes(topology):
    one = topology.universes[0]
    many = tuple(one.model_copy(update={"name": f"u{i}"}) for i in range(1000))
    shard = Shard(topology.model_copy(update={"universes": many}), 0)
    (out,) = shard.apply(framed(worlds.tick(0, (0.0,) * 4, universe="w"), 0))
    assert out.event.code == "unknown_universe"
    assert "has no universe w; known: u0, u1, " in out.event.reason
    assert out.event.reason.endswith(" and 980 more")


@settings(max_examples=10)
@given(cut=st.integers(0, 40))
def test_a_shard_goes_on_from_its_snapshots_byte_for_byte(topology, cut):
    events = [e for pair in zip(ticks("u", 20), ticks("v", 20), strict=True) for e in pair]
    records = [framed(e, i) for i, e in enumerate(events)]
    shard, twin = Shard(topology, 0), Shard(topology, 0)
    drive(shard, records[:cut])
    twin.load(recorded.saved(shard))
    assert twin.digest() == shard.digest()
    assert [o.value for o in drive(twin, records[cut:])] == [o.value for o in drive(shard, records[cut:])]
    assert twin.digest() == shard.digest()


@pytest.fixture(scope="module")
def pieces(topology):
    shard = Shard(topology, 0)
    drive(shard, [framed(e, i) for i, e in enumerate(ticks("u", 25))])
    return recorded.saved(shard)


def test_snapshots_come_in_chunks_below_the_limit_and_under_keys_of_their_own(topology):
    shard = Shard(topology, 0)
    drive(shard, [framed(e, i) for i, e in enumerate(ticks("u", 25))])
    records = shard.snapshot("u")
    assert len(records) > 2
    assert all(len(out.event.payload) <= topology.worker.chunk_bytes for out in records)
    assert [out.key for out in records] == [b"u/0/%d" % i for i in range(len(records))]


def test_the_order_in_which_chunks_are_read_does_not_matter(topology, pieces):
    shard = Shard(topology, 0)
    shard.load(list(reversed(pieces)))
    assert shard.bars == 25


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p[:-1], "chunks are missing"),
        (lambda p: p[1:], "chunks are missing"),
        (lambda p: [replace(p[0], payload=b"x" + p[0].payload[1:]), *p[1:]], "digest"),
        (lambda p: [replace(s, universe="w") for s in p], "no such universe"),
        (lambda p: [replace(s, universe="v") for s in p], "other policies or assets"),
    ],
)
def test_a_damaged_snapshot_is_refused_and_the_shard_stays_as_it_was(topology, pieces, damage, words):
    shard = Shard(topology, 0)
    with pytest.raises(SnapshotError, match=words):
        shard.load(damage(list[Snapshot](pieces)))
    assert shard.engines == {}


def test_the_digest_does_not_depend_on_which_universe_came_first(topology):
    first, second = Shard(topology, 0), Shard(topology, 0)
    u, v = framed(ticks("u", 1)[0], 0), framed(ticks("v", 1)[0], 1)
    drive(first, [u, v])
    drive(second, [v, u])
    assert first.digest() == second.digest()


def test_a_record_decodes_to_its_event(topology):
    event = ticks("u", 1)[0]
    assert Shard(topology, 0).decode(framed(event, 0)) == event
    assert isinstance(event, ReturnEvent)


@pytest.mark.parametrize("key", [None, b"", b"v", b"U", "ü".encode(), b"\xff"])
@pytest.mark.parametrize("event", [worlds.tick(9, [0.0] * 4), worlds.position(9, 0, [1.0] * 4)])
def test_a_record_under_another_key_than_its_universe_is_a_dead_letter_and_leaves_no_engine(
    topology, key, event
):
    shard = Shard(topology, 0)
    (out,) = shard.apply(replace(framed(event, 0), key=key))
    assert (out.event.code, out.event.key) == ("wrong_key", key)
    assert "universe u" in out.event.reason
    assert shard.engines == {}


def test_returns_from_far_ahead_are_dead_letters_and_close_no_bar(topology):
    shard, events = Shard(topology, 0), ticks("u", 6)
    drive(shard, [framed(e, i) for i, e in enumerate(events[:5])])
    before = shard.engines["u"].snapshot()
    far = replace(events[5], event_time=events[4].event_time + 401 * worlds.DAY)
    (out,) = shard.apply(framed(far, 5))
    assert out.event.code == "ahead"
    assert "correct the source's clock" in out.event.reason
    assert shard.engines["u"].snapshot() == before
    assert shard.apply(framed(replace(far, event_time=far.event_time - worlds.DAY), 6))[-1].role == "regimes"


def test_where_no_limit_is_set_returns_may_come_from_any_time(topology):
    free = topology.model_copy(
        update={"worker": topology.worker.model_copy(update={"max_ahead_seconds": None})}
    )
    free._policies = topology._policies
    shard, events = Shard(free, 0), ticks("u", 2)
    far = replace(events[1], event_time=1000 * 365 * worlds.DAY)
    assert [o.role for o in drive(shard, [framed(events[0], 0), framed(far, 1)])][-1] == "regimes"


def test_headers_that_nobody_can_read_are_a_dead_letter(topology):
    record = replace(framed(ticks("u", 1)[0], 0), headers=((UNREADABLE_HEADERS, b""),))
    (out,) = Shard(topology, 0).apply(record)
    assert (out.event.code, out.event.reason) == ("malformed", "the name of a header is not UTF-8")
