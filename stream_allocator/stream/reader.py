"""Reads stretches of topics outside any group: bounded, read_committed, never commits."""

import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TypeAlias, cast

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from stream_allocator.errors import BrokerAway, BusError
from stream_allocator.stream.clients import admin_client, consumer_settings
from stream_allocator.stream.record import UNREADABLE_HEADERS, Record
from stream_allocator.topology import Topology

__all__ = ["TopicReader", "headers_of", "raw_headers_of", "record_of"]

Headers: TypeAlias = Sequence[tuple[str, bytes | None]] | None

REQUEST_SECONDS = 15.0
BATCH = 1000
#: Records at the end of a topic among which the last committed one mostly is.
LAST_RECORDS = 8

#: The broker may be back in a moment.
AWAY = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._WAIT_COORD,
    # a broker that has just come up answers before it knows what it holds; topics were seen at start
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
}


def _failure(what: str, failure: KafkaException) -> BusError:
    error = failure.args[0]
    kind = BrokerAway if error.code() in AWAY or error.retriable() else BusError
    return kind(f"{what}: {error}")


#: A call by way of C, which looks for an error beside the result. The interpreter's own quick call does not,
#: and where a name is not UTF-8 the client gives both: a list with a null pointer, and an error.
_headers = operator.methodcaller("headers")


def raw_headers_of(message: Message) -> Headers:
    """The headers of a consumed message as the client gives them; see :func:`headers_of`."""
    try:
        return cast(Headers, _headers(message))
    except (SystemError, UnicodeDecodeError):
        return ((UNREADABLE_HEADERS, b""),)


def headers_of(message: Message) -> tuple[tuple[str, bytes], ...]:
    """The headers of a consumed message; one that stands for all where the name of one is not UTF-8."""
    return _clean(raw_headers_of(message))


