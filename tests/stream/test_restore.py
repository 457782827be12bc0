"""The commit metadata: small, readable back, and never mistaken for someone else's."""

import json

import pytest
import recorded
import worlds
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.errors import RestoreError
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


class Recorded:
    """A recorded run, read as topics are."""

    def __init__(self, topology, log):
        self.topology, self._log = topology, log

    def bounds(self, role, partition):
        return 0, len(self._log.get((role, partition), []))

    def read(self, stretches):
        for where, (start, end) in stretches.items():
            yield from self._log.get(where, [])[start:end]

    def progress(self):
        pass


@pytest.mark.parametrize("taken", [30, 41, 45, 53, 62])
def test_what_others_have_applied_since_the_offsets_were_asked_for_is_left_alone(tmp_path, taken):
    topology = load_topology(recorded.write_topology(tmp_path))
    events = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(60))]
    events.insert(40, worlds.position(39, 0, [300, 300, 200, 100], cash=100))
    events.insert(52, worlds.control(50, 0, "baseline"))
    shard = Shard(topology, 0)
    committed, log = recorded.run(topology, events[:taken], shard), recorded.run(topology, events)
    offsets = {role: len(committed.get((role, 0), [])) for role in INPUTS}
    metadata = Manifest(shard.digest(), first=dict.fromkeys(INPUTS, 0)).to_metadata()
    back = restore(Recorded(topology, log), 0, offsets, metadata)
    assert (back.positions, back.replayed, back.shard.digest()) == (offsets, taken, shard.digest())
