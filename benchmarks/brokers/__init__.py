"""Real Apache Kafka for tests and campaigns.

`running_broker` finds a broker, in this order: the servers named by `KAFKA_BOOTSTRAP`, a container
(`ContainerKafka`) where a Docker engine answers, else a process of this machine's Java (`LocalKafka`).
All are KRaft brokers of one node; topics are never created by accident (`auto.create.topics.enable=false`).
`cluster.LocalCluster` is three nodes behind proxies, for what one node cannot show.

By hand: `python -m benchmarks.brokers image` pulls or builds the image, `jars` fetches the broker's jars,
`serve` runs a broker until interrupted.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from benchmarks.brokers.container import ContainerKafka, docker_answers, kafka_image, remove_orphans
from benchmarks.brokers.local import LocalKafka
from benchmarks.brokers.node import VERSION, BrokerDied, BrokerUnavailable

__all__ = ["Broker", "BrokerDied", "BrokerUnavailable", "ContainerKafka", "LocalKafka", "running_broker"]

START_ATTEMPTS = 3  # a port found free may be taken before the broker binds it


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that answers: where it is, and one line on what it is."""

    bootstrap_servers: str
    description: str


def wait_until_it_answers(bootstrap_servers: str, timeout: float) -> None:
    """Ask for the cluster's metadata until a broker gives it.

    Raises
    ------
    BrokerDied
        When none does in `timeout` seconds.
    """
    quiet = {"bootstrap.servers": bootstrap_servers, "log_level": 0}
    try:
        AdminClient(quiet).list_topics(timeout=timeout)
    except KafkaException as error:
        raise BrokerDied(f"no broker answers at {bootstrap_servers}: {error}") from None


@contextlib.contextmanager
def running_broker() -> Iterator[Broker]:
    """A real broker for as long as the `with` block lasts.

    Raises
    ------
    BrokerUnavailable
        When neither `KAFKA_BOOTSTRAP`, Docker nor Java can give one; the message says why.
    BrokerDied
        When one was named or started, and does not answer.
    """
    with contextlib.ExitStack() as stack:
        if servers := os.environ.get("KAFKA_BOOTSTRAP"):
            broker = Broker(servers, f"KAFKA_BOOTSTRAP={servers}")
        else:
            begun = time.monotonic()
            kind, servers = _started(stack)
            taken = time.monotonic() - begun
            broker = Broker(servers, f"{kind} at {servers}, up in {taken:.1f} s")
        wait_until_it_answers(broker.bootstrap_servers, timeout=20)
        yield broker


def _started(stack: contextlib.ExitStack) -> tuple[str, str]:
    """Start a container where Docker answers, else a process; its kind and its address."""
    make: Callable[[], ContainerKafka | LocalKafka]
    if docker_answers():
        remove_orphans()
        image = kafka_image()
        kind, make = f"container of {image}", lambda: ContainerKafka(image)
    else:
        kind, make = f"Apache Kafka {VERSION} as a local process", LocalKafka
    for _ in range(START_ATTEMPTS - 1):
        try:
            return kind, stack.enter_context(make()).bootstrap_servers
        except BrokerDied as death:
            if "already in use" not in str(death):
                raise
    return kind, stack.enter_context(make()).bootstrap_servers
