"""A partition is saved universe by universe, over as many transactions as it takes."""

import pytest
import recorded
import worlds
from confluent_kafka import TopicPartition

from stream_allocator.codec import Codec
from stream_allocator.stream.part import Part
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.restore import Manifest, Restored, SnapshotAt
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import load_topology

NAMES = ("u", "v", "w")


@pytest.fixture
def part(tmp_path):
    """Three universes of ten bars each, nothing saved."""
    topology = recorded.of_universes(load_topology(recorded.write_topology(tmp_path)), *NAMES)
    shard = Shard(topology, 0)
    positions = dict.fromkeys(INPUTS, 0)
    back = Part(Restored(shard, positions, Manifest(shard.digest()), 0, 0, 0))
    for bar, x in enumerate(worlds.returns(10)):
        for name in NAMES:
            advance(back, name, bar, x)
    return back


def advance(part, name, bar, x):
    value, headers = Codec().frame(worlds.tick(bar, x, universe=name))
    offset = part.positions["returns"]
    part.shard.apply(Record("returns", 0, offset, name.encode(), value, tuple(headers)))
    part.positions["returns"] = offset + 1


def commit(part, records, first):
    """A transaction with the records at offsets from ``first`` on."""
    offsets = range(first, first + len(records))
    manifest = part.next_manifest(offsets)
    part.committed(manifest, offsets)
    return manifest


def test_a_snapshot_is_due_when_its_universes_have_moved_so_far_on_average(part):
    assert part.unsaved_bars == 30
    assert part.is_due(10)
    assert not part.is_due(11)
    part.begin_snapshot()
    assert part.unsaved_bars == 0


def test_the_manifest_names_a_snapshot_once_its_last_universe_is_committed(part):
    part.audit_end = 7
    part.begin_snapshot()
    begun = dict(part.positions)
    for at, name in zip((100, 120, 140), NAMES, strict=True):
        records = part.save(room=1)
        assert {r.event.universe for r in records} == {name}
        assert {r.event.returns_end for r in records} == {part.positions["returns"]}
        manifest = commit(part, records, at)
        advance(part, name, 10, (0.0,) * 4)
        assert part.saving == (name != "w")
        assert bool(manifest.snapshots) == (name == "w")
    assert manifest.snapshots == (SnapshotAt(100, 40 + len(records), begun, 7),)
    assert manifest.taken == 1
    assert commit(part, [], 0).snapshots == manifest.snapshots


def test_what_fits_goes_into_one_transaction_and_the_keys_alternate(part):
    part.begin_snapshot()
    first = part.save(room=10**9)
    assert [r.event.universe for r in first] == list(NAMES)
    commit(part, first, 5)
    part.begin_snapshot()
    assert {r.key.split(b"/")[1] for r in first} == {b"0"}
    assert {r.key.split(b"/")[1] for r in part.save(room=10**9)} == {b"1"}


def test_a_snapshot_that_is_given_up_is_never_named(part):
    part.begin_snapshot()
    commit(part, part.save(room=1), 100)
    part.begin_snapshot()
    assert commit(part, part.save(room=10**9), 200).snapshots[0].offset == 200


def test_a_committed_partition_is_recognised_by_offsets_and_manifest(part):
    at = {tp.topic: tp for tp in part.offsets({role: role for role in INPUTS}, part.manifest)}
    assert part.is_at(at)
    assert not part.is_at(at | {"returns": TopicPartition("returns", 0, 29, at["returns"].metadata)})
