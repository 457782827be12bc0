"""The books of the fuzz: they balance, and every way of cheating them shows."""

import pytest

from benchmarks import workload
from benchmarks.fuzz import direct
from benchmarks.fuzz.mix import GOOD_OR_DEPENDENT, WRONG, stream
from stream_allocator import intake
from stream_allocator.engine import Engine
from stream_allocator.stream.shard import Shard

RECORDS = 2500
SEED = 3


@pytest.fixture(scope="module")
def topology():
    return workload.topology(10, 3, plan=workload.policy(max_run=64))


def test_the_same_seed_gives_the_same_records_of_every_kind(topology):
    first = list(stream(topology, RECORDS, SEED))
    assert first == list(stream(topology, RECORDS, SEED))
    assert len(first) == RECORDS
    extra = {"between flips", "oversized", "header names no text"}
    assert {s.kind for s in first} == {*GOOD_OR_DEPENDENT, *WRONG, *extra}


def test_every_record_is_accounted_for_and_what_is_refused_moves_no_engine(topology):
    verdict = direct.run(topology, RECORDS, SEED)
    assert verdict.unaccounted == []
    assert (verdict.engine_moved, verdict.moved) == (0, [])
    assert verdict.compared > 100
    applied, duplicates, letters = verdict.total("applied"), verdict.total("duplicate"), verdict.total()
    assert applied + duplicates + letters == RECORDS
    assert min(applied, duplicates, letters) > 200


def no_limit(monkeypatch):
    monkeypatch.setattr(intake, "LARGEST_RETURN", float("inf"))


def lost_letters(monkeypatch):
    apply = Shard.apply

    def lossy(self, record):
        return [o for o in apply(self, record) if o.role != "dead_letters" or record.offset % 100]

    monkeypatch.setattr(Shard, "apply", lossy)


def refused_positions_leave_a_trace(monkeypatch):
    audit = Engine._audit_input

    def marked(self, event, offset, outcome):
        if outcome == "invalid":
            self._books["core"].bucket.level *= 0.999
        return audit(self, event, offset, outcome)

    monkeypatch.setattr(Engine, "_audit_input", marked)


def no_duplicates(monkeypatch):
    monkeypatch.setattr(Engine, "_is_duplicate", lambda self, source, sequence: False)


@pytest.mark.parametrize("fault", [no_limit, lost_letters, refused_positions_leave_a_trace, no_duplicates])
def test_a_shard_at_fault_does_not_pass(topology, monkeypatch, fault):
    fault(monkeypatch)
    try:
        verdict = direct.run(topology, RECORDS, SEED)
    except Exception:  # what should have been a dead letter may be no event at all
        return
    assert verdict.unaccounted or verdict.engine_moved
