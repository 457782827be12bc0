"""Creates the topics of a topology; :mod:`stream_allocator.stream.checks` says whether they fit."""

import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from stream_allocator.errors import BusError
from stream_allocator.stream.clients import admin_client
from stream_allocator.stream.sizes import largest_records
from stream_allocator.topology import Topology

__all__ = ["create", "partition_counts", "topic_settings"]

REQUEST_SECONDS = 15.0
#: Only the last two snapshots are ever read, under keys of their own; what is older may go after a week.
COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(7 * 86_400_000)}
DAY_MS = 86_400_000
#: A broker adds the framing of a batch to what a client counts.
FRAMING = 512


def topic_settings(topology: Topology) -> dict[str, dict[str, str]]:
    """Topic -> the settings that it is created with.

    Replay, and restore without a snapshot, need all of every topic but the snapshots. That holds for
    control too: a mode change that compaction took away could not be put back where the audit chain says
    it fell. So nothing is compacted but snapshots, and what is kept is kept for ``topics.retention_days``.
    """
    days = topology.topics.retention_days
    kept = {
        "cleanup.policy": "delete",
        "retention.ms": "-1" if days is None else str(round(days * DAY_MS)),
        "retention.bytes": "-1",
    }
    sizes = largest_records(topology)
    return {
        topic: {
            "min.insync.replicas": str(topology.topics.min_insync_replicas),
            **(COMPACTED if topic == "snapshots" else kept),
            **({"max.message.bytes": str(sizes[topic] + FRAMING)} if topic in sizes else {}),
        }
        for topic in topology.topics.names
    }


def partition_counts(admin: AdminClient, topology: Topology) -> dict[str, int]:
    """Partition counts of those of the topology's topics that this user sees."""
    metadata = admin.list_topics(timeout=REQUEST_SECONDS).topics
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
    topics = topology.topics
    settings = topic_settings(topology)
    created = []
    with admin_client(topology) as admin:
        wanted = [
            NewTopic(
                name,
                num_partitions=topics.partitions,
                replication_factor=topics.replication_factor,
                config=settings[topic],
            )
            for topic, name in topics.names.items()
        ]
        for name, future in admin.create_topics(wanted, request_timeout=REQUEST_SECONDS).items():
            try:
                future.result(REQUEST_SECONDS)
                created.append(name)
            except KafkaException as error:
                if error.args[0].code() == KafkaError._TIMED_OUT:
                    raise
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise BusError(f"topic {name} could not be created: {error.args[0].str()}") from error
        deadline = time.monotonic() + REQUEST_SECONDS
        while not set(created) <= partition_counts(admin, topology).keys() and time.monotonic() < deadline:
            time.sleep(0.05)  # the controller knows them, the broker that answers may not yet
    return created
