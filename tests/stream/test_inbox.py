"""What is fetched comes in stretches of one topic partition, in order, within the bounds of a batch."""

import time

import pytest
import worlds
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from stream_allocator.stream import inbox
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.stream.inbox import Inbox
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.topology import Topology, Worker

RECORDS = 60


@pytest.fixture(scope="module")
def broker():
    """Records on two partitions of returns, one of positions: their values are their offsets."""
    topology = Topology(name="t", universes=(worlds.universe(),))
    with EmbeddedBroker(tuple(topology.topics.names.values())) as made:
        topology = topology.at(made.bootstrap_servers)
        producer = Producer(producer_settings(topology))
        for i in range(RECORDS):
            for topic, partition in WHERE:
                producer.produce(topic, b"%d" % i, b"u", partition, headers=[("h", b"x")])
        assert producer.flush(20) == 0
        yield topology


WHERE = (("returns", 0), ("returns", 3), ("positions", 0))


@pytest.fixture
def consumer(broker):
    made = Consumer(consumer_settings(broker, "inbox", overrides={"fetch.wait.max.ms": 1}))
    made.assign([TopicPartition(*where, OFFSET_BEGINNING) for where in WHERE])
    yield made
    made.close()


def box(topology, **bounds):
    names = topology.topics.names
    return Inbox(Worker(**{"batch_seconds": 1.0, **bounds}), {names[role]: role for role in INPUTS})


def taken(made, consumer, count):
    """Fill and empty it until so many records are there."""
    stretches, deadline = [], time.monotonic() + 20
    while sum(map(len, stretches)) < count:
        assert time.monotonic() < deadline
        made.fill(consumer)
        stretches += made.stretches
        made.stretches.clear()
    return stretches


def test_every_record_is_in_one_stretch_of_its_partition_in_order(broker, consumer):
    stretches = taken(box(broker), consumer, RECORDS * len(WHERE))
    for where in WHERE:
        own = [s for s in stretches if (s.topic, s.partition) == where]
        assert [offset for s in own for offset in s.offsets()] == list(range(RECORDS))
        assert [v for s in own for v in s.values()] == [b"%d" % i for i in range(RECORDS)]
        assert set().union(*(s.keys() for s in own)) == {b"u"}
        assert {s.role for s in own} == {where[0]}
    assert stretches[0].record(1) == Record(
        stretches[0].role, stretches[0].partition, 1, b"u", b"1", (("h", b"x"),)
    )


def test_a_batch_ends_by_count(broker, consumer):
    made = box(broker, batch_records=7)
    sizes = []
    for _ in range(400):
        made.fill(consumer)
        sizes.append(sum(map(len, made.stretches)))
        made.stretches.clear()
        if sum(sizes) == RECORDS * len(WHERE):
            break
    assert max(sizes) == 7
    assert sum(sizes) == RECORDS * len(WHERE)


def test_a_batch_ends_by_size(broker, consumer, monkeypatch):
    monkeypatch.setattr(inbox, "BATCH_BYTES", 10)
    monkeypatch.setattr(inbox, "BITE", 3)
    made = box(broker)
    sizes = []
    while sum(sizes) < RECORDS:
        made.fill(consumer)
        sizes.append(sum(map(len, made.stretches)))
        made.stretches.clear()
    assert max(sizes) <= 1 + 10 + 3


def test_what_was_taken_away_is_forgotten_and_what_was_begun_is_not_added_to(broker, consumer):
    made = box(broker)
    deadline = time.monotonic() + 20
    while len({(s.topic, s.partition) for s in made.stretches}) < len(WHERE):
        assert time.monotonic() < deadline
        for stretch in made.stretches:
            stretch.taken = 1
        before = [len(s) for s in made.stretches]
        made.fill(consumer)
        assert [len(s) for s in made.stretches][: len(before)] == before
    made.drop({("returns", 3)})
    assert {(s.topic, s.partition) for s in made.stretches} == {("returns", 0), ("positions", 0)}
