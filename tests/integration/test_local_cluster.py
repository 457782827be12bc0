"""The cluster on which broker faults are tried: replicated, behind proxies, whole again after a fault."""

import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.brokers.cluster import LocalCluster

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(replicated: LocalCluster) -> str:
    name = f"cluster-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": replicated.direct_servers})
    admin.create_topics([NewTopic(name, 3, 3)])[name].result(20)
    return name


def transactional(replicated: LocalCluster, name: str) -> Producer:
    quick = {"linger.ms": 0, "retry.backoff.ms": 1, "retry.backoff.max.ms": 1}
    producer = Producer(
        {"bootstrap.servers": replicated.bootstrap_servers, "transactional.id": name, **quick}
    )
    producer.init_transactions(20)
    return producer


def commit(producer: Producer, topic: str) -> None:
    producer.begin_transaction()
    for partition in range(3):
        producer.produce(topic, b"value", partition=partition)
    producer.commit_transaction(30)


def test_coordinators_are_where_the_cluster_says(replicated: LocalCluster, topic: str) -> None:
    member = Consumer({"bootstrap.servers": replicated.bootstrap_servers, "group.id": topic})
    member.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    member.close()
    admin = AdminClient({"bootstrap.servers": replicated.direct_servers})
    described = admin.describe_consumer_groups([topic])[topic].result(20)
    assert replicated.coordinator_of_group(topic) == described.coordinator.id


def test_leaders_move_and_coordinators_die_and_transactions_commit(
    replicated: LocalCluster, topic: str
) -> None:
    producer = transactional(replicated, topic)
    commit(producer, topic)
    assert all(replicated.proxy.connections(node) for node in replicated.nodes)
    led = replicated.leaders()
    assert replicated.move_leaders() == len(led)
    assert all(leader != led[where] for where, leader in replicated.leaders().items())
    commit(producer, topic)

    lost = replicated.coordinator_of_transactions(topic)
    replicated.kill(lost)
    commit(producer, topic)
    assert lost not in replicated.leaders().values()
    assert {partition for name, partition in replicated.out_of_sync() if name == topic} == {0, 1, 2}
    replicated.start(lost)
    replicated.wait_until_in_sync()
    commit(producer, topic)
    assert replicated.running == [1, 2, 3]
