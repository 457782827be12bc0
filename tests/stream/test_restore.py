"""The commit metadata: small, readable back, and never mistaken for someone else's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.errors import RestoreError
from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.restore import METADATA_BYTES, Manifest, SnapshotAt

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
