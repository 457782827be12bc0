"""A log that grows while it is read is cut where its worker committed, and repeats from there."""

import pytest
import recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.codec import Codec
from stream_allocator.events import AuditEntry
from stream_allocator.replay import replay
from stream_allocator.stream.cut import cut
from stream_allocator.stream.record import INPUTS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    _, topology, log = recorded.default_run(tmp_path_factory.mktemp("cut"))
    return topology, log


@settings(max_examples=25)
@given(st.integers(0, 62))
def test_any_committed_point_gives_a_log_that_repeats(run, steps):
    topology, log = run
    inputs = [(40, "positions", 0), (51, "control", 0)]  # where they fell among the 60 returns
    order = [("returns", i) for i in range(60)]
    for at, role, offset in reversed(inputs):
        order.insert(at, (role, offset))
    ends = dict.fromkeys(INPUTS, 0)
    for role, offset in order[:steps]:
        ends[role] = offset + 1
    committed = {(role, 0): end for role, end in ends.items()}
    part = cut(log, committed, Codec())
    assert len(part["returns", 0]) == ends["returns"]
    assert len(part["regimes", 0]) == ends["returns"]
    result = replay(topology, part)
    assert result.identical, result.text()


def test_a_partition_without_commits_is_kept_whole(run):
    _, log = run
    assert cut(log, {}, Codec()) == log


def test_the_recorded_order_is_the_one_assumed_here(run):
    _, log = run
    entries = [Codec().unframe(AuditEntry, r.value, r.headers) for r in log["audit", 0]]
    placed = [(e.kind, e.returns_offset) for e in entries if e.kind in {"position", "control"}]
    assert placed == [("position", 39), ("control", 50)]
