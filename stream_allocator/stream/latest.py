"""Whether a committed state is the last one: what the group has published says so.

A group coordinator that loads its log can, for a moment, tell offsets that it has told newer ones of (seen
with Kafka 4.1.0 after a broker was killed), or none at all; offsets can be set back or deleted by hand, and
expire; a worker that slept since it asked finds what its successor has done. A state that was committed at
some time verifies, whether or not it is the last. But outputs and offsets are committed together, a partition
has one writer at a time, and every output names the input record that it came from. So whatever was published
after a state stands behind all that was published before it, and the last committed record of each topic is
enough: it came from a record that the state holds, or the state is not the last.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from stream_allocator.audit import GENESIS
from stream_allocator.codec import Codec
from stream_allocator.errors import CodecError, OffsetsBehind, RestoreError
from stream_allocator.events import AuditEntry, DeadLetter, RegimeUpdate
from stream_allocator.stream.interleave import ROLES
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS, WITNESSES, Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import Topology

__all__ = ["Published", "published", "require_chain_end", "require_latest", "require_unpublished"]

AMENDS = (
    "Nothing is published twice: set the group's offsets back to where they were, with their metadata, or "
    "start a new group with topics of its own"
)


class Published(NamedTuple):
    """A record that stands last on its topic, and the event that it holds."""

    role: str
    record: Record
    event: AuditEntry | RegimeUpdate | DeadLetter


def published(reader: TopicReader, partition: int) -> list[Published]:
    """The last committed record of each topic that tells how far the group has come, of those that have one.

    Raises
    ------
    RestoreError
        When one cannot be read.
    """
    codec, names = Codec(reader.topology.wire.schema_ids), reader.topology.topics.names
    found = []
    for role, record in reader.last(WITNESSES, partition).items():
        try:
            event = codec.unframe(WITNESSES[role], record.value, record.headers)
        except CodecError as error:
            raise RestoreError(
                f"{names[role]} [{partition}] offset {record.offset} cannot be read ({error}), so nobody can "
                "tell whether the committed offsets are the last. Only workers write there: run the release "
                "that wrote it"
            ) from error
        found.append(Published(role, record, event))
    return found


def require_latest(topology: Topology, positions: Mapping[str, int], last: Iterable[Published]) -> None:
    """Refuse offsets that what is published lies beyond.

    Parameters
    ----------
    topology : Topology
    positions : mapping of str to int
        Role -> committed offset of one partition.
    last : iterable of Published
        What :func:`published` found there.

    Raises
    ------
    OffsetsBehind
        When a record came from an input at or after those offsets.
    """
    names = topology.topics.names
    for role, record, event in last:
        origin = _origin(event, names)
        if origin is not None and origin[1] >= positions[origin[0]]:
            source, offset = origin
            raise OffsetsBehind(
                f"partition {record.partition}: the committed offsets are older than what is published: "
                f"{names[role]} offset {record.offset} came from {names[source]} offset {offset}, and "
                f"{positions[source]} is committed there. {AMENDS}"
            )


def require_unpublished(topology: Topology, last: Iterable[Published]) -> None:
    """Refuse to begin where something is published already.

    Raises
    ------
    OffsetsBehind
        When a record is there: without committed offsets all of it would be published again.
    """
    for role, record, _ in last:
        raise OffsetsBehind(
            f"partition {record.partition}: group {topology.worker.group} has committed no offsets, but "
            f"something is published: {topology.topics.names[role]} has a record at offset {record.offset}. "
            f"The offsets were deleted or have expired, or the group is new and its topics are not. {AMENDS}"
        )


def require_chain_end(shard: Shard, audit: Iterable[AuditEntry]) -> None:
    """Refuse a state from which the published chain of a universe goes on.

    It also sees what no offset tells: the start of a universe.

    Raises
    ------
    OffsetsBehind
        When an entry links to the head of its universe's chain.
    """
    for entry in audit:
        engine = shard.engines.get(entry.universe)
        index, head = (engine.audit_entries, engine.chain) if engine is not None else (0, GENESIS)
        if entry.index == index and entry.previous == head:
            raise OffsetsBehind(
                f"partition {shard.partition}: the committed offsets are older than what is published: audit "
                f"entry {entry.index} of {entry.universe} ({entry.kind} {entry.subject}) comes after them. "
                f"{AMENDS}"
            )


def _origin(
    event: AuditEntry | RegimeUpdate | DeadLetter, names: Mapping[str, str]
) -> tuple[str, int] | None:
    """Role and offset of the input record that an output came from; None where it does not say."""
    match event:
        case DeadLetter():
            return next(((role, event.offset) for role in INPUTS if names[role] == event.topic), None)
        case AuditEntry() if event.kind in ROLES:
            return ROLES[event.kind], event.offset
    return "returns", event.returns_offset
