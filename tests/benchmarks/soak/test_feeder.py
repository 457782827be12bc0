"""What the soak feeds: each universe in turn, and rubbish that is all refused."""

import pytest

from benchmarks import workload
from benchmarks.soak.feeder import CONTROL_BARS, POSITION_BARS, Feed, rubbish
from benchmarks.soak.world import ASSETS, UNIVERSES
from stream_allocator.codec import Codec
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard


@pytest.fixture(scope="module")
def topology():
    return workload.topology(ASSETS, UNIVERSES)


def test_every_universe_gets_every_bar_once_and_positions_and_control_among_them(topology):
    feed = Feed(topology, 1)
    bars = CONTROL_BARS
    fed = [feed.next() for _ in range(UNIVERSES * bars)]
    assert [(u, bar) for u, bar, _ in fed] == [(u, bar) for bar in range(bars) for u in range(UNIVERSES)]
    roles = [role for u, _, events in fed if u == 0 for role, _ in events]
    assert [roles.count(r) for r in ("returns", "positions", "control")] == [bars, bars // POSITION_BARS, 1]


def test_a_worker_takes_in_what_is_fed_and_refuses_the_rubbish_to_the_last_record(topology):
    shard, codec, feed = Shard(topology, 0), Codec(), Feed(topology, 1)
    offset = 0

    def apply(role, key, value, headers):
        nonlocal offset
        offset += 1
        return [o.role for o in shard.apply(Record(role, 0, offset, key, value, tuple(headers)))]

    for _ in range(UNIVERSES * (POSITION_BARS + 1)):
        universe, _, events = feed.next()
        for role, event in events:
            out = apply(role, topology.universes[universe].name.encode(), *codec.frame(event))
            assert "dead_letters" not in out
    assert shard.bars == UNIVERSES * (POSITION_BARS + 1)
    for record in rubbish(topology, 50):
        assert apply(*record) == ["dead_letters"]
