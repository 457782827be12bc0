"""Positions and control go back to where the audit chain says they fell, from the start or a snapshot."""

from dataclasses import replace

import pytest
import recorded
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.codec import Codec
from stream_allocator.errors import DataError
from stream_allocator.events import AuditEntry
from stream_allocator.stream.interleave import interleave
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import load_topology

BARS = 40


@pytest.fixture(scope="module")
def topology(tmp_path_factory):
    return load_topology(recorded.write_topology(tmp_path_factory.mktemp("interleave")))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two universes, ``u`` and ``v``, in one partition."""
    made = load_topology(recorded.write_topology(tmp_path_factory.mktemp("pair")))
    twin = made.universes[0].model_copy(update={"name": "v"})
    other = made.model_copy(update={"universes": (*made.universes, twin)})
    other._policies = {(name, "core"): made.policies("u")["core"] for name in ("u", "v")}
    return other


def audit_of(log):
    return [Codec().unframe(AuditEntry, r.value, r.headers) for r in log.get(("audit", 0), [])]


def others_of(log):
    return {(r.role, r.offset): r for role in ("positions", "control") for r in log.get((role, 0), [])}


def again(shard, log, start=0):
    """Apply a log from a returns offset on, in the order of its chain; what came out."""
    returns = log.get(("returns", 0), [])[start:]
    return [o for _, outs in interleave(shard, returns, others_of(log), audit_of(log)) for o in outs]


placements = st.lists(st.tuples(st.integers(0, BARS), st.sampled_from("pcdx")), max_size=8)


def events_with(placed):
    """A history with positions, control, duplicates and refused positions at any places."""
    events = [(i + 0.5, worlds.tick(i, x)) for i, x in enumerate(worlds.returns(BARS))]
    modes = ("baseline", "active", "halted", "shadow")
    for n, (bar, kind) in enumerate(placed):
        event = {
            "p": worlds.position(bar, n, [250 + n, 250, 250, 150], cash=100 - n),
            "c": worlds.control(bar, n, modes[n % 4]),
            "d": worlds.position(bar, 0, [250, 250, 250, 150], cash=100),
            "x": worlds.position(bar, n, [1, 1, 1, 1], cash=1e6, nav=5.0),
        }[kind]
        events.append((bar + n * 1e-3, event))
    return [e for _, e in sorted(events, key=lambda pair: pair[0])]


@settings(max_examples=25)
@given(placed=placements)
def test_any_run_repeats_byte_for_byte(topology, placed):
    log = recorded.run(topology, events_with(placed))
    produced = again(Shard(topology, 0), log)
    for role in ("audit", "allocations", "regimes"):
        assert [o.value for o in produced if o.role == role] == [r.value for r in log.get((role, 0), [])]


@settings(max_examples=25)
@given(placed=placements, cut=st.integers(0, BARS + 8))
def test_any_run_repeats_from_any_of_its_states(topology, placed, cut):
    events = events_with(placed)
    log, head = recorded.run(topology, events), recorded.run(topology, events[:cut])
    whole, part, twin = Shard(topology, 0), Shard(topology, 0), Shard(topology, 0)
    again(whole, log)
    again(part, head)
    twin.load(recorded.saved(part))
    again(twin, log, start=len(head.get(("returns", 0), [])))
    assert twin.digest() == whole.digest()


@settings(max_examples=25)
@given(placed=placements, cuts=st.tuples(st.integers(0, 2 * BARS), st.integers(0, 2 * BARS)))
def test_universes_that_were_saved_at_different_moments_meet_in_the_tail(pair, placed, cuts):
    first, second = sorted(cuts)
    events = [
        replace(e, universe=name) for e in events_with(placed) for name in ("u", "v")
    ]  # equal histories: a mistake in whose records are passed over shows in both
    log = recorded.run(pair, events)
    whole, twin = Shard(pair, 0), Shard(pair, 0)
    again(whole, log)
    snapshots = []
    for name, cut in (("u", first), ("v", second)):
        head = recorded.run(pair, events[:cut])
        part = Shard(pair, 0)
        again(part, head)
        ends = recorded.saved(part, len(head.get(("returns", 0), [])))
        snapshots += [s for s in ends if s.universe == name]
    twin.load(snapshots)
    again(twin, log, start=len(recorded.run(pair, events[:first]).get(("returns", 0), [])))
    assert twin.digest() == whole.digest()
    assert [twin.engines[u].snapshot() for u in ("u", "v")] == [
        whole.engines[u].snapshot() for u in ("u", "v")
    ]


def test_records_that_no_chain_names_are_not_applied(topology):
    log = recorded.run(topology, events_with([(10, "p")]))
    audit = [e for e in audit_of(log) if e.kind != "position"]
    shard = Shard(topology, 0)
    assert [r.role for r, _ in interleave(shard, log["returns", 0], others_of(log), audit)] == [
        "returns"
    ] * BARS


def test_a_record_that_the_chain_names_and_the_log_lacks_is_named(topology):
    log = recorded.run(topology, events_with([(10, "p")]))
    with pytest.raises(DataError, match=r"positions \[0\]: offset 0 is gone"):
        again(Shard(topology, 0), log | {("positions", 0): []})


def test_an_unreadable_return_record_is_passed_by(topology):
    log = recorded.run(topology, events_with([(10, "c")]))
    log["returns", 0].append(Record("returns", 0, BARS, b"u", b"junk"))
    assert again(Shard(topology, 0), log)[-1].role == "dead_letters"
