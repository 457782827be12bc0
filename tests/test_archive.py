"""Archives hold everything, and decisions are found in them with the evidence that belongs to them."""

from dataclasses import replace

import pytest
import recorded
from confluent_kafka import Producer

from stream_allocator.archive import (
    DECISIONS,
    ROLES,
    decisions,
    find_decision,
    read_archive,
    read_decision,
    read_decisions,
    write_archive,
)
from stream_allocator.codec import SCHEMA_NAMES, Codec, digest, encode
from stream_allocator.errors import DataError
from stream_allocator.events import Allocation, Evidence
from stream_allocator.replay import replay
from stream_allocator.stream.clients import FETCH_WAIT_VARIABLE, producer_settings
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.topology import load_topology
from stream_allocator.verify import verify

CONFLUENT = Codec({name: i + 1 for i, name in enumerate(SCHEMA_NAMES.values())})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return recorded.default_run(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def log(run):
    return run[2]


def edited(log, role, index, **changes):
    """The log with one record changed."""
    records = list(log[role, 0])
    records[index] = replace(records[index], **changes)
    return log | {(role, 0): records}


def wire(found):
    """Decisions as bytes: a turnover that nobody asked for is NaN, which equals nothing."""
    return [(encode(d.allocation), d.evidence_body) for d in found]


def in_confluent_framing(log):
    """The log as a topology with registry ids would have written it."""

    def reframed(cls, record):
        value, headers = CONFLUENT.frame(Codec().unframe(cls, record.value, record.headers))
        return replace(record, value=value, headers=tuple(headers))

    return {
        ("allocations", 0): [reframed(Allocation, r) for r in log["allocations", 0]],
        ("evidence", 0): [reframed(Evidence, r) for r in log["evidence", 0]],
    }


def test_an_archive_holds_everything(run, tmp_path):
    _, topology, log = run
    counts = write_archive(log, tmp_path / "archive")
    back = read_archive(tmp_path / "archive")
    assert back == {where: records for where, records in log.items() if where[0] in counts}
    assert counts["returns"] == 60
    assert replay(topology, back).identical


def test_some_roles_are_read_without_the_others_files(log, tmp_path):
    write_archive(log, tmp_path)
    for role in set(ROLES) - set(DECISIONS):
        (tmp_path / f"{role}.avro").unlink()
    assert read_archive(tmp_path, DECISIONS) == {(role, 0): log[role, 0] for role in DECISIONS}


def test_a_missing_or_damaged_archive_file_is_named(log, tmp_path):
    write_archive(log, tmp_path)
    file = tmp_path / "regimes.avro"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"regimes\.avro: not an archive"):
        read_archive(tmp_path)
    file.unlink()
    with pytest.raises(DataError, match=r"regimes\.avro: cannot be read"):
        read_archive(tmp_path)


def test_a_decision_is_found_by_id_and_the_latest_otherwise(log):
    first, *_, latest = decisions(log)
    assert wire([find_decision(log)]) == wire([latest])
    assert wire([find_decision(log, first.allocation.decision_id)]) == wire([first])
    assert wire([find_decision(log, portfolio="core")]) == wire([latest])
    assert latest.allocation.index > first.allocation.index
    for nothing in ({"decision_id": "nowhere"}, {"portfolio": "other"}):
        with pytest.raises(DataError, match=next(iter(nothing.values()))):
            find_decision(log, **nothing)


def test_every_decision_comes_with_its_own_evidence_in_the_order_of_the_topic(log):
    found = list(decisions(log))
    assert [encode(d.allocation) for d in found] == [r.value for r in log["allocations", 0]]
    for d in found:
        assert d.evidence.decision_id == d.allocation.decision_id
        assert digest(d.evidence_body) == d.allocation.evidence_digest
    one = found[2].allocation.decision_id
    assert [d.allocation.decision_id for d in decisions(log, one)] == [one]
    assert list(decisions(log, portfolio="other")) == []


def test_evidence_is_found_by_digest_even_where_another_record_has_its_id(log):
    first = next(decisions(log))
    forged = replace(first.evidence, risk_aversion=99.0)
    value, headers = Codec().frame(forged)
    extra = replace(log["evidence", 0][-1], offset=99, value=value, headers=tuple(headers))
    more = log | {("evidence", 0): [*log["evidence", 0], extra]}
    assert next(decisions(more)).evidence == first.evidence
    only = log | {("evidence", 0): [extra]}
    assert next(decisions(only)).evidence == forged


def test_evidence_that_is_gone_is_none(log):
    found = find_decision(log | {("evidence", 0): []})
    assert (found.evidence, found.evidence_body) == (None, b"")


def test_a_record_that_cannot_be_read_is_named_by_its_place(log):
    broken = edited(log, "allocations", 3, value=b"junk")
    with pytest.raises(DataError, match=r"allocations \[0\] offset 3: not a"):
        list(decisions(broken))
    with pytest.raises(DataError, match=r"allocations \[0\] offset 1: .*no value"):
        find_decision(edited(log, "allocations", 1, value=None))


def test_confluent_framing_needs_no_ids_and_is_no_part_of_the_digest(log):
    assert wire(decisions(in_confluent_framing(log))) == wire(decisions(log))


@pytest.mark.parametrize("framing", ["fingerprint", "confluent"])
def test_two_files_hold_the_values_of_two_records(log, tmp_path, framing):
    source = log if framing == "fingerprint" else in_confluent_framing(log)
    a, e = tmp_path / "allocation", tmp_path / "evidence"
    a.write_bytes(source["allocations", 0][2].value)
    e.write_bytes(source["evidence", 0][2].value)
    assert wire([read_decision(a, e)]) == wire(decisions(log))[2:3]
    e.write_bytes(b"junk")
    with pytest.raises(DataError, match=r"evidence: not a"):
        read_decision(a, e)
    a.unlink()
    with pytest.raises(DataError, match=r"allocation: cannot be read"):
        read_decision(a, e)


def test_decisions_are_read_from_live_topics(run, monkeypatch):
    monkeypatch.setenv(FETCH_WAIT_VARIABLE, "1")
    path, _, log = run
    topology = load_topology(path)
    names = topology.topics.names
    with EmbeddedBroker(tuple(names[role] for role in DECISIONS)) as broker:
        topology = topology.at(broker.bootstrap_servers)
        producer = Producer(producer_settings(topology))
        for role in DECISIONS:
            for record in log[role, 0]:
                producer.produce(
                    names[role], record.value, record.key, headers=list(record.headers), partition=1
                )
        assert producer.flush(10) == 0
        found = list(decisions(read_decisions(topology)))
    assert wire(found) == wire(decisions(log))
    assert all(verify(d.allocation, d.evidence, d.evidence_body).passed for d in found)
