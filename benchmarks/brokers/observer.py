"""An administrator's client in a process of its own: whoever owns a cluster can fork, having no client.

Run as a program (`python -m benchmarks.brokers.observer SERVERS`) it obeys :mod:`benchmarks.brokers.orders`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from dataclasses import dataclass

from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.brokers.orders import Subordinate, answer, refuse

__all__ = ["Observer", "Replicas"]

REQUEST_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """Of one partition: who leads (-1: nobody), who has a copy, and whose is complete."""

    leader: int
    nodes: tuple[int, ...]
    in_sync: tuple[int, ...]


class Observer(Subordinate):
    """What a cluster says of itself.

    Parameters
    ----------
    servers
        Bootstrap servers.
    """

    def __init__(self, servers: str) -> None:
        super().__init__("benchmarks.brokers.observer", [servers])

    def nodes(self) -> list[int]:
        """The brokers that the controller takes for living."""
        return sorted(self.order(verb="nodes"))

    def partitions(self) -> dict[tuple[str, int], Replicas]:
        """Every partition of every topic."""
        told = self.order(verb="partitions")
        return {(topic, number): Replicas(leader, tuple(nodes), tuple(in_sync))
                for topic, number, leader, nodes, in_sync in told}  # fmt: skip

    def elect(self, partitions: Collection[tuple[str, int]]) -> None:
        """Have the preferred leaders lead."""
        self.order(verb="elect", partitions=[*partitions])


def main(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    answer()
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["verb"] == "elect":
                chosen = [TopicPartition(*where) for where in order["partitions"]]
                admin.elect_leaders(ElectionType.PREFERRED, chosen).result(REQUEST_SECONDS)
                answer()
                continue
            metadata = admin.list_topics(timeout=REQUEST_SECONDS)
            if order["verb"] == "nodes":
                answer(list(metadata.brokers))
            else:
                answer(
                    [
                        (topic.topic, number, partition.leader, partition.replicas, partition.isrs)
                        for topic in metadata.topics.values()
                        for number, partition in topic.partitions.items()
                    ]
                )
        except KafkaException as error:
            refuse(error)


if __name__ == "__main__":
    main(sys.argv[1])
