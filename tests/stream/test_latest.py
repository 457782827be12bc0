"""A state is the last one exactly when nothing that is published came after it."""

from dataclasses import replace

import pytest
import recorded
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.errors import OffsetsBehind, RestoreError
from stream_allocator.events import AuditEntry
from stream_allocator.stream.latest import published, require_chain_end, require_latest
from stream_allocator.stream.record import INPUTS, OUTPUTS
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import load_topology

NAMES = ("u", "v")
#: What comes next at a bar: a cross-section, one asset of it (no bar closes), the same returns once more
#: (nothing is published), a position, a change of mode, and bytes that are no event.
STEPS = ("tick", "tick", "tick", "one asset", "again", "position", "control", "noise")


def history(steps):
    """The events of (universe, step) after step."""
    returns = {}
    for n, (name, step) in enumerate(steps):
        match step:
            case "tick":
                returns[name] = worlds.tick(n, [0.01 * (-1) ** n] * len(worlds.ASSETS), universe=name)
                yield returns[name]
            case "one asset":
                yield worlds.tick(n, [0.01], assets=worlds.ASSETS[:1], universe=name)
            case "again" if name in returns:
                yield returns[name]
            case "position":
                yield worlds.position(n, n, [300, 300, 200, 100], cash=100, universe=name)
            case "control":
                yield worlds.control(n, n, "baseline", universe=name)
            case _:
                yield b"no event"


@pytest.fixture(scope="module")
def topology(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latest")
    return recorded.of_universes(load_topology(recorded.write_topology(folder)), *NAMES)


def require(topology, shard, positions, last):
    require_latest(topology, positions, last)
    require_chain_end(shard, [p.event for p in last if isinstance(p.event, AuditEntry)])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(STEPS)), max_size=40))
def test_a_state_is_refused_exactly_when_something_was_published_after_it(topology, steps):
    events = list(history(steps))
    whole = recorded.run(topology, events)
    last = published(recorded.Topics(topology, whole), 0)
    shard, positions = Shard(topology, 0), dict.fromkeys(INPUTS, 0)
    left = sum(len(records) for (role, _), records in whole.items() if role in OUTPUTS.values())
    queues = {role: iter(whole.get((role, 0), [])) for role in INPUTS}
    for event in [*events, None]:
        try:
            require(topology, shard, positions, last)
            assert left == 0
        except OffsetsBehind:
            assert left > 0
        if event is not None:
            record = next(queues["returns" if isinstance(event, bytes) else recorded.ROLES[type(event)]])
            left -= len(shard.apply(record))
            positions[record.role] = record.offset + 1


def test_a_record_that_cannot_be_read_is_named(topology):
    whole = recorded.run(topology, [worlds.tick(0, worlds.returns(1)[0])])
    at = ("regimes", 0)
    whole[at] = [*whole[at], replace(whole[at][-1], offset=7, value=b"of a later release")]
    with pytest.raises(RestoreError, match=r"regimes \[0\] offset 7 cannot be read"):
        published(recorded.Topics(topology, whole), 0)
