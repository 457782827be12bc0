"""What one batch led to, as one transaction: outputs, snapshots, and the offsets with their manifests."""

import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, Message, Producer, TopicPartition

from stream_allocator.stream.failures import SessionLost
from stream_allocator.stream.part import Part
from stream_allocator.stream.probe import Probe
from stream_allocator.stream.shard import Outgoing
from stream_allocator.stream.watch import Watch

__all__ = ["PRODUCED_HEADER", "Publication"]

#: Sending offsets is the call that may never return (see ``stream/watch.py``), where a coordinator is lost.
#: Long enough for another to take over; giving up too soon costs a restore and nothing else.
OFFSETS_SECONDS = 10.0
#: When the worker produced a record, nanoseconds since 1970: latency lives in headers, not in payloads.
PRODUCED_HEADER = "produced-at"

Headers = list[tuple[str, bytes]]


class Publication:
    """A transaction that can be sent again: the engines have stepped, and step no second time.

    Parameters
    ----------
    parts : mapping of int to Part
        The batch's partitions.
    outputs, snapshots : mapping of int to list of Outgoing
        By partition; of the first there is one for each part.
    names : mapping of str to str
        Role -> topic.
    trace : list of (str, bytes)
        Headers of every record.
    probe : callable
    watch : Watch
    patience : float
        Seconds that each step may take.

    Attributes
    ----------
    waited : float
        Seconds that the last :meth:`send` waited for the delivery of snapshots.
    """

    def __init__(
        self,
        parts: Mapping[int, Part],
        outputs: Mapping[int, list[Outgoing]],
        snapshots: Mapping[int, list[Outgoing]],
        names: Mapping[str, str],
        trace: Headers,
        probe: Probe,
        watch: Watch,
        patience: float,
    ) -> None:
        self._parts = parts
        self._outputs = outputs
        self._snapshots = snapshots
        self._names = names
        self._trace = trace
        self._probe = probe
        self._watch = watch
        self._patience = patience
        self.waited = 0.0

    def send(self, producer: Producer, membership: Callable[[], bytes]) -> None:
        """Begin, produce, send offsets, commit; then the parts know their manifests.

        Parameters
        ----------
        producer : Producer
        membership : callable
            The group metadata of this moment.

        Raises
        ------
        KafkaException
            What the client says; some errors ask for an abort.
        SessionLost
            When a snapshot was not delivered, or the group has dropped this member.
        """
        producer.begin_transaction()
        stamp = [*self._trace, (PRODUCED_HEADER, str(time.time_ns()).encode())]
        headers: dict[tuple[tuple[str, bytes], ...], Headers] = {}
        snapshot_offsets: dict[int, list[int]] = {p: [] for p in self._snapshots}
        for partition, records in self._outputs.items():
            entered = self._entered(partition)
            for record in records:
                whole = headers.get(record.headers)
                if whole is None:
                    whole = headers[record.headers] = [*record.headers, *stamp]
                self._produce(producer, partition, record, whole, entered)
            stored = self._stored(snapshot_offsets.get(partition, []))
            for record in self._snapshots.get(partition, ()):
                self._probe("snapshotting")
                self._produce(producer, partition, record, [*record.headers, *stamp], stored)
        self._probe("produced")
        if self._snapshots:  # the manifest must name their offsets, which only delivery tells
            begun = time.monotonic()
            with self._watch.within(self._patience):
                producer.flush(self._patience)
            self.waited = time.monotonic() - begun
            for partition, records in self._snapshots.items():
                if len(snapshot_offsets[partition]) != len(records):
                    raise SessionLost(f"snapshot of partition {partition} was not delivered in time")
        offsets: list[TopicPartition] = []
        manifests = {}
        for partition in self._outputs:
            part = self._parts[partition]
            manifests[partition] = part.next_manifest(snapshot_offsets.get(partition, ()))
            offsets += part.offsets(self._names, manifests[partition])
        self._probe("sending_offsets")
        patience = min(self._patience, OFFSETS_SECONDS)
        with self._watch.within(patience):
            producer.send_offsets_to_transaction(offsets, membership(), patience)
        self._probe("committing")
        with self._watch.within(self._patience):
            producer.commit_transaction(self._patience)
        self._probe("committed")
        for partition, manifest in manifests.items():
            self._parts[partition].committed(manifest, snapshot_offsets.get(partition, ()))

    def _produce(
        self,
        producer: Producer,
        partition: int,
        record: Outgoing,
        headers: Headers,
        delivered: Callable[[KafkaError | None, Message], None],
    ) -> None:
        topic = self._names[record.role]
        callback = {"on_delivery": delivered} if record.role in ("audit", "snapshots") else {}
        while True:
            try:
                producer.produce(
                    topic, record.value, record.key, partition=partition, headers=headers, **callback
                )
                return
            except BufferError:  # the queue is full: let deliveries make room
                producer.poll(0.1)

    def _entered(self, partition: int) -> Callable[[KafkaError | None, Message], None]:
        """Notes how far the audit topic has come."""
        part = self._parts[partition]

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and offset is not None:
                part.audit_end = max(part.audit_end, offset + 1)

        return delivered

    def _stored(self, offsets: list[int]) -> Callable[[KafkaError | None, Message], None]:
        """Notes where the chunks of a snapshot stand."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and offset is not None:
                offsets.append(offset)

        return delivered
