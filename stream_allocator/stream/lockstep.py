"""One universe through a running worker, bar by bar: the feeder and the paper execution of the demo.

Each step publishes one bar's returns, waits for everything that the worker published about it, fills
what earlier bars decided, publishes the positions and waits until the audit topic says that they were
applied. So the interleaving is the one of :func:`stream_allocator.backtest.walkforward.walk_forward`,
and so are the bytes of every decision.
"""

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_allocator.backtest.run import Recorder
from stream_allocator.codec import Codec
from stream_allocator.errors import BusError
from stream_allocator.events import (
    Allocation,
    AuditEntry,
    DeadLetter,
    Evidence,
    PositionEvent,
    RegimeUpdate,
    ReturnEvent,
)
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.topology import Topology

__all__ = ["Lockstep"]

POLL_SECONDS = 0.2


class Lockstep:
    """A client of one universe's worker.

    Parameters
    ----------
    topology : Topology
    recorder : Recorder
        Its accounts fill the decisions, its record becomes the run.
    alive : callable
        Called while waiting; raises when the worker is gone.
    patience : float
        Seconds without any record after which to give up.
    """

    def __init__(
        self, topology: Topology, recorder: Recorder, *, alive: Callable[[], None], patience: float = 30.0
    ) -> None:
        topics = topology.topics
        self._returns, self._positions = topics.returns, topics.positions
        self._codec = Codec(topology.wire.schema_ids)
        self._classes: dict[str, type] = {
            topics.regimes: RegimeUpdate,
            topics.allocations: Allocation,
            topics.evidence: Evidence,
            topics.audit: AuditEntry,
            topics.dead_letters: DeadLetter,
        }
        self._recorder = recorder
        self._alive = alive
        self._patience = patience
        self._producer = Producer(producer_settings(topology))
        self._consumer = Consumer(
            consumer_settings(
                topology, f"{topology.worker.group}-lockstep", overrides={"fetch.wait.max.ms": 1}
            )
        )
        self._partition: int | None = None
        self._update: RegimeUpdate | None = None
        self._allocations: dict[str, Allocation] = {}
        self._evidence: dict[str, Evidence] = {}
        self._confirmed = 0
        self._published = 0
        self.chain = ""

    def step(
        self, event: ReturnEvent, *, patience: float | None = None
    ) -> tuple[RegimeUpdate, list[Allocation]]:
        """One bar, there and back.

        Parameters
        ----------
        event : ReturnEvent
            A whole cross-section.
        patience : float, optional
            For this bar; a worker that starts needs more than one that runs.

        Raises
        ------
        BusError
            When the broker or the worker does not answer, or the worker refuses a record.
        """
        patience = self._patience if patience is None else patience
        self._publish(self._returns, event, patience)
        self._wait(lambda: self._complete(event.event_time), patience, f"bar {event.sequence}")
        update = self._update
        assert update is not None
        decided = [(self._allocations.pop(d), self._evidence.pop(d)) for d in update.decisions]
        self._update = None
        for position in self._recorder.bar(event.returns, update, decided):
            self._publish(self._positions, position, patience)
            self._published += 1
        self._wait(lambda: self._confirmed == self._published, patience, "its positions to be applied")
        return update, [allocation for allocation, _ in decided]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
        self._producer.flush(1.0)

    def _complete(self, event_time: int) -> bool:
        update = self._update
        return (
            update is not None
            and update.event_time == event_time
            and all(d in self._allocations and d in self._evidence for d in update.decisions)
        )

    def _publish(self, topic: str, event: ReturnEvent | PositionEvent, patience: float) -> None:
        value, headers = self._codec.frame(event)
        where: dict[str, Any] = {} if self._partition is None else {"partition": self._partition}
        delivered: list[Any] = []
        self._producer.produce(
            topic,
            value,
            key=event.universe.encode(),
            headers=headers,
            on_delivery=lambda error, message: delivered.append(error or message),
            **where,
        )
        if self._partition is not None:
            self._producer.poll(0)
            return
        self._producer.flush(patience)  # the first record: the partitioner says where the universe lives
        if not delivered or isinstance(delivered[0], KafkaError):
            raise BusError(f"{topic}: not delivered: {delivered[0] if delivered else 'timed out'}")
        self._partition = int(delivered[0].partition())
        self._consumer.assign(
            [TopicPartition(name, self._partition, OFFSET_BEGINNING) for name in self._classes]
        )

    def _wait(self, done: Callable[[], bool], patience: float, what: str) -> None:
        heard = time.monotonic()
        while not done():
            self._producer.poll(0)
            try:
                message = self._consumer.poll(POLL_SECONDS)
            except KafkaException as error:
                raise BusError(f"lockstep: {error}") from error
            if message is None:
                self._alive()
                if time.monotonic() - heard > patience:
                    raise BusError(f"lockstep: the worker has not answered {what} for {patience:g} s")
                continue
            if message.error() is not None:
                if message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    continue  # the worker has not created it yet
                raise BusError(f"{message.topic()}: {message.error()}")
            heard = time.monotonic()
            self._take(message)

    def _take(self, message: Any) -> None:
        expected = self._classes[message.topic()]
        record: Any = self._codec.unframe(expected, message.value(), message.headers())
        match record:
            case RegimeUpdate():
                self._update = record
            case Allocation():
                self._allocations[record.decision_id] = record
            case Evidence():
                self._evidence[record.decision_id] = record
            case AuditEntry():
                self.chain = record.hash
                if record.kind == "position":
                    self._confirmed += 1
            case DeadLetter():
                raise BusError(
                    f"the worker refused offset {record.offset} of {record.topic}: {record.reason}"
                )
