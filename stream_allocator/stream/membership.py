"""Which partitions a session has, and how it comes by their state."""

import logging
import time
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, TopicPartition

from stream_allocator.engine import Engine
from stream_allocator.errors import BusError, OffsetsBehind, RestoreError
from stream_allocator.events import AuditEntry
from stream_allocator.stream.failures import SessionLost
from stream_allocator.stream.latest import published, require_chain_end, require_latest
from stream_allocator.stream.part import Part
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.restore import restore
from stream_allocator.telemetry import Telemetry
from stream_allocator.topology import Topology

__all__ = ["Membership", "group_metadata"]

log = logging.getLogger(__name__)

REQUEST_SECONDS = 30.0
#: How long committed offsets may lie behind what is published, and how often they are asked for meanwhile.
BEHIND_SECONDS, AGAIN_SECONDS = 30.0, 0.5


class Membership:
    """The assigned partitions of a member of the group.

    Parameters
    ----------
    topology : Topology
    engine : type of Engine
    telemetry : Telemetry
    restoring : callable
        Called often while a restore takes its time.
    drop : callable
        Told the (topic, partition)s that were taken away.

    Attributes
    ----------
    parts : dict of int to Part
        Those that this member has now.
    """

    def __init__(
        self,
        topology: Topology,
        engine: type[Engine],
        telemetry: Telemetry,
        restoring: Callable[[], None],
        drop: Callable[[set[tuple[str, int]]], None],
    ) -> None:
        self._topology = topology
        self._names = topology.topics.names
        self._engine = engine
        self._telemetry = telemetry
        self._restoring = restoring
        self._drop = drop
        self.parts: dict[int, Part] = {}
        self._parked: dict[int, Part] = {}

    def join(self, consumer: Consumer) -> None:
        """Subscribe to the inputs; partitions come and go in the consumer's polls."""
        consumer.subscribe(
            list(self._topology.topics.inputs),
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )

    def forget(self) -> None:
        """Drop every engine."""
        self.parts.clear()
        self._parked.clear()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        wanted: dict[int, set[str]] = {}
        for tp in partitions:
            wanted.setdefault(tp.partition, set()).add(tp.topic)
        for partition, topics in wanted.items():
            if topics != set(self._topology.topics.inputs):
                raise BusError(
                    f"partition {partition} was assigned for {', '.join(sorted(topics))} only; every worker "
                    f"of group {self._topology.worker.group} must use the range assignor"
                )
        if not partitions:
            return
        starts = []
        told = consumer.committed(partitions, timeout=REQUEST_SECONDS)
        committed = {(tp.topic, tp.partition): tp for tp in told}
        with TopicReader(self._topology, progress=self._restoring) as reader:
            for partition in sorted(wanted):
                entries = {role: committed[self._names[role], partition] for role in INPUTS}
                part = self.parts[partition] = self._latest(consumer, reader, partition, entries)
                starts += [
                    TopicPartition(self._names[role], partition, part.positions[role]) for role in INPUTS
                ]
        self._parked.clear()
        if self._topology.worker.group_protocol == "consumer":
            consumer.incremental_assign(starts)
        else:
            consumer.assign(starts)

    def _latest(
        self,
        consumer: Consumer,
        reader: TopicReader,
        partition: int,
        committed: Mapping[str, TopicPartition],
    ) -> Part:
        """The part in the state that was committed last: kept, or restored.

        Offsets that lie behind what is published are asked for again: a coordinator that is still loading
        its log soon knows better.
        """
        deadline = time.monotonic() + BEHIND_SECONDS
        while True:
            part = self._parked.get(partition)
            try:
                if part is not None and part.is_at(committed):
                    self._require_latest(reader, part)
                    log.info("kept partition=%d bars=%d", partition, part.shard.bars)
                    return part
                return self._restored(reader, partition, committed)
            except RestoreError as refusal:
                if not isinstance(refusal, OffsetsBehind) or time.monotonic() > deadline:
                    self._telemetry.restore_refused(partition)
                    raise
                log.warning("restore waits: %s", refusal)
            self._restoring()
            time.sleep(AGAIN_SECONDS)
            asked = [TopicPartition(self._names[role], partition) for role in INPUTS]
            told = consumer.committed(asked, timeout=REQUEST_SECONDS)
            committed = dict(zip(INPUTS, told, strict=True))

    def _require_latest(self, reader: TopicReader, part: Part) -> None:
        last = published(reader, part.shard.partition)
        require_latest(self._topology, part.positions, last)
        require_chain_end(part.shard, [each.event for each in last if isinstance(each.event, AuditEntry)])

    def _restored(self, reader: TopicReader, partition: int, committed: Mapping[str, TopicPartition]) -> Part:
        started = time.monotonic()
        offsets = {role: tp.offset for role, tp in committed.items()}
        back = restore(reader, partition, offsets, committed["returns"].metadata, engine=self._engine)
        seconds = time.monotonic() - started
        self._telemetry.restored(partition, seconds)
        log.info(
            "restored partition=%d bars=%d replayed=%d digest=%s seconds=%.3f",
            *(partition, back.shard.bars, back.replayed, back.shard.digest()[:12], seconds),
        )
        return Part(back)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # nothing is open here: the callback runs inside a poll, and every batch was committed before it.
        # The classic protocol takes all partitions away at every rebalance, and gives most of them back
        for partition in {tp.partition for tp in partitions}:
            part = self.parts.pop(partition, None)
            if part is not None:
                self._parked[partition] = part
            log.info("revoked partition=%d", partition)
        self._drop({(tp.topic, tp.partition) for tp in partitions})


def group_metadata(consumer: Consumer) -> bytes:
    """The group metadata by which the broker fences a worker whose partitions went to another.

    A member that the group has dropped has no id any more, and what it would send then reads as "no
    group at all", which a broker accepts whenever the group is empty: a worker that slept would commit
    over the work of one that came and went in the meantime.

    Raises
    ------
    SessionLost
        When the group has dropped this member.
    """
    metadata: bytes = consumer.consumer_group_metadata()
    if not consumer.memberid():
        raise SessionLost("the group has dropped this member")
    return metadata
