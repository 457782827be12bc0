"""Replay repeats what was recorded, and finds whatever was changed, where it was changed."""

import json
from dataclasses import replace

import pytest
import recorded
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.archive import COMPARED, find_decision
from stream_allocator.errors import DataError
from stream_allocator.replay import first_difference, replay


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    _, topology, log = recorded.default_run(tmp_path_factory.mktemp("replay"))
    return topology, log


def edited(log, role, index, **changes):
    """The log with one record changed."""
    records = list(log[role, 0])
    records[index] = replace(records[index], **changes)
    return log | {(role, 0): records}


def test_what_was_recorded_repeats_byte_for_byte(run):
    topology, log = run
    result = replay(topology, log)
    assert result.identical
    assert result.compared == {role: len(log[role, 0]) for role in COMPARED}
    assert result.records == 62
    assert result.decisions == result.recorded_decisions > 5
    assert result.turnover == result.recorded_turnover > 0
    assert "identical, byte for byte" in result.text()
    assert json.loads(json.dumps(result.summary()))["identical"] is True


@settings(max_examples=60)
@given(data=st.data())
def test_any_changed_byte_of_any_output_is_found(run, data):
    topology, log = run
    role = data.draw(st.sampled_from(sorted(COMPARED)))
    index = data.draw(st.integers(0, len(log[role, 0]) - 1))
    value = bytearray(log[role, 0][index].value)
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] ^= data.draw(st.integers(1, 255))
    result = replay(topology, edited(log, role, index, value=bytes(value)))
    assert not result.identical
    first = result.differences[0]
    assert (first.role, first.universe) == (role, "u")
    # an audit entry that was made into one of another index shows at the next one at the latest
    assert first.offset == index


@settings(max_examples=20)
@given(data=st.data())
def test_a_record_that_was_taken_away_is_found(run, data):
    topology, log = run
    role = data.draw(st.sampled_from(sorted(COMPARED)))
    index = data.draw(st.integers(0, len(log[role, 0]) - 1))
    records = log[role, 0]
    result = replay(topology, log | {(role, 0): records[:index] + records[index + 1 :]})
    assert role in {d.role for d in result.differences}


def test_a_changed_return_shows_in_what_follows(run):
    topology, log = run
    event = worlds.tick(30, [0.05, 0.0, 0.0, 0.0])
    value, headers = recorded.Codec().frame(event)
    result = replay(topology, edited(log, "returns", 30, value=value, headers=tuple(headers)))
    first = next(d for d in result.differences if d.role == "regimes")
    assert first.offset == 30


def test_a_difference_names_the_field_and_both_values(run):
    topology, log = run
    codec = recorded.Codec()
    allocation = find_decision(log).allocation
    weights = list(allocation.weights)
    weights[2] = replace(weights[2], target=0.123)
    value, _ = codec.frame(replace(allocation, weights=tuple(weights)))
    index = [r.value for r in log["allocations", 0]].index(codec.frame(allocation)[0])
    (difference,) = replay(topology, edited(log, "allocations", index, value=value)).differences
    assert difference.field == "weights[2].target"
    assert difference.recorded == "0.123"
    assert difference.replayed == repr(allocation.weights[2].target)


def test_a_broken_audit_chain_is_reported_and_nothing_is_replayed(run):
    topology, log = run
    result = replay(topology, edited(log, "audit", 3, value=b"junk"))
    assert [(d.role, d.offset, d.field) for d in result.differences] == [("audit", 3, "hash")]
    assert result.records == 0


def test_a_position_that_the_chain_names_and_the_log_lacks_is_an_error(run):
    topology, log = run
    with pytest.raises(DataError, match="offset 0 is gone"):
        replay(topology, log | {("positions", 0): []})


def test_another_policy_tells_what_it_would_have_done(run):
    topology, log = run
    result = replay(topology, log, worlds.policy(schedule={"every": 20}))
    assert not result.identical
    assert result.decisions < result.recorded_decisions
    assert "decisions" in result.text()


def test_the_first_difference_goes_to_the_leaf():
    a = worlds.tick(0, [0.1, 0.2])
    assert first_difference(a, replace(a, returns=(0.1, 0.3))) == ("returns[1]", "0.2", "0.3")
    assert first_difference(a, replace(a, returns=(0.1,)))[0] == "returns"
