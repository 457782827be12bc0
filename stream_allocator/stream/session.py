"""One session of a worker: one consumer, one transactional producer, the shards of its partitions.

Every batch is one transaction: outputs, snapshot and offsets, the latter with the manifest as metadata.
Whatever goes wrong beyond an abortable error ends the session; the next one starts from the committed
state by verified restore. So there is one way back, and it is used after a crash, a lost generation, a
fenced producer and a commit whose outcome is unknown alike.
"""

import contextlib
import gc
import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from stream_allocator.engine import Engine
from stream_allocator.errors import BusError
from stream_allocator.stream.clients import consumer_settings, producer_settings
from stream_allocator.stream.failures import CHECK, GENERATION_LOST, REFUSED, SessionLost
from stream_allocator.stream.inbox import Inbox, Stretch
from stream_allocator.stream.membership import Membership, group_metadata
from stream_allocator.stream.part import Part
from stream_allocator.stream.probe import Probe, nothing
from stream_allocator.stream.publication import Headers, Publication
from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.shard import Outgoing
from stream_allocator.stream.watch import Watch
from stream_allocator.telemetry import Telemetry
from stream_allocator.topology import Topology

__all__ = ["Session", "SessionLost"]

log = logging.getLogger(__name__)

REQUEST_SECONDS = 30.0
ABORTS = 5
LAG_SECONDS = 5.0
#: A batch goes through the engines for no longer than this and a step before it is committed; what is left
#: of it comes next. So slow decisions delay neither one another's commits nor the next poll.
STEP_SECONDS = 0.2
#: Records that led to nothing, and so took a moment, between two looks at the clock.
UNTIMED = 16
#: After a transaction with a snapshot none is begun for so many times what the snapshot took: a partition
#: that closes thousands of bars a second spends a twentieth of its time on snapshots, no more.
SNAPSHOT_REST = 20
#: Snapshots add no more than this and one universe to a transaction.
SNAPSHOT_BYTES = 8_000_000


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
        self._probe = probe
        self._watch = watch or Watch()
        # a transaction that takes longer than its time-out is aborted: waiting for more is idle
        self._patience = min(REQUEST_SECONDS, topology.worker.transaction_timeout_seconds)
        self._names = topology.topics.names
        self._lag_time = self._save_after = 0.0
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
        self._inbox = Inbox(topology.worker, {self._names[role]: role for role in INPUTS})
        self._membership = Membership(topology, engine, telemetry, self._restoring, self._inbox.drop)
        with self._watch.within(REQUEST_SECONDS):
            self._producer.init_transactions(REQUEST_SECONDS)
        self._membership.join(self._consumer)
        if not gc.get_freeze_count():
            gc.freeze()  # what is loaded by now stays: a full collection that goes over it is a long pause

    @property
    def _parts(self) -> dict[int, Part]:
        return self._membership.parts

    def _restoring(self) -> None:
        self._probe("restoring")
        self._progress()

    # -- one batch -------------------------------------------------------------------------------

    def poll(self) -> int:
        """Take what waits through the engines and publish it; the number of records.

        A batch ends by count, by time, or when nothing waits: an empty queue commits at once.
        """
        started = time.monotonic()
        self._inbox.fill(self._consumer)
        self._report_lag()
        stretches = self._inbox.stretches
        if not stretches:
            self._save_on()
            return 0
        self._probe("consumed")
        outputs: dict[int, list[Outgoing]] = {}
        seen: list[tuple[Stretch, int, int]] = []
        deadline = started + STEP_SECONDS
        while stretches and (not seen or time.monotonic() < deadline):
            stretch = stretches[0]
            begin = stretch.taken
            part = self._parts.get(stretch.partition)
            if part is None:  # a rebalance came between its fetch and now, and it is another's
                stretch.taken = len(stretch)
            else:
                self._take(stretch, part, outputs, deadline)
            seen.append((stretch, begin, stretch.taken))
            if stretch.taken == len(stretch):
                stretches.popleft()
        records = sum(end - begin for _, begin, end in seen)
        traced = (s.headers()[i] for s, begin, end in seen for i in range(begin, end))
        span = self._telemetry.batch(traced)
        if outputs:
            self._telemetry.processed(
                records, (o.event for made in outputs.values() for o in made), time.monotonic() - started
            )
            self._publish(outputs, self._telemetry.trace_headers(span))
        span.end()
        return records

    def _take(
        self, stretch: Stretch, part: Part, outputs: dict[int, list[Outgoing]], deadline: float
    ) -> None:
        """Take records of a stretch through the engines, at least one, until the deadline.

        Those that were taken in before, because they were read twice, are passed over.
        """
        role, shard = stretch.role, part.shard
        offsets, count = stretch.offsets(), len(stretch)
        i = bisect_left(offsets, part.positions[role], lo=stretch.taken)
        if i == count:
            stretch.taken = count
            return
        decoded = None
        if role == "returns":
            decoded = stretch.decoded = stretch.decoded or shard.decode_returns(stretch)
        made = outputs.setdefault(stretch.partition, [])
        probe = None if self._probe is nothing else self._probe
        while i < count:
            if probe is not None:
                probe("stepping")
            records = shard.apply(stretch.record(i)) if decoded is None else shard.step_returns(decoded, i)
            i += 1
            if records:
                made += records
            if (records or not i % UNTIMED) and time.monotonic() >= deadline:
                break
        stretch.taken = i
        part.positions[role] = offsets[i - 1] + 1

    # -- publishing ------------------------------------------------------------------------------

    def _publish(self, outputs: dict[int, list[Outgoing]], trace: Headers) -> None:
        """Outputs and offsets in one transaction; an abortable error sends the same outputs again."""
        started = time.monotonic()
        every = self._topology.worker.snapshot_bars
        for partition in outputs if started >= self._save_after else ():
            part = self._parts[partition]
            if not part.saving and part.is_due(every):
                part.begin_snapshot()
        snapshots = self._saved(outputs)
        saved = time.monotonic() - started
        publication = self._publication(outputs, snapshots, trace)
        for attempt in range(ABORTS):
            try:
                publication.send(self._producer, self._group_metadata)
                now = time.monotonic()
                self._telemetry.committed(now - started)
                if snapshots:
                    self._save_after = now + SNAPSHOT_REST * (saved + publication.waited)
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

    def _publication(
        self, outputs: dict[int, list[Outgoing]], snapshots: dict[int, list[Outgoing]], trace: Headers
    ) -> Publication:
        return Publication(
            self._parts, outputs, snapshots, self._names, trace, self._probe, self._watch, self._patience
        )

    def _group_metadata(self) -> bytes:
        return group_metadata(self._consumer)

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
                publication = self._publication({p: [] for p in snapshots}, snapshots, [])
                publication.send(self._producer, self._group_metadata)
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
        self._membership.forget()
        with self._watch.within(REQUEST_SECONDS):
            self._consumer.close()
        with contextlib.suppress(KafkaException, SystemError):  # a fenced producer says so once more
            self._producer.purge()
            self._producer.poll(0)
        del self._consumer, self._producer  # else they live on: their callbacks refer to this session

    def abandon(self) -> None:
        """Leave the group, from another thread than the one that is stuck in the producer."""
        self._consumer.close()
