"""Settings of every Kafka client, measured where a number is not the default (docs/operations.md)."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from stream_allocator.errors import BrokerAway, BusError
from stream_allocator.stream.sizes import DEFAULT_BYTES, largest_records
from stream_allocator.topology import Topology

__all__ = ["FETCH_WAIT_VARIABLE", "admin_client", "consumer_settings", "producer_settings"]

#: Milliseconds that a broker may hold an empty fetch. The embedded broker sleeps the whole time, so the
#: demo sets 1; a real broker answers as soon as there is data.
FETCH_WAIT_VARIABLE = "STREAM_ALLOCATOR_FETCH_WAIT_MS"
ANSWER_SECONDS = 15.0
#: What stands behind a broker that "does not answer".
REFUSALS = {KafkaError._AUTHENTICATION, KafkaError._SSL}


def _common(topology: Topology) -> dict[str, Any]:
    return {
        "bootstrap.servers": topology.bootstrap_servers,
        "client.id": "stream-allocator",
        # the first also delays the first connection to every coordinator; the second keeps the log of an
        # absent broker short
        "reconnect.backoff.ms": 20,
        "reconnect.backoff.max.ms": 1000,
        **topology.security.client_settings(),
    }


@contextmanager
def admin_client(topology: Topology) -> Iterator[AdminClient]:
    """A client for questions about topics, groups and rights; the broker has answered it once.

    Raises
    ------
    BusError
        When the broker does not answer. A refused log-in or handshake looks the same to a request, so the
        error names what the client has heard of it in the meantime.
    """
    heard: list[KafkaError] = []
    try:
        admin = AdminClient({**_common(topology), "error_cb": heard.append, "log_level": 2})
    except KafkaException as failure:  # a certificate or key that cannot be used
        raise BusError(failure.args[0].str()) from failure
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            admin.list_topics(timeout=max(0.1, min(1.0, deadline - time.monotonic())))
            break
        except KafkaException as failure:
            admin.poll(0)
            refused = [error for error in heard if error.code() in REFUSALS]
            error = refused[0] if refused else failure.args[0]
            if refused or time.monotonic() >= deadline:
                kind = BusError if refused else BrokerAway
                raise kind(f"{topology.bootstrap_servers} does not answer: {error.str()}") from failure
    try:
        yield admin
    except KafkaException as failure:
        raise BusError(f"{topology.bootstrap_servers}: {failure.args[0]}") from failure
    except TimeoutError as failure:  # of a future: a group's coordinator may be long in coming
        raise BrokerAway(f"{topology.bootstrap_servers} has not answered in time") from failure


def producer_settings(topology: Topology, transactional_id: str | None = None) -> dict[str, Any]:
    """Settings of a producer; with ``transactional_id`` of a transactional one.

    The default ``retry.backoff.ms`` of 100 stalls back-to-back transactions (84 to 95 ms each instead of
    3): the coordinator refuses a new one until the last marker is written, and the client backs off.

    A commit sends what waits at once, whatever ``linger.ms`` is; so in a transaction it costs no time, and
    outputs leave in a few large requests instead of many small ones.
    """
    settings = _common(topology) | {
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        "partitioner": "murmur2_random",  # as Java clients, so that feeders of any kind co-partition
        "compression.type": "lz4",
        "message.max.bytes": max(DEFAULT_BYTES, *largest_records(topology).values()),
    }
    if transactional_id is not None:
        settings |= {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": round(topology.worker.transaction_timeout_seconds * 1000),
            "linger.ms": 20,
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 1,
        }
    return settings


def consumer_settings(
    topology: Topology,
    group: str,
    *,
    instance_id: str | None = None,
    read_committed: bool = True,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Settings of a consumer that commits nothing by itself.

    ``range`` assigns the same partition numbers of all topics to one member, which the shard needs. The
    default ``fetch.queue.backoff.ms`` of 1000 stalls fast drains.
    """
    settings = _common(topology) | {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed" if read_committed else "read_uncommitted",
        "queued.min.messages": 100_000,
        "fetch.wait.max.ms": int(os.environ.get(FETCH_WAIT_VARIABLE, "10")),
        "fetch.queue.backoff.ms": 1,
        "topic.metadata.refresh.interval.ms": 10_000,
    }
    if topology.worker.group_protocol == "consumer":
        settings |= {"group.protocol": "consumer", "group.remote.assignor": "range"}
    else:
        settings |= {
            "partition.assignment.strategy": "range",
            "session.timeout.ms": round(topology.worker.session_timeout_seconds * 1000),
            "heartbeat.interval.ms": max(100, round(topology.worker.session_timeout_seconds * 1000 / 5)),
        }
    if instance_id is not None:
        settings["group.instance.id"] = instance_id
    return {**settings, **(overrides or {})}
