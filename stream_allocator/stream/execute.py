"""Paper execution over Kafka: fills allocations at the next bar and publishes positions.

It keeps no state of its own. At start it reads back its last snapshot of each portfolio from the
positions topic, marks it with the returns that came since, and goes on from there; nothing is filled
until it has caught up. A decision that was published before the last snapshot and still waited is
dropped: the next decision starts from the positions as they are. One instance for each topology.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from stream_allocator.backtest.account import COST_BPS, PaperAccount
from stream_allocator.bars import BarAssembly
from stream_allocator.codec import Codec
from stream_allocator.errors import BusError, CodecError
from stream_allocator.events import Allocation, PackedReturnEvent, PositionEvent, ReturnEvent
from stream_allocator.intake import numbers, refuse_returns
from stream_allocator.policy import Policy
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.stream.reader import headers_of
from stream_allocator.topology import Topology, Universe

__all__ = ["SOURCE", "PaperExecution", "UniverseExecution", "execute"]

log = logging.getLogger(__name__)

SOURCE = "paper"
"""Source of the position events: how an instance knows its own."""

BATCH = 1000
POLL_SECONDS = 0.05
DELIVERY_SECONDS = 30.0
METADATA_SECONDS = 10.0


class UniverseExecution:
    """The paper accounts of one universe; no Kafka.

    Bars close as in the engine: complete, or a later time has come and the grace has passed.

    Parameters
    ----------
    universe : Universe
    policies : mapping of str to Policy
    snapshots : mapping of str to PositionEvent
        Portfolio -> its account's own last snapshot, where there is one.
    nav : float
        Opening NAV of the others.
    cost_bps : float
    """

    def __init__(
        self,
        universe: Universe,
        policies: Mapping[str, Policy],
        snapshots: Mapping[str, PositionEvent],
        *,
        nav: float = 1e6,
        cost_bps: float = COST_BPS,
    ) -> None:
        self._universe = universe
        self._index = {asset: i for i, asset in enumerate(universe.assets)}
        grace = max(p.schedule.grace_seconds for p in policies.values())
        self._bars = BarAssembly(len(universe.assets), round(grace * 1e6))
        self._since = {name: event.event_time for name, event in snapshots.items()}
        self.accounts = {
            p.name: PaperAccount.resume(snapshots[p.name], universe.assets, cost_bps)
            if p.name in snapshots
            else PaperAccount(universe.name, p.name, universe.assets, nav, cost_bps, SOURCE)
            for p in universe.portfolios
        }

    @property
    def stale(self) -> int:
        """Decisions of all accounts whose validity ended before a bar came to fill them."""
        return sum(account.stale for account in self.accounts.values())

    def allocation(self, allocation: Allocation) -> bool:
        """Queue a decision; True if it will be filled unless it goes stale."""
        account = self.accounts.get(allocation.portfolio)
        if account is None or allocation.event_time < self._since.get(allocation.portfolio, -1):
            return False
        return account.receive(allocation)

    def returns(self, event: ReturnEvent | PackedReturnEvent, *, live: bool = True) -> list[PositionEvent]:
        """Take in returns; what to publish for the bars that they close.

        Parameters
        ----------
        event : ReturnEvent or PackedReturnEvent
        live : bool
            False while catching up: holdings are marked, nothing is filled or published.
        """
        if refuse_returns(event, self._universe) is not None:
            return []  # the engine refuses it too
        named = self._universe.assets if isinstance(event, PackedReturnEvent) else event.assets
        index = np.array([self._index[a] for a in named], dtype=np.int64)
        if self._bars.late(event.event_time, index) is not None:
            return []
        self._bars.add(event.event_time, index, numbers(event)[0], None)
        published = []
        for bar in self._bars.close():
            for name, account in self.accounts.items():
                if bar.time <= self._since.get(name, -1):
                    continue
                if live:
                    _, snapshot = account.close(bar.time, bar.returns)
                    published += [] if snapshot is None else [snapshot]
                else:
                    account.mark(bar.returns)
        return published


class PaperExecution:
    """The paper accounts of every universe of a topology, on its topics.

    Parameters
    ----------
    topology : Topology
    nav : float
        Opening NAV of each portfolio.
    cost_bps : float

    Raises
    ------
    BusError
        When the broker cannot be reached or lacks a topic.
    """

    def __init__(self, topology: Topology, *, nav: float = 1e6, cost_bps: float = COST_BPS) -> None:
        self._topics = topology.topics
        self._codec = Codec(topology.wire.schema_ids)
        self._producer = Producer(producer_settings(topology))
        self._consumer = Consumer(consumer_settings(topology, f"{topology.worker.group}-paper"))
        snapshots = self._own_snapshots()
        self.universes = {
            u.name: UniverseExecution(
                u,
                topology.policies(u.name),
                {p: event for (name, p), event in snapshots.items() if name == u.name},
                nav=nav,
                cost_bps=cost_bps,
            )
            for u in topology.universes
        }
        inputs = [*self._partitions(self._topics.returns), *self._partitions(self._topics.allocations)]
        self._behind = {p.partition: self._end(p) for p in inputs if p.topic == self._topics.returns}
        self._consumer.assign(inputs)
        log.info("execute start universes=%d resumed=%d", len(self.universes), len(snapshots))

    def step(self, timeout: float = POLL_SECONDS) -> int:
        """Take in what has arrived and publish what follows; returns the number of records.

        Raises
        ------
        BusError
        """
        first = self._consumer.poll(timeout)
        messages = [] if first is None else [first, *self._consumer.consume(BATCH, 0)]
        for message in messages:
            if not _is_record(message):
                continue
            for snapshot in self._apply(message):
                value, headers = self._codec.frame(snapshot)
                self._producer.produce(
                    self._topics.positions,
                    value,
                    key=snapshot.universe.encode(),
                    partition=message.partition(),  # beside its returns, whatever the partitioner
                    headers=headers,
                )
                log.info(
                    "fill universe=%s portfolio=%s sequence=%d nav=%.2f",
                    snapshot.universe,
                    snapshot.portfolio,
                    snapshot.sequence,
                    snapshot.nav,
                )
        self._producer.poll(0)
        return len(messages)

    def close(self) -> None:
        """Wait for the last confirmations and leave."""
        left = self._producer.flush(DELIVERY_SECONDS)
        self._producer.close()
        self._consumer.close()
        if left:
            raise BusError(f"{self._topics.positions}: {left} snapshots not confirmed")

    def _apply(self, message: Any) -> list[PositionEvent]:
        universe = self.universes.get((message.key() or b"").decode("utf-8", "replace"))
        if universe is None:
            return []
        try:
            if message.topic() == self._topics.allocations:
                universe.allocation(self._codec.unframe(Allocation, message.value(), headers_of(message)))
                return []
            event = self._codec.unframe_form(ReturnEvent, message.value(), headers_of(message))
        except CodecError as error:  # the worker publishes it as a dead letter; here it is only skipped
            log.warning("skipped topic=%s offset=%d: %s", message.topic(), message.offset(), error)
            return []
        live = message.offset() >= self._behind.get(message.partition(), 0)
        before = universe.stale
        published = universe.returns(event, live=live)
        if universe.stale > before:
            log.warning(
                "stale universe=%s decisions=%d: its validity had ended", event.universe, universe.stale
            )
        return published

    def _own_snapshots(self) -> dict[tuple[str, str], PositionEvent]:
        """The last position event of each portfolio that an earlier instance published."""
        partitions = self._partitions(self._topics.positions)
        ends = {p.partition: self._end(p) for p in partitions}
        last: dict[tuple[str, str], PositionEvent] = {}
        waiting = {p for p, end in ends.items() if end > 0}
        self._consumer.assign([p for p in partitions if p.partition in waiting])
        while waiting:
            for message in self._consumer.consume(BATCH, POLL_SECONDS):
                if not _is_record(message):
                    continue
                try:
                    event = self._codec.unframe(PositionEvent, message.value(), headers_of(message))
                except CodecError:
                    continue
                if event.source == SOURCE:
                    last[event.universe, event.portfolio] = event
            for at in self._consumer.position([TopicPartition(self._topics.positions, p) for p in waiting]):
                if at.offset >= ends[at.partition]:
                    waiting.discard(at.partition)
        return last

    def _partitions(self, topic: str) -> list[TopicPartition]:
        try:
            known = self._consumer.list_topics(topic, timeout=METADATA_SECONDS).topics[topic]
        except KafkaException as error:
            raise BusError(f"{topic}: {error}") from error
        if known.error is not None or not known.partitions:
            raise BusError(f"{topic}: no such topic; create it with `stream-allocator topics create`")
        return [TopicPartition(topic, p, OFFSET_BEGINNING) for p in sorted(known.partitions)]

    def _end(self, partition: TopicPartition) -> int:
        """The high watermark, 0 for an empty partition."""
        try:
            low, high = self._consumer.get_watermark_offsets(partition, timeout=METADATA_SECONDS)
        except KafkaException as error:
            raise BusError(f"{partition.topic}: {error}") from error
        return int(high) if high > low else 0


def _is_record(message: Any) -> bool:
    """Whether a message is a record; an error that the client gets over by itself is none."""
    error = message.error()
    if error is None:
        return True
    if error.retriable() or error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
        return False  # the latter: the client names a group, but it joins none
    raise BusError(f"{message.topic()}: {error}")


def execute(topology: Topology, stop: threading.Event | None = None) -> None:
    """Run the paper execution until ``stop`` is set.

    Raises
    ------
    BusError
    """
    stop = stop or threading.Event()
    execution = PaperExecution(topology)
    try:
        while not stop.is_set():
            execution.step()
    finally:
        execution.close()
