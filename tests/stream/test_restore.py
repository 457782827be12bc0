"""The commit metadata: small, readable back, and never mistaken for someone else's."""

import json

import pytest
import recorded
import worlds
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.errors import OffsetsBehind, RestoreError
from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.restore import METADATA_BYTES, Manifest, SnapshotAt, restore
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import load_topology

offsets = st.integers(0, 2**63 - 1)
inputs = st.fixed_dictionaries(dict.fromkeys(INPUTS, offsets))
snapshots = st.builds(SnapshotAt, offset=offsets, count=st.integers(1, 10_000), inputs=inputs, audit=offsets)
manifests = st.builds(
    Manifest,
    digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
    taken=offsets,
    snapshots=st.lists(snapshots, max_size=2).map(tuple),
    first=inputs,
)


@given(manifests)
def test_a_manifest_fits_the_metadata_and_comes_back(manifest):
    text = manifest.to_metadata()
    assert len(text.encode()) <= METADATA_BYTES // 4
    assert Manifest.from_metadata(text) == manifest


@pytest.mark.parametrize(
    "text", ["someone else's", "{}", "[]", "1", '{"version":3,"digest":"x"}', '{"version":1,"strange":1}']
)
def test_metadata_of_someone_else_is_refused_and_quoted(text):
    with pytest.raises(RestoreError) as caught:
        Manifest.from_metadata(text)
    assert repr(text) in str(caught.value)


@given(snapshots, snapshots, snapshots)
def test_two_snapshots_are_kept_the_newest_first(a, b, c):
    manifest = Manifest("0" * 64).after(a).after(b).after(c)
    assert manifest.snapshots == (c, b)
    assert manifest.taken == 3


def test_a_manifest_of_the_first_release_is_read():
    tail = {"returns": 7, "positions": 1, "control": 0}
    old = {"version": 1, "digest": "d", "snapshot": [5, 2], "inputs": tail, "audit": 9}
    assert Manifest.from_metadata(json.dumps(old)) == Manifest("d", 1, (SnapshotAt(5, 2, tail, 9),))
    assert Manifest.from_metadata(json.dumps(old | {"snapshot": None})) == Manifest("d", first=tail)


HISTORY = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(60))]
HISTORY.insert(40, worlds.position(39, 0, [300, 300, 200, 100], cash=100))
HISTORY.insert(52, worlds.control(50, 0, "baseline"))
HISTORY.append(b"no event")


def committed_after(folder, taken):
    """What a worker committed after so many events, with the log of all of them: to be restored from."""
    topology = load_topology(recorded.write_topology(folder))
    shard = Shard(topology, 0)
    committed, log = recorded.run(topology, HISTORY[:taken], shard), recorded.run(topology, HISTORY)
    offsets = {role: len(committed.get((role, 0), [])) for role in INPUTS}
    metadata = Manifest(shard.digest(), first=dict.fromkeys(INPUTS, 0)).to_metadata()
    return recorded.Topics(topology, log), offsets, metadata, shard


@pytest.mark.parametrize("taken", [1, 30, 40, 41, 45, 52, 53, 61, 62])
def test_offsets_from_before_what_is_published_are_refused(tmp_path, taken):
    """Whatever comes next: a decision, a position, a change of mode, a bar without any of these, a letter."""
    log, offsets, metadata, _ = committed_after(tmp_path, taken)
    with pytest.raises(OffsetsBehind, match="older than what is published"):
        restore(log, 0, offsets, metadata)


def test_the_latest_offsets_are_restored_from(tmp_path):
    log, offsets, metadata, shard = committed_after(tmp_path, len(HISTORY))
    back = restore(log, 0, offsets, metadata)
    assert (back.positions, back.replayed, back.shard.digest()) == (offsets, len(HISTORY), shard.digest())


def test_offsets_that_are_refused_cost_no_replay(tmp_path):
    log, offsets, metadata, _ = committed_after(tmp_path, 30)
    log.read = None
    with pytest.raises(OffsetsBehind):
        restore(log, 0, offsets, metadata)


@pytest.mark.parametrize("published", [HISTORY, HISTORY[:1], HISTORY[-1:]], ids=["all", "start", "letter"])
def test_no_offsets_where_something_is_published_are_refused(tmp_path, published):
    """They have expired, or a new group is to write on the topics of an old one."""
    topology = load_topology(recorded.write_topology(tmp_path))
    log = recorded.Topics(topology, recorded.run(topology, published))
    with pytest.raises(OffsetsBehind, match=f"group {topology.worker.group} has committed no offsets"):
        restore(log, 0, dict.fromkeys(INPUTS, -1001), None)


def test_no_offsets_where_nothing_is_published_are_a_beginning(tmp_path):
    topology = load_topology(recorded.write_topology(tmp_path))
    fed = {("returns", 0): recorded.run(topology, HISTORY)["returns", 0]}
    back = restore(recorded.Topics(topology, fed), 0, dict.fromkeys(INPUTS, -1001), None)
    assert (back.positions, back.shard.bars) == (dict.fromkeys(INPUTS, 0), 0)
