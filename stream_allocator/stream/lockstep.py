"""One universe through a running worker, bar by bar: the feeder and the paper execution of the demo.

For each bar it publishes the returns, waits for everything that the worker published about it, fills
what earlier bars decided, publishes the positions and waits until the audit topic says that they were
applied. So the interleaving is the one of :func:`stream_allocator.backtest.walkforward.walk_forward`,
and so are the bytes of every decision.

What a bar decides is filled at the next one and nowhere sooner. So the next bar's returns may go out
before this bar's answer is in, and the worker never waits for the client; only where positions are due
must the answer come first.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_allocator.backtest.run import Progress, Recorder
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

DELIVERY_SECONDS = 30.0
"""For the broker to take the first record; ``patience`` is with the worker."""

AHEAD = 2
"""Bars that may be under way: with a third one, a decision's positions would come a bar late."""


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
        self._updates: dict[int, RegimeUpdate] = {}
        self._allocations: dict[str, Allocation] = {}
        self._evidence: dict[str, Evidence] = {}
        self._audited: set[str] = set()
        self._confirmed = 0
        self._published = 0
        self.chain = ""

    def drive(
        self, events: Iterable[ReturnEvent], heard: Progress, *, start_patience: float | None = None
    ) -> None:
        """Put bars through the worker.

        Parameters
        ----------
        events : iterable of ReturnEvent
            Whole cross-sections, one a bar.
        heard : callable
            Called after each bar with its update and its decisions.
        start_patience : float, optional
            For the first bar; a worker that starts needs more than one that runs.

        Raises
        ------
        BusError
            When the broker or the worker does not answer, or the worker refuses a record.
        """
        patience = self._patience if start_patience is None else start_patience
        ahead: deque[ReturnEvent] = deque()
        for event in events:
            while ahead and (len(ahead) == AHEAD or self._recorder.expecting):
                heard(*self._finish(ahead.popleft(), patience))
                patience = self._patience
            self._publish(self._returns, event)
            ahead.append(event)
        while ahead:
            heard(*self._finish(ahead.popleft(), patience))

    def _finish(self, event: ReturnEvent, patience: float) -> tuple[RegimeUpdate, list[Allocation]]:
        """Wait for a bar's answer, fill, and see the positions applied."""
        self._wait(lambda: self._complete(event.event_time), patience, f"bar {event.sequence}")
        update = self._updates.pop(event.event_time)
        self._audited -= {*update.decisions, _switch(event.event_time)}
        decided = [(self._allocations.pop(d), self._evidence.pop(d)) for d in update.decisions]
        for position in self._recorder.bar(event.returns, update, decided):
            self._publish(self._positions, position)
            self._published += 1
        self._wait(lambda: self._confirmed == self._published, patience, "positions")
        return update, [allocation for allocation, _ in decided]

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
        self._producer.close()

    def _complete(self, event_time: int) -> bool:
        """Whether the update of a bar is here, and everything that it says must be."""
        update = self._updates.get(event_time)
        if update is None:
            return False
        audited = {*update.decisions, *([_switch(event_time)] if update.switched else [])}
        return audited <= self._audited and all(
            d in self._allocations and d in self._evidence for d in update.decisions
        )

    def _publish(self, topic: str, event: ReturnEvent | PositionEvent) -> None:
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
        self._producer.flush(DELIVERY_SECONDS)  # the first record: only the partitioner knows the partition
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
                    raise BusError(f"lockstep: waited {patience:g} s for the worker's answer to {what}")
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
                self._updates[record.event_time] = record
            case Allocation():
                self._allocations[record.decision_id] = record
            case Evidence():
                self._evidence[record.decision_id] = record
            case AuditEntry():
                self.chain = record.hash
                self._confirmed += record.kind == "position"
                if record.kind == "decision":
                    self._audited.add(record.subject)
                elif record.kind == "regime_switch":
                    self._audited.add(_switch(record.event_time))
            case DeadLetter():
                raise BusError(
                    f"the worker refused offset {record.offset} of {record.topic}: {record.reason}"
                )


def _switch(event_time: int) -> str:
    return f"switch {event_time}"
