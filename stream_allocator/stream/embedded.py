"""The embedded broker: librdkafka's mock cluster, from the confluent-kafka wheel.

Good for a first look: other processes connect, groups, headers and idempotence work. It does not isolate
transactions, keep offsets sent to one, compact, or answer questions about time; it keeps the last 5 MiB of
a partition. It proves nothing about exactly once.
"""

import logging
from types import TracebackType

from confluent_kafka import Producer

__all__ = ["EmbeddedBroker"]

#: What the mock cluster gives every topic that it creates.
PARTITIONS = 4


class EmbeddedBroker:
    """A mock cluster with one broker on the loopback interface, alive while the context is.

    Parameters
    ----------
    topics : sequence of str
        Created at start.
    """

    def __init__(self, topics: tuple[str, ...] = ()) -> None:
        self._topics = topics
        self._cluster: Producer | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> "EmbeddedBroker":
        quiet = logging.getLogger("stream_allocator.embedded")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._cluster = Producer(
            {"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0}, logger=quiet
        )
        brokers = self._cluster.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = ",".join(f"{b.host}:{b.port}" for b in brokers)
        for topic in self._topics:
            self._cluster.list_topics(topic, timeout=10)  # asking for a topic creates it
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cluster = None
