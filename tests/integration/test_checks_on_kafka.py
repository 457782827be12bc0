"""Topics as a real broker keeps them: created as they should be, and each way of being otherwise is found."""

import time

import pytest
from cluster import WorkerProcess, make_topology
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
)

from stream_allocator.errors import BrokerAway
from stream_allocator.stream.checks import check
from stream_allocator.stream.clients import admin_client
from stream_allocator.stream.topics import create, topic_settings

pytestmark = pytest.mark.kafka


@pytest.fixture
def topology(kafka, tmp_path):
    return make_topology(tmp_path, kafka.bootstrap_servers, partitions=2)[1]


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers})


def changed(topology, **changes):
    """The topology with other settings, on topics that were made for the present ones."""
    parts = {name: getattr(topology, name).model_copy(update=update) for name, update in changes.items()}
    other = topology.model_copy(update=parts)
    other._policies = topology._policies
    return other


def alter(admin, name, **settings):
    entries = [
        ConfigEntry(k.replace("_", "."), v, incremental_operation=AlterConfigOpType.SET)
        for k, v in settings.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(10)


def eventually(ask, count=1, seconds=10):
    """The findings once there are so many: the controller knows of a change before the broker does."""
    deadline = time.monotonic() + seconds
    while len(found := ask()) != count and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_topics_are_created_once_as_the_topology_says_and_nothing_is_wrong_with_them(topology, admin):
    assert create(topology) == []  # make_topology has created them
    assert check(topology) == []
    assert check(topology, "worker") == check(topology, "operator") == []  # without ACLs all may do all
    names = topology.topics.names
    resources = {topic: ConfigResource(ConfigResource.Type.TOPIC, name) for topic, name in names.items()}
    futures = admin.describe_configs(list(resources.values()))
    for topic, wanted in topic_settings(topology).items():
        there = futures[resources[topic]].result(10)
        assert {key: there[key].value for key in wanted} == wanted
    assert check(changed(topology, topics={"retention_days": 30.0})) == []  # it keeps more than that


def test_topics_that_are_not_co_partitioned_are_found(topology, admin):
    positions = topology.topics.positions
    admin.create_partitions([NewPartitions(positions, 5)])[positions].result(10)
    (finding,) = eventually(lambda: check(topology))
    assert finding.level == "error"
    assert f"{positions} 5" in finding.text
    assert "same partition count: kafka-topics.sh --alter --topic NAME --partitions 5" in finding.text


@pytest.mark.parametrize(
    ("topic", "settings", "level", "says"),
    [
        ("audit", {"cleanup_policy": "compact"}, "error", "cleanup.policy=compact, wanted delete: the audit"),
        ("control", {"cleanup_policy": "compact,delete"}, "error", "refers to every record"),
        ("returns", {"retention_ms": "3600000"}, "error", "retention.ms=3600000, wanted -1: a worker that"),
        ("returns", {"retention_ms": "604800000"}, "warning", "replay goes back no further"),
        ("evidence", {"retention_bytes": "1000000"}, "warning", "records go by their size"),
        ("snapshots", {"cleanup_policy": "delete"}, "error", "the last snapshots would be deleted"),
        ("snapshots", {"cleanup_policy": "delete", "retention_ms": "-1"}, "warning", "stay for ever"),
        ("snapshots", {"max_message_bytes": "500000"}, "error", "worker.chunk_bytes does not fit"),
        ("evidence", {"max_message_bytes": "500000"}, "error", "evidence of the largest universe"),
        ("dead_letters", {"max_message_bytes": "500000"}, "error", "a letter of worker.chunk_bytes"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line_with_its_reason_and_what_mends_it(
    topology, admin, topic, settings, level, says
):
    alter(admin, topology.topics.names[topic], **settings)
    (finding,) = eventually(lambda: check(topology))
    assert (finding.level, "\n" in finding.text) == (level, False)
    assert says in finding.text
    if "kafka-configs.sh" in finding.text:  # what it names does mend it
        _, _, command = finding.text.partition("kafka-configs.sh ")
        assert f"--topic {topology.topics.names[topic]} " in command
        key, _, value = command.partition("--add-config ")[2].partition("=")
        alter(admin, topology.topics.names[topic], **{key: value})
        assert eventually(lambda: check(topology), 0) == []


def test_what_the_topology_asks_and_the_topics_lack_is_found(topology):
    copies = check(changed(topology, topics={"replication_factor": 3, "min_insync_replicas": 2}))
    assert len(copies) == 18
    assert {f.level for f in copies} == {"error"}
    assert "has 1 replicas, topics.replication_factor asks for 3" in copies[0].text
    assert any("min.insync.replicas=1, wanted 2" in f.text for f in copies)
    (count,) = check(changed(topology, topics={"partitions": 6}))
    assert (count.level, "topics have 2 partitions" in count.text) == ("warning", True)
    chunks = check(changed(topology, worker={"chunk_bytes": 4_000_000}))
    assert sorted(f.text.split()[1] for f in chunks) == sorted(
        (topology.topics.dead_letters, topology.topics.snapshots)
    )


def test_snapshots_may_be_as_large_as_the_topology_says(kafka, tmp_path):
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers, worker={"chunk_bytes": 3_000_000})
    assert check(topology, "worker") == []


def test_a_worker_starts_only_where_nothing_is_wrong_and_says_all_that_is(kafka, tmp_path, admin):
    path, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    alter(admin, topology.topics.audit, cleanup_policy="compact")
    assert len(eventually(lambda: check(topology))) == 1
    path.write_text(path.read_text().replace("returns: returns-", "returns: absent-"))
    with WorkerProcess(path) as worker:
        assert worker.wait() == 3
        lines = worker.text().splitlines()
    assert len(lines) == 2
    assert "does not exist; run stream-allocator topics create" in lines[0]
    assert "cleanup.policy=compact" in lines[1]


def test_a_broker_that_refuses_the_transaction_time_out_ends_the_worker_with_a_clear_line(kafka, tmp_path):
    worker = {"transaction_timeout_seconds": 3600}  # the broker's transaction.max.timeout.ms is 15 minutes
    path, _ = make_topology(tmp_path, kafka.bootstrap_servers, worker=worker)
    with WorkerProcess(path) as process:
        assert process.wait() == 3
        assert "the broker refuses the worker" in process.text()
        assert "transaction timeout" in process.text().lower()


def test_an_answer_that_does_not_come_in_time_is_a_broker_that_is_away(topology):
    # as on a fresh cluster, whose first group waits until the topic of offsets is there
    with pytest.raises(BrokerAway, match="has not answered in time"), admin_client(topology):
        raise TimeoutError
