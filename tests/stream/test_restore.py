"""The commit metadata: small, readable back, and never mistaken for someone else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_allocator.errors import RestoreError
from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.restore import METADATA_BYTES, Manifest

offsets = st.integers(0, 2**63 - 1)
manifests = st.builds(
    Manifest,
    digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
    snapshot=st.none() | st.tuples(offsets, st.integers(1, 10_000)),
    inputs=st.fixed_dictionaries(dict.fromkeys(INPUTS, offsets)),
    audit=offsets,
)


@given(manifests)
def test_a_manifest_fits_the_metadata_and_comes_back(manifest):
    text = manifest.to_metadata()
    assert len(text.encode()) <= METADATA_BYTES // 8
    assert Manifest.from_metadata(text) == manifest


@pytest.mark.parametrize(
    "text", ["someone else's", "{}", "[]", "1", '{"version":2,"digest":"x"}', '{"version":1,"strange":1}']
)
def test_metadata_of_someone_else_is_refused_and_quoted(text):
    with pytest.raises(RestoreError) as caught:
        Manifest.from_metadata(text)
    assert repr(text) in str(caught.value)
