"""Creates the topics of a topology, and checks that they fit it."""

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from stream_allocator.errors import BusError
from stream_allocator.stream.clients import producer_settings
from stream_allocator.topology import Topology

__all__ = ["check", "create", "require"]

REQUEST_SECONDS = 15.0
#: Only the last snapshot is ever read; what is older may go after a week.
COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(7 * 86_400_000)}
#: Replay, and restore without a snapshot, need all of it. That holds for control too: a mode change that
#: compaction took away could not be put back where the audit chain says it fell.
KEPT = {"cleanup.policy": "delete", "retention.ms": "-1"}


def _admin(topology: Topology) -> AdminClient:
    keys = ("bootstrap.servers", "client.id", "security.protocol", "sasl.", "ssl.")
    return AdminClient({k: v for k, v in producer_settings(topology).items() if k.startswith(keys)})


def _partitions(admin: AdminClient, topology: Topology) -> dict[str, int]:
    """Partition counts of those of the topology's topics that exist."""
    try:
        metadata = admin.list_topics(timeout=REQUEST_SECONDS).topics
    except KafkaException as error:
        raise BusError(f"{topology.bootstrap_servers} does not answer: {error.args[0]}") from error
    return {
        name: len(metadata[name].partitions)
        for name in topology.topics.names.values()
        if name in metadata and metadata[name].error is None
    }


def create(topology: Topology) -> list[str]:
    """Create the topics that do not exist yet, all with the same partition count.

    Returns
    -------
    list of str
        Names of those that were created.

    Raises
    ------
    BusError
        When the broker refuses or does not answer.
    """
    topics, admin = topology.topics, _admin(topology)
    wanted = [
        NewTopic(
            name,
            num_partitions=topics.partitions,
            replication_factor=topics.replication_factor,
            config={
                "min.insync.replicas": str(topics.min_insync_replicas),
                **(COMPACTED if role == "snapshots" else KEPT),
            },
        )
        for role, name in topics.names.items()
    ]
    created = []
    for name, future in admin.create_topics(wanted, request_timeout=REQUEST_SECONDS).items():
        try:
            future.result(REQUEST_SECONDS)
            created.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise BusError(f"topic {name} could not be created: {error.args[0]}") from error
    deadline = time.monotonic() + REQUEST_SECONDS
    while not set(created) <= _partitions(admin, topology).keys() and time.monotonic() < deadline:
        time.sleep(0.05)  # the controller knows them, the broker that answers may not yet
    return created


def check(topology: Topology) -> list[str]:
    """What is wrong with the topics; empty when each exists with the same partition count.

    Raises
    ------
    BusError
        When the broker does not answer.
    """
    counts = _partitions(_admin(topology), topology)
    problems = [
        f"topic {name} does not exist; run stream-allocator topics create"
        for name in topology.topics.names.values()
        if name not in counts
    ]
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        problems.append(f"topics are not co-partitioned ({listed}); give them all the same partition count")
    return problems


def require(topology: Topology) -> None:
    """As :func:`check`, but problems are an error.

    Raises
    ------
    BusError
        Naming every problem.
    """
    problems = check(topology)
    if problems:
        raise BusError("; ".join(problems))
