"""Records that no feeder should send, on real Kafka: each is a dead letter, and the worker goes on."""

import glob
import uuid
from pathlib import Path

import confluent_kafka
import pytest
import worlds
from cluster import Feeder, Outputs, WorkerProcess, make_topology
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from benchmarks import workload
from benchmarks.fuzz import kafka as fuzz
from benchmarks.fuzz.raw_headers import produce
from stream_allocator.codec import Codec, digest
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import UNREADABLE_HEADERS

pytestmark = pytest.mark.kafka

LIBRARY = glob.glob(
    str(Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs" / "librdkafka*.so*")
)


@pytest.fixture
def world(kafka, tmp_path):
    path, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    return path, topology, Feeder(topology)


def ticks(first, last):
    return [worlds.tick(i, x) for i, x in enumerate(worlds.returns(last)) if i >= first]


def answers(path, topology, count, bars):
    """The dead letters and regime updates of a worker that meets what is on the topics."""
    letters, updates = Outputs(topology, "dead_letters"), Outputs(topology, "regimes")
    with WorkerProcess(path) as worker:
        found = letters.until(count, worker), updates.until(bars, worker)
        assert worker.stop() == 0
    letters.close()
    updates.close()
    assert [u.bar for u in found[1]] == list(range(bars))
    assert len(found[0]) == count
    return found[0]


def set_limit(topology, name, limit):
    """Change a topic's ``max.message.bytes``."""
    admin = AdminClient({"bootstrap.servers": topology.bootstrap_servers})
    entry = ConfigEntry("max.message.bytes", str(limit), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


@pytest.mark.parametrize(
    ("size", "limit"), [(1_048_000, None), (5_000_000, 6_000_000)], ids=["default", "raised"]
)
def test_a_record_as_large_as_the_topic_allows_is_cut_and_its_whole_stands_at_its_origin(world, size, limit):
    path, topology, feeder = world
    if limit is not None:
        set_limit(topology, topology.topics.returns, limit)
    large = Producer({"bootstrap.servers": topology.bootstrap_servers, "message.max.bytes": 10_000_000})
    value, headers = b"\xff" * size, [("h", b"1" * 300), ("h", None)]
    feeder.send(ticks(0, 3))
    large.produce(topology.topics.returns, value, key=b"u", headers=headers, partition=0)
    assert large.flush(20) == 0
    feeder.send(ticks(3, 6))
    (letter,) = answers(path, topology, 1, 6)
    assert letter.code == "malformed"
    assert (letter.topic, letter.offset) == (topology.topics.returns, 3)
    assert letter.cut.value_bytes == size
    assert letter.cut.value_digest == digest(value)
    assert value.startswith(letter.value)
    with TopicReader(topology) as reader:
        (origin,) = reader.read({("returns", 0): (letter.offset, letter.offset + 1)})
    assert origin.value == value


def test_a_mode_change_with_a_novel_for_a_reason_is_refused_and_audited_in_short(world):
    path, topology, feeder = world
    novel = worlds.control(3, 0, "halted", reason="x" * 900_000, operator="y" * 50_000)
    feeder.send([*ticks(0, 3), novel])
    with WorkerProcess(path) as worker:
        letters, audit = Outputs(topology, "dead_letters"), Outputs(topology, "audit")
        (letter,) = letters.until(1, worker)
        (entry,) = [e for e in audit.until(2, worker) if e.kind == "control"]
    assert letter.code == entry.outcome == "invalid"
    assert "too long" in letter.reason
    assert (len(entry.reason), len(entry.operator)) == (2000, 200)


def test_hostile_headers_stop_nobody_and_are_kept(world):
    path, topology, feeder = world
    value, ours = Codec().frame(worlds.tick(3, [0.0] * 4))
    feeder.send(ticks(0, 3))
    hostile = [
        [("avro-fingerprint", None)],
        [("avro-fingerprint", b"x" * 500_000)],
        [("avro-fingerprint", Codec().frame(worlds.position(0, 0, [1.0] * 4))[1][0][1])],
        [("avro-fingerprint", b"\0" * 8), *ours],  # the first of a name counts
    ]
    harmless = [
        [*ours, ("avro-fingerprint", b"\0" * 8)],
        [*ours, ("traceparent", b"\xff" * 1000), ("traceparent", None), ("", b""), ("é" * 1000, b"")],
        [(f"h{i}", b"") for i in range(5000)],
    ]
    for headers in hostile + harmless:
        feeder.raw("returns", value, b"u", headers)
    feeder.flush()
    feeder.send(ticks(4, 6))
    letters = answers(path, topology, len(hostile), 6)  # of the harmless the first is a bar, others repeat it
    assert {x.code for x in letters} == {"unknown_schema"}
    assert [len(x.headers[0].value) for x in letters] == [0, 500_000, 8, 8]


@pytest.mark.skipif(not LIBRARY, reason="needs the librdkafka of a Linux wheel of confluent-kafka")
def test_header_names_that_are_no_text_are_a_dead_letter_too(world):
    path, topology, feeder = world
    value, _ = Codec().frame(worlds.tick(3, [0.0] * 4))
    feeder.send(ticks(0, 30))  # so many that the interpreter calls by its quick way
    produce(
        topology.bootstrap_servers,
        topology.topics.returns,
        0,
        b"u",
        value,
        [(b"\xff\xfe", b"v"), (b"a", b"")],
    )
    feeder.send(ticks(30, 33))
    (letter,) = answers(path, topology, 1, 33)
    assert (letter.code, letter.offset, letter.value) == ("malformed", 30, value)
    assert [h.name for h in letter.headers] == [UNREADABLE_HEADERS]


def test_a_fuzzed_stream_is_accounted_for_and_leaves_the_engines_where_the_good_records_bring_them(kafka):
    plan = workload.policy(max_run=64)
    topology = workload.topology(
        10, 3, 1, kafka.bootstrap_servers, tag=uuid.uuid4().hex[:6], plan=plan, snapshot_bars=20
    )
    verdict, usage, _ = fuzz.run(topology, 3000, seed=5)
    assert verdict.unaccounted == []
    assert (verdict.engine_moved, verdict.moved) == (0, [])
    assert verdict.total("applied", "duplicate") + verdict.total() == 3000
    assert usage.descriptors[-1] <= usage.descriptors[0] + 2
