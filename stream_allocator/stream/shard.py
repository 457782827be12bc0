"""The engines of one partition: records in, records out. Pure: it imports no Kafka.

The worker, restore and replay all go through :meth:`Shard.apply`, so there is one path from a record to a
decision.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stream_allocator.codec import Codec, digest
from stream_allocator.engine import SNAPSHOT_VERSION, Engine
from stream_allocator.errors import CodecError, SnapshotError
from stream_allocator.events import (
    Input,
    Output,
    PackedReturnEvent,
    Rejection,
    RejectionCode,
    ReturnEvent,
    Snapshot,
    WireEvent,
)
from stream_allocator.stream.deadletter import dead_letter
from stream_allocator.stream.decoder import DecodedReturns, Fetched, ReturnDecoder
from stream_allocator.stream.record import INPUTS, OUTPUTS, UNREADABLE_HEADERS, Record
from stream_allocator.topology import Topology

__all__ = ["Outgoing", "Shard"]

#: Universes that a dead letter names when its own is unknown: the topology may have thousands.
NAMED = 20


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to produce, on the partition number of its input."""

    role: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    event: WireEvent


class Shard:
    """The engines of the universes that live in one partition.

    Parameters
    ----------
    topology : Topology
    partition : int
    engine : type of Engine
    """

    def __init__(self, topology: Topology, partition: int, engine: type[Engine] = Engine) -> None:
        self.topology = topology
        self._make = engine
        self.partition = partition
        self.engines: dict[str, Engine] = {}
        #: Universe -> offset below which its returns are in the state that was loaded.
        self.held: dict[str, int] = {}
        self._codec = Codec(topology.wire.schema_ids)
        most = topology.worker.max_ahead_seconds
        self._most_ahead = math.inf if most is None else most
        self._decoder = ReturnDecoder(topology, self._codec)

    def apply(self, record: Record) -> list[Outgoing]:
        """Take one record in; what cannot be used comes back as a dead letter."""
        event = self.decode(record)
        return [event] if isinstance(event, Outgoing) else self.step(record, event)

    def decode(self, record: Record) -> Input | Outgoing:
        """The event that a record holds, under the key of a known universe; else its dead letter."""
        if record.headers and record.headers[0][0] == UNREADABLE_HEADERS:
            return self._dead_letter(record, Rejection("malformed", "the name of a header is not UTF-8"))
        try:
            event: Input = self._codec.unframe_form(INPUTS[record.role], record.value, record.headers)
        except CodecError as error:
            code: RejectionCode = "unknown_schema" if error.code == "unknown_schema" else "malformed"
            return self._dead_letter(record, Rejection(code, str(error)))
        if self.topology.universe(event.universe) is None:
            names = [u.name for u in self.topology.universes[:NAMED]]
            more = len(self.topology.universes) - len(names)
            known = ", ".join(names) + (f" and {more} more" if more else "")
            reason = f"topology {self.topology.name} has no universe {event.universe[:100]}; known: {known}"
            return self._dead_letter(record, Rejection("unknown_universe", reason))
        if record.key != event.universe.encode():
            reason = (
                f"the key is {_shown(record.key)}, not the event's universe {event.universe}; "
                "key every record by its universe, or it comes to live in two partitions"
            )
            return self._dead_letter(record, Rejection("wrong_key", reason))
        return event

    def step(self, record: Record, event: Input) -> list[Outgoing]:
        """Apply a decoded event to its universe's engine."""
        engine = self._engine(event.universe)
        ahead = self._ahead(event, engine.event_time)
        if ahead is not None:
            return [self._dead_letter(record, ahead)]
        outputs = engine.apply(event, record.offset)
        return self._records(outputs, event.universe, lambda _: record, 0)

    def decode_returns(self, fetched: Fetched) -> DecodedReturns:
        """Read a batch of the returns topic; :meth:`step_returns` takes its records in, one by one."""
        return self._decoder.decode(fetched)

    def step_returns(self, decoded: DecodedReturns, i: int) -> list[Outgoing]:
        """As :meth:`apply`, for one record of a batch."""
        name, source, sequence, event_time, first, last, volumes = decoded.row(i)
        if name is not None:
            engine = self._engine(name)
            if not self._too_far(event_time, engine.event_time):
                outputs = engine.apply_returns(
                    source,
                    sequence,
                    event_time,
                    decoded.index[first:last],
                    decoded.returns[first:last],
                    decoded.volumes[first:last] if volumes else None,
                    decoded.offsets[i],
                )
                return self._records(outputs, name, decoded.fetched.record, i) if outputs else []
        return self.apply(decoded.fetched.record(i))

    def _ahead(self, event: Input, closed: int) -> Rejection | None:
        """Whether returns lie so far after the last closed bar that their source's clock must be wrong.

        Taken in, they would close every bar before them, and all that is right would come late from then on.
        """
        if not isinstance(event, ReturnEvent | PackedReturnEvent) or not self._too_far(
            event.event_time, closed
        ):
            return None
        seconds, most = (event.event_time - closed) / 1e6, self._most_ahead
        return Rejection(
            "ahead",
            f"event time {event.event_time} from {event.source} lies {seconds:.0f} s after the last closed "
            f"bar, and worker.max_ahead_seconds is {most:.0f}; correct the source's clock, or raise it",
        )

    def _too_far(self, event_time: int, closed: int) -> bool:
        return closed >= 0 and (event_time - closed) / 1e6 > self._most_ahead

    @property
    def bars(self) -> int:
        """Closed bars of all its universes."""
        return sum(engine.bars for engine in self.engines.values())

    def digest(self) -> str:
        """One digest over the heads of its audit chains: equal digests, equal histories."""
        heads = "".join(f"{name}\n{self.engines[name].chain}\n" for name in sorted(self.engines))
        return hashlib.sha256(heads.encode()).hexdigest()

    def snapshots(self, returns_end: int = 0) -> list[Outgoing]:
        """The states of all engines, universes in order; see :meth:`snapshot`."""
        return [r for name in sorted(self.engines) for r in self.snapshot(name, returns_end=returns_end)]

    def snapshot(self, name: str, slot: int = 0, returns_end: int = 0) -> list[Outgoing]:
        """The state of one engine, in chunks below the topology's limit.

        Parameters
        ----------
        name : str
            Of the universe.
        slot : int
            Part of the keys: snapshots with other slots outlive compaction beside this one.
        returns_end : int
            Offset of the first returns record that the state does not hold.
        """
        size = self.topology.worker.chunk_bytes
        engine = self.engines[name]
        state = engine.snapshot()
        whole, configuration = digest(state), engine.configuration
        pieces = [state[i : i + size] for i in range(0, len(state), size)]
        records = []
        for chunk, payload in enumerate(pieces):
            event = Snapshot(
                version=SNAPSHOT_VERSION,
                universe=name,
                chunk=chunk,
                chunks=len(pieces),
                event_time=engine.event_time,
                policy_digest=configuration,
                digest=whole,
                payload=payload,
                returns_end=returns_end,
            )
            records.append(self._outgoing(event, f"{name}/{slot}/{chunk}".encode()))
        return records

    def load(self, snapshots: Sequence[Snapshot]) -> None:
        """Take over the states that :meth:`snapshot` wrote.

        Raises
        ------
        SnapshotError
            For chunks that are missing, corrupt, of another version, or of another universe or policy.
        """
        chunks: dict[str, list[Snapshot]] = {}
        for snapshot in snapshots:
            chunks.setdefault(snapshot.universe, []).append(snapshot)
        engines, held = {}, {}
        for name, parts in chunks.items():
            parts.sort(key=lambda s: s.chunk)
            if [s.chunk for s in parts] != list(range(parts[0].chunks)):
                raise SnapshotError(f"snapshot of {name}: chunks are missing")
            state = b"".join(s.payload for s in parts)
            if digest(state) != parts[0].digest:
                raise SnapshotError(f"snapshot of {name}: its bytes do not have the digest that it names")
            universe = self.topology.universe(name)
            if universe is None:
                raise SnapshotError(f"snapshot of {name}: the topology has no such universe any more")
            engines[name] = self._make.restore(universe, self.topology.policies(name), state)
            held[name] = parts[0].returns_end
        self.engines, self.held = engines, held

    def _engine(self, name: str) -> Engine:
        if name not in self.engines:
            universe = self.topology.universe(name)
            assert universe is not None  # decode has looked
            self.engines[name] = self._make(universe, self.topology.policies(name))
        return self.engines[name]

    def _records(
        self, outputs: Sequence[Output], universe: str, record: Callable[[int], Record], i: int
    ) -> list[Outgoing]:
        """What an engine gave out for ``record(i)``."""
        key = universe.encode()
        return [
            self._dead_letter(record(i), output)
            if isinstance(output, Rejection)
            else self._outgoing(output, key)
            for output in outputs
        ]

    def _outgoing(self, event: WireEvent, key: bytes) -> Outgoing:
        value, headers = self._codec.frame(event)
        return Outgoing(OUTPUTS[type(event)], key, value, tuple(headers), event)

    def _dead_letter(self, record: Record, rejection: Rejection) -> Outgoing:
        topic = self.topology.topics.names[record.role]
        letter = dead_letter(topic, record, rejection, self.topology.worker.chunk_bytes)
        return self._outgoing(letter, letter.key or b"")


def _shown(key: bytes | None) -> str:
    return "missing" if key is None else ascii(key[:100].decode("utf-8", "replace"))