def record_of(role: str, message: Message, headers: Headers) -> Record:
    """A consumed message as a record; ``headers`` are what :func:`raw_headers_of` gave."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return Record(role, partition, offset, message.key(), message.value(), _clean(headers))


def _clean(headers: Headers) -> tuple[tuple[str, bytes], ...]:
    return tuple((k, v if isinstance(v, bytes) else b"") for k, v in headers or ())


class TopicReader:
    """A consumer for bounded reads; use it as a context.

    Parameters
    ----------
    topology : Topology
    patience : float
        Seconds without progress after which a read gives up. It must be longer than the transaction
        time-out: below a dead writer's open transaction nothing is visible until the broker aborts it.
    progress : callable, optional
        Called while reading.
    """

    def __init__(
        self,
        topology: Topology,
        patience: float | None = None,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.topology = topology
        self.progress = progress
        self._patience = patience or topology.worker.transaction_timeout_seconds + 30.0
        self._consumer = Consumer(
            consumer_settings(
                topology, f"{topology.worker.group}-reader", overrides={"enable.partition.eof": True}
            )
        )

    def __enter__(self) -> "TopicReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def partitions(self, role: str) -> list[int]:
        """Partition numbers of a topic.

        Raises
        ------
        BusError
            When the topic does not exist or the broker does not answer.
        """
        name = self.topology.topics.names[role]
        try:
            metadata = self._consumer.list_topics(name, timeout=REQUEST_SECONDS).topics[name]
        except KafkaException as error:
            raise _failure(self.topology.bootstrap_servers, error) from error
        if metadata.error is not None:
            raise BusError(f"topic {name}: {metadata.error}; run stream-allocator topics create")
        return sorted(metadata.partitions)

    def bounds(self, role: str, partition: int) -> tuple[int, int]:
        """First offset there is, and the one after the last that is decided (the last stable offset)."""
        tp = TopicPartition(self.topology.topics.names[role], partition)
        try:
            low, high = self._consumer.get_watermark_offsets(tp, timeout=REQUEST_SECONDS)
        except KafkaException as error:
            raise _failure(f"topic {tp.topic} [{partition}]", error) from error
        return low, high

    def last(self, roles: Iterable[str], partition: int) -> dict[str, Record]:
        """The last committed record of each of several topics; nothing for one that has none.

        Markers and aborted records stand at the end of a topic that transactions write to: so its last
        records are read, and longer stretches before them for as long as none shows.
        """
        found: dict[str, Record] = {}
        bounds = {role: self.bounds(role, partition) for role in roles}
        starts = {role: max(low, high - LAST_RECORDS) for role, (low, high) in bounds.items()}
        stretches: dict[tuple[str, int], tuple[int, int | None]]
        stretches = {(role, partition): (start, None) for role, start in starts.items()}
        depth = LAST_RECORDS
        while stretches:
            found.update((record.role, record) for record in self.read(stretches))
            depth *= 8
            ends = {role: start for role, start in starts.items() if role not in found}
            starts = {role: max(bounds[role][0], end - depth) for role, end in ends.items()}
            stretches = {(role, partition): (starts[role], ends[role]) for role in ends}
            stretches = {where: (start, end) for where, (start, end) in stretches.items() if start != end}
        return found

    def offset_at(self, role: str, partition: int, milliseconds: int) -> int | None:
        """The first offset whose record was published then or later; None when there is none."""
        wanted = TopicPartition(self.topology.topics.names[role], partition, milliseconds)
        try:
            (found,) = self._consumer.offsets_for_times([wanted], timeout=REQUEST_SECONDS)
        except KafkaException as error:
            raise _failure(f"topic {wanted.topic} [{partition}]", error) from error
        return int(found.offset) if found.offset >= 0 else None

    def committed(self, roles: Iterable[str], partitions: Iterable[int]) -> dict[tuple[str, int], int]:
        """What the workers' group has committed, for the partitions where it has committed all roles.

        Empty where this user may not look at the group.
        """
        names, group = self.topology.topics.names, self.topology.worker.group
        wanted = {(names[role], p): (role, p) for role in roles for p in partitions}
        request = ConsumerGroupTopicPartitions(group, [TopicPartition(*where) for where in wanted])
        with admin_client(self.topology) as admin:
            futures = admin.list_consumer_group_offsets([request], request_timeout=REQUEST_SECONDS)
            try:
                found = futures[group].result(REQUEST_SECONDS).topic_partitions
            except KafkaException as error:
                if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                    return {}
                raise _failure(f"group {group}", error) from error
        missing = {tp.partition for tp in found if tp.offset < 0}
        return {wanted[tp.topic, tp.partition]: tp.offset for tp in found if tp.partition not in missing}

    def read(self, stretches: Mapping[tuple[str, int], tuple[int, int | None]]) -> Iterator[Record]:
        """Records of several stretches, each in order, mixed as they come.

        Parameters
        ----------
        stretches : mapping of (role, partition) to (start, end)
            Offsets from ``start`` up to but without ``end``. Offsets have gaps (transaction markers,
            compaction), so the end is reached when the position is, not when a record is. Without an ``end``
            it is the high watermark, as it is when all that is decided has been read: transactions that are
            open below it are waited for.

        Raises
        ------
        BusError
            When a stretch cannot be read to its end.
        """
        names = self.topology.topics.names
        roles = {names[role]: role for role in names}
        wanted = {
            (names[r], p): where
            for (r, p), where in stretches.items()
            if where[1] is None or where[0] < where[1]
        }
        ends = {place: math.inf if end is None else end for place, (_, end) in wanted.items()}
        if not ends:
            return
        self._consumer.assign([TopicPartition(*place, start) for place, (start, _) in wanted.items()])
        heard = time.monotonic()
        while ends:
            self.progress()
            for message in self._consume():
                heard = time.monotonic()
                where = (str(message.topic()), int(message.partition() or 0))
                end, offset = ends.get(where), message.offset()
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    if error.retriable() or error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                        continue  # the latter: the client names a group, but a reader joins none
                    raise BusError(f"{where[0]} [{where[1]}]: {error}")
                if end is None or offset is None:
                    continue
                if error is not None and end == math.inf:
                    end = ends[where] = self._high_watermark(*where)
                if error is None and offset < end:
                    yield record_of(roles[where[0]], message, raw_headers_of(message))
                if offset >= end - (error is None):
                    del ends[where]
            if ends and time.monotonic() - heard > self._patience:
                left = ", ".join(f"{t} [{p}] up to {e}" for (t, p), e in sorted(ends.items()))
                raise BrokerAway(f"no progress for {self._patience:g} s while reading {left}")
        self._consumer.unassign()

    def _high_watermark(self, topic: str, partition: int) -> int:
        """As the last answer to a fetch said."""
        _, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        return int(high)

    def _consume(self) -> list[Message]:
        """What is here, waiting a moment for the first; asked for a number, the client waits for them all."""
        first = self._consumer.poll(0.1)
        return [] if first is None else [first, *self._consumer.consume(BATCH - 1, 0)]
