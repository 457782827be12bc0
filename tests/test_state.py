"""State keeps every bit, and broken bytes are an error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stream_allocator.errors import SnapshotError
from stream_allocator.state import pack, unpack

LEAVES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.booleans(),
    st.none(),
    arrays(np.float64, st.integers(0, 4), elements=st.floats(allow_nan=True)),
    arrays(np.int64, (2, 3)),
)
KEYS = st.text("abcdefgh", min_size=1, max_size=4)
TREES = st.dictionaries(KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)))


@given(TREES)
def test_a_tree_comes_back_and_packs_to_the_same_bytes(tree):
    assert pack(unpack(pack(tree))) == pack(tree)
    assert unpack(pack(tree)).keys() == tree.keys()


def test_arrays_come_back_writable_with_their_bits():
    array = np.array([np.nan, -0.0, np.inf, 5e-324])
    back = unpack(pack({"a": array}))["a"]
    assert back.tobytes() == array.tobytes()
    back[0] = 1.0


def test_the_order_of_keys_does_not_matter():
    assert pack({"a": 1, "b": np.ones(2)}) == pack({"b": np.ones(2), "a": 1})


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:-1], lambda b: b + b"x", lambda b: b[:5], lambda b: b"", lambda b: b[:8] + b"!" + b[9:]],
)
def test_damaged_bytes_are_an_error(damage):
    with pytest.raises(SnapshotError):
        unpack(damage(pack({"a": np.ones(3)})))
