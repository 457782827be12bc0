"""The observer reads a bar's number from the bytes alone."""

from dataclasses import replace

import worlds
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak.observer import bar_of
from stream_allocator.codec import encode
from stream_allocator.events import RegimeUpdate

UPDATE = next(
    o
    for o in worlds.drive(worlds.engine(), [worlds.tick(i, x) for i, x in enumerate(worlds.returns(3))])
    if isinstance(o, RegimeUpdate)
)


@given(universe=st.text(max_size=300), time=st.integers(0, 2**62), bar=st.integers(0, 2**31))
def test_the_bar_is_the_one_that_the_codec_wrote(universe, time, bar):
    assert bar_of(encode(replace(UPDATE, universe=universe, event_time=time, bar=bar))) == bar
