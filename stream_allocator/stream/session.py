"""One session of a worker: one consumer, one transactional producer, the shards of its partitions.

Every batch is one transaction: outputs, snapshot and offsets, the latter with the manifest as metadata.
Whatever goes wrong beyond an abortable error ends the session; the next one starts from the committed
state by verified restore. So there is one way back, and it is used after a crash, a lost generation, a
fenced producer and a commit whose outcome is unknown alike.
"""

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from stream_allocator.engine import Engine
from stream_allocator.errors import BusError, RestoreError
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.stream.part import Part
from stream_allocator.stream.probe import Probe, nothing
from stream_allocator.stream.reader import TopicReader, record_of
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.restore import restore
from stream_allocator.stream.shard import Outgoing
from stream_allocator.stream.watch import Watch
from stream_allocator.telemetry import Telemetry
from stream_allocator.topology import Topology

__all__ = ["Fenced", "Session", "SessionLost"]

log = logging.getLogger(__name__)

REQUEST_SECONDS = 30.0
#: Sending offsets is the call that may never return (see ``stream/watch.py``), where a coordinator is lost.
#: Long enough for another to take over; giving up too soon costs a restore and nothing else.
OFFSETS_SECONDS = 10.0
IDLE_SECONDS = 0.05
ABORTS = 5
LAG_SECONDS = 5.0
#: A batch goes through the engines for no longer than this and a step before it is committed; what is left
#: of it comes next. So slow decisions delay neither one another's commits nor the next poll.
STEP_SECONDS = 0.1
#: Snapshots add no more than this and one universe to a transaction.
SNAPSHOT_BYTES = 8_000_000
#: The partitions may be another worker's by now.
GENERATION_LOST = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
}
#: A fatal consumer error hides its cause in its words.
FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
#: Trying again would not help.
REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
    KafkaError.INVALID_SESSION_TIMEOUT,
    KafkaError._INVALID_ARG,
}
#: What to do about it.
CHECK = "run stream-allocator topics check --role worker"
#: When the worker produced a record, nanoseconds since 1970: latency lives in headers, not in payloads.
PRODUCED_HEADER = "produced-at"


class SessionLost(Exception):
    """The session cannot go on; the next one restores from the committed state."""


class Fenced(SessionLost):
    """The group took this static member for an earlier life of its own, or of another worker.

    A worker fences itself where the answer to its request to join is lost: it asks again, and is told of
    the member that it became unawares. So the first time says nothing about other workers.
    """


