"""Topics of a measurement: made, filled, watched and read."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

__all__ = ["Cluster", "Record"]

SECONDS = 30.0
#: The broker's clock, not the contestants', says when an output was there.
STAMPED = {"message.timestamp.type": "LogAppendTime"}
COMPACTED = {"cleanup.policy": "compact"}


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read; its time is the broker's, milliseconds."""

    partition: int
    offset: int
    value: bytes
    milliseconds: int


class Cluster:
    """A broker, seen from the measuring process."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})

    def create(self, topics: Mapping[str, Mapping[str, str]], partitions: int = 1) -> None:
        """Create topics with their settings, and wait until the broker knows them."""
        new = [NewTopic(n, partitions, 1, config=dict(settings)) for n, settings in topics.items()]
        for future in self._admin.create_topics(new, request_timeout=SECONDS).values():
            future.result(SECONDS)
        end = time.monotonic() + SECONDS
        while not set(topics) <= self._admin.list_topics(timeout=SECONDS).topics.keys():
            if time.monotonic() > end:
                raise SystemExit(f"topics did not appear: {', '.join(topics)}")
            time.sleep(0.02)

    def fill(
        self,
        topic: str,
        values: Iterable[bytes],
        *,
        key: bytes,
        headers: list[tuple[str, bytes]],
        partition: int = 0,
    ) -> int:
        """Produce values in order; how many there were."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "linger.ms": 20,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "batch.size": 1_000_000,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1_000_000,
            }
        )
        count = 0
        for value in values:
            producer.produce(topic, value, key=key, headers=headers, partition=partition)
            count += 1
            if count % 1000 == 0:
                producer.poll(0)
        if producer.flush(SECONDS):
            raise SystemExit(f"{topic}: the broker did not take all records in {SECONDS:g} s")
        return count

    def committed(self, group: str, topic: str) -> int:
        """Sum of the offsets that a group has committed on a topic; 0 before the first."""
        try:
            futures = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
            found = next(iter(futures.values())).result(SECONDS).topic_partitions
        except KafkaException:
            return 0
        return sum(tp.offset for tp in found if tp.topic == topic and tp.offset > 0)

    def metadata(self, group: str, topic: str) -> str:
        """What is written beside the committed offset of partition 0."""
        futures = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        found = next(iter(futures.values())).result(SECONDS).topic_partitions
        return next(str(tp.metadata) for tp in found if tp.topic == topic and tp.partition == 0)

    def read(self, topic: str, partitions: int = 1) -> list[Record]:
        """Everything committed on a topic, partition by partition in order."""
        consumer = self.reader()
        ends = {}
        for p in range(partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=SECONDS)
            if high > low:
                ends[p] = high
        consumer.assign([TopicPartition(topic, p, 0) for p in ends])
        records: list[Record] = []
        while ends:
            for message in consumer.consume(10_000, 0.1):
                if message.error() is None:
                    records.append(
                        Record(message.partition(), message.offset(), message.value(), message.timestamp()[1])
                    )
            for tp in consumer.position([TopicPartition(topic, p) for p in ends]):
                if tp.offset >= ends[tp.partition]:
                    del ends[tp.partition]
        consumer.close()
        records.sort(key=lambda r: (r.partition, r.offset))
        return records

    def reader(self) -> Consumer:
        """A read_committed consumer of a group of its own that commits nothing."""
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"reader-{uuid.uuid4().hex[:8]}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 1,
                "queued.min.messages": 100_000,
            }
        )
