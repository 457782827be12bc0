"""What a session has fetched and not yet taken in: runs of consecutive records of one topic partition."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, Message

from stream_allocator.errors import BusError
from stream_allocator.stream.decoder import DecodedReturns, Headers
from stream_allocator.stream.failures import CHECK, FENCED, REFUSED, Fenced, SessionLost
from stream_allocator.stream.reader import raw_headers_of, record_of
from stream_allocator.stream.record import Record
from stream_allocator.topology import Worker

__all__ = ["Inbox", "Stretch"]

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.05
#: Messages that are taken from the client at once, so that a batch of the largest stays near its limit.
BITE = 200
#: Bytes of values after which a batch takes no more.
BATCH_BYTES = 32_000_000


class Stretch:
    """Consecutive records of one topic partition, their offsets rising.

    Attributes
    ----------
    topic, role : str
    partition : int
    taken : int
        So many of them have been taken in.
    decoded : DecodedReturns, optional
        Of a stretch of returns, once the first of them is taken in.
    """

    __slots__ = ("_headers", "_messages", "_offsets", "decoded", "partition", "role", "taken", "topic")

    def __init__(self, topic: str, role: str, partition: int) -> None:
        self.topic = topic
        self.role = role
        self.partition = partition
        self.taken = 0
        self.decoded: DecodedReturns | None = None
        self._messages: list[Message] = []
        self._offsets: list[int] = []
        self._headers: list[Headers] | None = None

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def end(self) -> int:
        """Offset of the last record."""
        return self._offsets[-1]

    def append(self, message: Message, offset: int) -> None:
        """The next record."""
        self._messages.append(message)
        self._offsets.append(offset)

    def offsets(self) -> list[int]:
        """Their offsets."""
        return self._offsets

    def values(self) -> list[bytes | None]:
        """Their values."""
        return [m.value() for m in self._messages]

    def keys(self) -> list[bytes | None]:
        """Their keys."""
        return [m.key() for m in self._messages]

    def headers(self) -> list[Headers]:
        """Their headers, which the client must not be asked for twice."""
        if self._headers is None:
            self._headers = [raw_headers_of(m) for m in self._messages]
        return self._headers

    def record(self, i: int) -> Record:
        """The ``i``-th record, whole."""
        return record_of(self.role, self._messages[i], self.headers()[i])


class Inbox:
    """The stretches that wait, in the order in which they came.

    Parameters
    ----------
    worker : Worker
        Bounds of a batch.
    roles : mapping of str to str
        Topic -> role.
    """

    def __init__(self, worker: Worker, roles: Mapping[str, str]) -> None:
        self._worker = worker
        self._roles = roles
        self.stretches: deque[Stretch] = deque()

    def fill(self, consumer: Consumer) -> None:
        """Fetch the next batch, and keep the membership.

        Raises
        ------
        BusError
            When records were deleted before they were read, or the broker refuses this worker.
        SessionLost
            For any other fatal error.
        """
        if self.stretches:  # what waits comes first; a poll may take partitions away
            late = consumer.poll(0)
            self._enter(() if late is None else (late,))
            return
        first = consumer.poll(IDLE_SECONDS)
        if first is None:
            return
        self._enter((first,))
        worker, begun, size, count = self._worker, time.monotonic(), len(first), 1
        while count < worker.batch_records and size < BATCH_BYTES:
            more = consumer.consume(min(BITE, worker.batch_records - count), 0)
            if not more:
                break
            self._enter(more)
            size += sum(map(len, more))
            count += len(more)
            if time.monotonic() - begun > worker.batch_seconds:
                break

    def drop(self, gone: set[tuple[str, int]]) -> None:
        """Forget the stretches of these topic partitions."""
        self.stretches = deque(s for s in self.stretches if (s.topic, s.partition) not in gone)

    def _enter(self, messages: Iterable[Message]) -> None:
        stretch = self.stretches[-1] if self.stretches and not self.stretches[-1].taken else None
        topic, partition, last = (stretch.topic, stretch.partition, stretch.end) if stretch else ("", -1, -1)
        for message in messages:
            error = message.error()
            if error is not None:
                _heed(message, error)
                continue
            offset = message.offset()
            if stretch is None or (
                message.partition() != partition or message.topic() != topic or offset <= last
            ):
                topic, partition = str(message.topic()), int(message.partition() or 0)
                stretch = Stretch(topic, self._roles[topic], partition)
                self.stretches.append(stretch)
            stretch.append(message, offset)
            last = offset


def _heed(message: Message, error: KafkaError) -> None:
    """Raise for an error that the client does not get over by itself."""
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise BusError(
            f"{message.topic()} [{message.partition()}]: records were deleted before they were read "
            f"({error}); give the topic a longer retention"
        )
    if FENCED in error.str():
        raise Fenced(str(error))
    if error.code() in REFUSED:
        raise BusError(f"the broker refuses the worker: {error.str()}; {CHECK}")
    if error.fatal() or error.code() == KafkaError._FATAL:
        raise SessionLost(str(error))
    log.warning("consumer error=%s", error)
