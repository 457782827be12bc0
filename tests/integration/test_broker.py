"""The brokers that the integration tests stand on are real, and do what exactly-once needs of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import local_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from benchmarks.brokers import Broker, LocalKafka

pytestmark = pytest.mark.kafka
TESTS = Path(__file__).resolve().parents[1]


def create_topic(servers: str, partitions: int = 1) -> str:
    name = f"broker-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": servers})  # must outlive its futures
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(20)
    return name


def transactional(servers: str, name: str) -> Producer:
    # without the short back-off a transaction right after another waits 100 ms for the coordinator
    quick = {"linger.ms": 0, "retry.backoff.ms": 1, "retry.backoff.max.ms": 1}
    producer = Producer({"bootstrap.servers": servers, "transactional.id": name, **quick})
    producer.init_transactions(20)
    return producer


def values(servers: str, topic: str, isolation: str = "read_committed") -> list[bytes]:
    """Everything in partition 0, up to the end that this isolation level sees."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": uuid.uuid4().hex, "isolation.level": isolation,
         "enable.auto.commit": False, "enable.partition.eof": True, "fetch.queue.backoff.ms": 1}
    )  # fmt: skip
    consumer.assign([TopicPartition(topic, 0, 0)])
    seen, deadline = [], time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error():  # the end of the partition
                return seen
            seen.append(message.value())
    finally:
        consumer.close()
    raise TimeoutError(f"the end of {topic} was not reached in 30 s")


def committed(servers: str, group: str, topic: str) -> tuple[int, str | None]:
    admin = AdminClient({"bootstrap.servers": servers})
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    (place,) = admin.list_consumer_group_offsets([asked])[group].result(20).topic_partitions
    return place.offset, place.metadata


@pytest.fixture
def servers(kafka: Broker) -> str:
    return kafka.bootstrap_servers


@pytest.fixture(scope="module")
def local() -> Iterator[LocalKafka]:
    with local_kafka() as broker:
        yield broker


def test_the_broker_is_apache_kafka_in_kraft_mode(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    (node, *_) = admin.list_topics(timeout=10).brokers
    resource = ConfigResource(ConfigResource.Type.BROKER, str(node))
    configuration = admin.describe_configs([resource])[resource].result(10)
    # librdkafka's mock cluster answers no DescribeConfigs; other brokers have no process.roles
    assert "broker" in configuration["process.roles"].value


def test_only_committed_transactions_are_visible(servers: str) -> None:
    topic = create_topic(servers)
    producer = transactional(servers, topic)
    for batch, keep in ((b"a", True), (b"b", False), (b"c", True)):
        producer.begin_transaction()
        for i in range(3):
            producer.produce(topic, b"%b%d" % (batch, i), partition=0)
        producer.flush(10)  # on the broker before the abort, or the abort would prove nothing
        producer.commit_transaction(10) if keep else producer.abort_transaction(10)
    assert values(servers, topic) == [b"a0", b"a1", b"a2", b"c0", b"c1", b"c2"]
    assert len(values(servers, topic, "read_uncommitted")) == 9


def test_commit_metadata_travels_with_the_offset_and_an_abort_leaves_both(servers: str) -> None:
    source, sink = create_topic(servers), create_topic(servers)
    group, producer = f"group-{source}", transactional(servers, sink)
    member = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False})
    try:
        for offset, metadata, keep in ((3, "m" * 4000, True), (7, "never", False)):
            producer.begin_transaction()
            producer.produce(sink, b"%d" % offset, partition=0)
            place = TopicPartition(source, 0, offset, metadata)
            producer.send_offsets_to_transaction([place], member.consumer_group_metadata(), 10)
            producer.commit_transaction(10) if keep else producer.abort_transaction(10)
            assert committed(servers, group, source) == (3, "m" * 4000)
        assert values(servers, sink) == [b"3"]
    finally:
        member.close()


def test_a_local_broker_makes_no_topic_unasked(local: LocalKafka) -> None:
    missing = f"missing-{uuid.uuid4().hex[:8]}"
    failures = []
    producer = Producer({"bootstrap.servers": local.bootstrap_servers, "message.timeout.ms": 1000})
    producer.produce(missing, b"x", on_delivery=lambda error, _: failures.append(error))
    producer.flush(10)
    assert failures
    assert failures[0] is not None


def test_a_killed_local_broker_comes_back_at_the_same_address_with_what_was_committed(
    local: LocalKafka,
) -> None:
    servers = local.bootstrap_servers
    topic = create_topic(servers)
    producer = transactional(servers, topic)
    producer.begin_transaction()
    producer.produce(topic, b"kept", partition=0)
    producer.commit_transaction(10)
    producer.begin_transaction()
    producer.produce(topic, b"open", partition=0)
    producer.flush(10)
    local.kill()
    assert local.pid is None
    local.start()
    assert local.bootstrap_servers == servers
    transactional(servers, topic)  # fences the open transaction, so that the reader need not wait for it
    assert values(servers, topic) == [b"kept"]


def test_a_paused_local_broker_answers_nobody_until_it_is_resumed(local: LocalKafka) -> None:
    topic = create_topic(local.bootstrap_servers)
    local.pause()
    deliveries: list[object] = []
    producer = Producer({"bootstrap.servers": local.bootstrap_servers, "linger.ms": 0})
    producer.produce(topic, b"late", partition=0, on_delivery=lambda error, _: deliveries.append(error))
    assert producer.flush(1) == 1
    assert deliveries == []
    local.resume()
    assert producer.flush(20) == 0
    assert deliveries == [None]


def test_a_local_broker_dies_with_the_process_that_started_it(local: LocalKafka) -> None:
    local.stop()  # one broker at a time is enough for two cores
    script = (
        "import time, benchmarks.brokers as b; print(b.LocalKafka().start().pid, flush=1); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    owner = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    broker = Path("/proc", owner.stdout.readline().decode().strip())
    assert broker.exists()
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 10
    while broker.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not broker.exists()
