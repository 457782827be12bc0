"""Topics as a real broker keeps them."""

import time

import pytest
from cluster import make_topology
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions

from stream_allocator.stream.topics import check, create

pytestmark = pytest.mark.kafka


def test_topics_are_created_once_co_partitioned_and_keep_what_replay_needs(kafka, tmp_path):
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers, partitions=3)
    assert create(topology) == []  # make_topology has created them
    assert check(topology) == []
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    names = topology.topics.names
    resources = {role: ConfigResource(ConfigResource.Type.TOPIC, name) for role, name in names.items()}
    futures = admin.describe_configs(list(resources.values()))
    configs = {role: futures[resource].result(10) for role, resource in resources.items()}
    compacted = {role for role, c in configs.items() if c["cleanup.policy"].value == "compact"}
    assert compacted == {"snapshots"}
    assert {c["retention.ms"].value for role, c in configs.items() if role not in compacted} == {"-1"}


def test_topics_that_are_not_co_partitioned_are_found(kafka, tmp_path):
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers, partitions=2)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    positions = topology.topics.positions
    admin.create_partitions([NewPartitions(positions, 5)])[positions].result(10)
    deadline = time.monotonic() + 10
    while not (problems := check(topology)) and time.monotonic() < deadline:
        time.sleep(0.05)  # the controller knows it before the broker does
    (problem,) = problems
    assert f"{positions} 5" in problem
    assert "same partition count" in problem