class Session:
    """From joining the group to leaving it.

    Parameters
    ----------
    topology : Topology
    instance : str
        Names the transactional producer; also the static member where ``static`` is set.
    static : bool
    telemetry : Telemetry
    progress : callable
        Called often while a restore takes its time.
    engine : type of Engine
        What steps; a benchmark of the bus alone puts a bare kernel here.
    probe : callable
        Called at the windows of :mod:`stream_allocator.stream.probe`.
    watch : Watch, optional
        Told of every call that may never return.
    """

    def __init__(
        self,
        topology: Topology,
        instance: str,
        *,
        static: bool,
        telemetry: Telemetry,
        progress: Callable[[], None],
        engine: type[Engine] = Engine,
        probe: Probe = nothing,
        watch: Watch | None = None,
    ) -> None:
        self._topology = topology
        self._telemetry = telemetry
        self._progress = progress
        self._engine = engine
        self._probe = probe
        self._watch = watch or Watch()
        # a transaction that takes longer than its time-out is aborted: waiting for more is idle
        self._patience = min(REQUEST_SECONDS, topology.worker.transaction_timeout_seconds)
        self._names = topology.topics.names
        self._roles = {self._names[role]: role for role in INPUTS}
        self._parts: dict[int, Part] = {}
        self._parked: dict[int, Part] = {}
        self._waiting: deque[Message] = deque()
        self._lag_time = 0.0
        self._producer = Producer(producer_settings(topology, f"{topology.worker.group}-{instance}"))
        self._consumer = Consumer(
            consumer_settings(
                topology,
                topology.worker.group,
                instance_id=instance if static else None,
                # offsets are assigned; one that is gone is an error, not a reason to skip records
                overrides={"auto.offset.reset": "error"},
            )
        )
        with self._watch.within(REQUEST_SECONDS):
            self._producer.init_transactions(REQUEST_SECONDS)
        self._consumer.subscribe(
            list(topology.topics.inputs),
            on_assign=self._assigned,
            on_revoke=self._revoked,
            on_lost=self._revoked,
        )

    # -- membership ------------------------------------------------------------------------------

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
        committed = {
            (tp.topic, tp.partition): tp for tp in consumer.committed(partitions, timeout=REQUEST_SECONDS)
        }
        with TopicReader(self._topology, progress=self._restoring) as reader:
            for partition in sorted(wanted):
                entries = {role: committed[self._names[role], partition] for role in INPUTS}
                part = self._parked.get(partition)
                if part is not None and part.is_at(entries):
                    log.info("kept partition=%d bars=%d", partition, part.shard.bars)
                else:
                    part = self._restored(reader, partition, entries)
                self._parts[partition] = part
                starts += [
                    TopicPartition(self._names[role], partition, part.positions[role]) for role in INPUTS
                ]
        self._parked.clear()
        if self._topology.worker.group_protocol == "consumer":
            consumer.incremental_assign(starts)
        else:
            consumer.assign(starts)

    def _restoring(self) -> None:
        self._probe("restoring")
        self._progress()

    def _restored(self, reader: TopicReader, partition: int, committed: dict[str, TopicPartition]) -> Part:
        started = time.monotonic()
        offsets = {role: tp.offset for role, tp in committed.items()}
        try:
            back = restore(reader, partition, offsets, committed["returns"].metadata, engine=self._engine)
        except RestoreError:
            self._telemetry.restore_refused(partition)
            raise
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
            part = self._parts.pop(partition, None)
            if part is not None:
                self._parked[partition] = part
            log.info("revoked partition=%d", partition)
        gone = {(tp.topic, tp.partition) for tp in partitions}
        self._waiting = deque(m for m in self._waiting if (m.topic(), m.partition()) not in gone)

    # -- one batch -------------------------------------------------------------------------------

    def poll(self) -> int:
        """Take what waits through the engines and publish it; the number of records.

        A batch ends by count, by time, or when nothing waits: an empty queue commits at once.
        """
        started = time.monotonic()
        if self._waiting:
            late = self._consumer.poll(0)  # keeps the membership, and may take partitions away
            self._waiting += [] if late is None else [late]
        else:
            self._waiting += self._collect(started)
        self._report_lag()
        if not self._waiting:
            self._save_on()
            return 0
        self._probe("consumed")
        outputs: dict[int, list[Outgoing]] = {}
        headers: list[tuple[tuple[str, bytes], ...]] = []
        while self._waiting and (not headers or time.monotonic() - started < STEP_SECONDS):
            record = self._record(self._waiting.popleft())
            if record is None:
                continue
            headers.append(record.headers)
            part = self._parts.get(record.partition)
            if part is None or record.offset < part.positions[record.role]:
                continue  # a rebalance came between its fetch and now, and it is another's, or was read twice
            self._probe("stepping")
            outputs.setdefault(record.partition, []).extend(part.shard.apply(record))
            part.positions[record.role] = record.offset + 1
        span = self._telemetry.batch(headers)
        if outputs:
            events = [o.event for partition in outputs for o in outputs[partition]]
            self._telemetry.processed(len(headers), events, time.monotonic() - started)
            self._publish(outputs, self._telemetry.trace_headers(span))
        span.end()
        return len(headers)

    def _collect(self, started: float) -> list[Message]:
        worker = self._topology.worker
        first = self._consumer.poll(IDLE_SECONDS)
        if first is None:
            return []
        messages = [first]
        while len(messages) < worker.batch_records and time.monotonic() - started < worker.batch_seconds:
            more = self._consumer.consume(worker.batch_records - len(messages), 0)
            if not more:
                break
            messages += more
        return messages

    def _record(self, message: Message) -> Record | None:
        """The record of a message; None for an error that the client gets over by itself."""
        error = message.error()
        if error is not None:
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
            return None
        return record_of(self._roles[str(message.topic())], message)

    # -- publishing ------------------------------------------------------------------------------

    def _publish(self, outputs: dict[int, list[Outgoing]], headers: list[tuple[str, bytes]]) -> None:
        """Outputs and offsets in one transaction; an abortable error sends the same outputs again."""
        started = time.monotonic()
        every = self._topology.worker.snapshot_bars
        for partition in outputs:
            part = self._parts[partition]
            if not part.saving and part.is_due(every):
                part.begin_snapshot()
        snapshots = self._saved(outputs)
        for attempt in range(ABORTS):
            try:
                self._transaction(outputs, snapshots, headers)
                self._telemetry.committed(time.monotonic() - started)
                return
            except SystemError as failure:  # a fatal error that comes while a delivery is reported
                if not isinstance(failure.__cause__, KafkaException):
                    raise
                raise SessionLost(str(failure.__cause__)) from failure
            except KafkaException as failure:
                error = failure.args[0]
                log.warning("transaction attempt=%d error=%s", attempt, error)
                if error.code() in REFUSED:
                    raise BusError(f"the broker refuses the worker's records: {error}; {CHECK}") from failure
                if not error.txn_requires_abort() or error.code() in GENERATION_LOST:
                    raise SessionLost(str(error)) from failure
                with self._watch.within(REQUEST_SECONDS):
                    self._producer.abort_transaction(REQUEST_SECONDS)
        raise SessionLost(f"{ABORTS} transactions in a row were aborted")

    def _saved(self, partitions: Iterable[int]) -> dict[int, list[Outgoing]]:
        """What one transaction carries of the snapshots under way."""
        room, snapshots = SNAPSHOT_BYTES, {}
        for partition in partitions:
            if room > 0 and (records := self._parts[partition].save(room)):
                snapshots[partition] = records
                room -= sum(len(record.value) for record in records)
        return snapshots

    def _save_on(self) -> None:
        """Go on with the snapshots under way when no record does it."""
        saving: dict[int, list[Outgoing]] = {p: [] for p, part in self._parts.items() if part.saving}
        if saving:
            self._publish(saving, [])

    def _transaction(
        self,
        outputs: dict[int, list[Outgoing]],
        snapshots: dict[int, list[Outgoing]],
        headers: list[tuple[str, bytes]],
    ) -> None:
        self._producer.begin_transaction()
        snapshot_offsets: dict[int, list[int]] = {p: [] for p in snapshots}
        stamp = [*headers, (PRODUCED_HEADER, str(time.time_ns()).encode())]
        for partition, records in outputs.items():
            for record in records:
                self._produce(partition, record, stamp, snapshot_offsets)
            for record in snapshots.get(partition, ()):
                self._probe("snapshotting")
                self._produce(partition, record, stamp, snapshot_offsets)
        self._probe("produced")
        if snapshots:  # the manifest must name their offsets, which only delivery tells
            with self._watch.within(self._patience):
                self._producer.flush(self._patience)
            for partition, records in snapshots.items():
                if len(snapshot_offsets[partition]) != len(records):
                    raise SessionLost(f"snapshot of partition {partition} was not delivered in time")
        offsets, manifests = [], {}
        for partition in outputs:
            manifests[partition] = self._parts[partition].next_manifest(snapshot_offsets.get(partition, ()))
            offsets += self._parts[partition].offsets(self._names, manifests[partition])
        self._probe("sending_offsets")
        patience = min(self._patience, OFFSETS_SECONDS)
        with self._watch.within(patience):
            self._producer.send_offsets_to_transaction(offsets, self._membership(), patience)
        self._probe("committing")
        with self._watch.within(self._patience):
            self._producer.commit_transaction(self._patience)
        self._probe("committed")
        for partition, manifest in manifests.items():
            self._parts[partition].committed(manifest, snapshot_offsets.get(partition, ()))

    def _membership(self) -> bytes:
        """The group metadata by which the broker fences a worker whose partitions went to another.

        A member that the group has dropped has no id any more, and what it would send then reads as "no
        group at all", which a broker accepts whenever the group is empty: a worker that slept would commit
        over the work of one that came and went in the meantime.
        """
        metadata: bytes = self._consumer.consumer_group_metadata()
        if not self._consumer.memberid():
            raise SessionLost("the group has dropped this member")
        return metadata

    def _produce(
        self,
        partition: int,
        record: Outgoing,
        headers: list[tuple[str, bytes]],
        snapshot_offsets: dict[int, list[int]],
    ) -> None:
        part = self._parts.get(partition)

        def delivered(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is not None or offset is None:
                return
            if record.role == "audit" and part is not None:
                part.audit_end = max(part.audit_end, offset + 1)
            elif record.role == "snapshots":
                snapshot_offsets[partition].append(offset)

        callback = {"on_delivery": delivered} if record.role in {"audit", "snapshots"} else {}
        while True:
            try:
                self._producer.produce(
                    self._names[record.role],
                    record.value,
                    key=record.key,
                    partition=partition,
                    headers=[*record.headers, *headers],
                    **callback,
                )
                return
            except BufferError:  # the queue is full: let deliveries make room
                self._producer.poll(0.1)

    # -- the rest --------------------------------------------------------------------------------

    def _report_lag(self) -> None:
        now = time.monotonic()
        if now - self._lag_time < LAG_SECONDS:
            return
        self._lag_time = now
        for partition, part in self._parts.items():
            for role in INPUTS:
                tp = TopicPartition(self._names[role], partition)
                _, high = self._consumer.get_watermark_offsets(tp, cached=True)
                if high >= 0:
                    self._telemetry.lag(tp.topic, partition, max(0, high - part.positions[role]))

    def leave(self) -> None:
        """End cleanly: snapshot every partition that moved, commit, leave the group."""
        moved = [p for p, part in self._parts.items() if part.unsaved_bars or part.saving]
        for partition in moved:
            self._parts[partition].begin_snapshot()
        try:
            while saving := [p for p in moved if self._parts[p].saving]:
                snapshots = self._saved(saving)
                self._transaction({p: [] for p in snapshots}, snapshots, [])
            if moved:
                log.info("snapshot partitions=%s", sorted(moved))
        except (
            KafkaException,
            SessionLost,
            SystemError,
        ) as error:  # nothing is lost: the next start replays the tail
            log.warning("no snapshot at the end: %s", error)
        self.close()

    def close(self) -> None:
        """Leave the group without committing anything."""
        self._parts.clear()
        self._parked.clear()
        with self._watch.within(REQUEST_SECONDS):
            self._consumer.close()
        with contextlib.suppress(KafkaException, SystemError):  # a fenced producer says so once more
            self._producer.purge()
            self._producer.poll(0)
        del self._consumer, self._producer  # else they live on: their callbacks refer to this session

    def abandon(self) -> None:
        """Leave the group, from another thread than the one that is stuck in the producer."""
        self._consumer.close()
