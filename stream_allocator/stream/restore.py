"""Verified restore: a partition's state from commit metadata, snapshot and tail.

The metadata of the committed returns offset says where the last snapshot stands, from where the tail of
each topic must be read, and the digest over the audit chains that the tail must lead to. It is written in
the same transaction as the offset, so it can be neither ahead nor behind.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stream_allocator.codec import Codec
from stream_allocator.engine import Engine
from stream_allocator.errors import CodecError, RestoreError, SnapshotError
from stream_allocator.events import AuditEntry, Snapshot
from stream_allocator.stream.interleave import ROLES, interleave
from stream_allocator.stream.latest import (
    published,
    require_chain_end,
    require_latest,
    require_unpublished,
)
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.shard import Shard

__all__ = ["Manifest", "Restored", "SnapshotAt", "restore"]

log = logging.getLogger(__name__)

#: Kafka's own limit is 4,096 bytes (offset.metadata.max.bytes).
METADATA_BYTES = 4000
MANIFEST_VERSION = 2
SNAPSHOTS_KEPT = 2


@dataclass(frozen=True, slots=True)
class SnapshotAt:
    """Where one snapshot stands, and from where the log goes on after it.

    It holds every engine that there was when it began, each as it stood at a moment since then: a partition
    of many universes is saved over several transactions, so that none of them has to carry it all.

    Attributes
    ----------
    offset : int
        Of its first record.
    count : int
        Offsets from its first record to its last: its records, and the transaction markers between them.
    inputs : dict of str to int
        Role -> offset from which the tail of that input begins: where it stood when the snapshot began.
    audit : int
        Offset from which the tail of the audit topic begins.
    """

    offset: int
    count: int
    inputs: dict[str, int]
    audit: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the commit metadata says.

    Attributes
    ----------
    digest : str
        :meth:`Shard.digest` of the committed state.
    taken : int
        Snapshots so far.
    snapshots : tuple of SnapshotAt
        The newest first; one older is kept in case the newest cannot be used.
    first : dict of str to int
        Role -> offset at which this group's history of that input begins.
    """

    digest: str
    taken: int = 0
    snapshots: tuple[SnapshotAt, ...] = ()
    first: dict[str, int] = field(default_factory=dict)

    def after(self, snapshot: SnapshotAt) -> "Manifest":
        """The manifest once ``snapshot`` has been taken."""
        return replace(self, taken=self.taken + 1, snapshots=(snapshot, *self.snapshots)[:SNAPSHOTS_KEPT])

    def to_metadata(self) -> str:
        """The metadata string of a commit."""
        text = json.dumps(
            {"version": MANIFEST_VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":")
        )
        assert len(text) <= METADATA_BYTES
        return text

    @classmethod
    def from_metadata(cls, text: str) -> "Manifest":
        """The inverse of :meth:`to_metadata`; it reads what earlier releases wrote, too.

        Raises
        ------
        RestoreError
            For metadata that this release cannot read.
        """
        try:
            data = json.loads(text)
            version = data.pop("version")
            if version == 1:
                data = _upgraded(data)
            elif version != MANIFEST_VERSION:
                raise ValueError(f"version {version}")
            data["snapshots"] = tuple(SnapshotAt(**each) for each in data["snapshots"])
            return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RestoreError(
                f"the committed offset's metadata is not a manifest that this release can read ({error}): "
                f"{text[:200]!r}; use a consumer group that only stream-allocator workers commit to"
            ) from error


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """The contents of a manifest of version 1, which knew one snapshot and where its tail begins."""
    snapshot, inputs, audit = old["snapshot"], old["inputs"], old["audit"]
    if snapshot is None:
        return {"digest": old["digest"], "taken": 0, "snapshots": [], "first": inputs}
    at = {"offset": snapshot[0], "count": snapshot[1], "inputs": inputs, "audit": audit}
    return {"digest": old["digest"], "taken": 1, "snapshots": [at], "first": {}}


@dataclass(frozen=True, slots=True)
class Restored:
    """A partition that is back: its shard, where to go on, and where its snapshot stands.

    ``saved_bars`` of the shard's bars came from the snapshot, ``replayed`` records from the log.
    """

    shard: Shard
    positions: dict[str, int]
    manifest: Manifest
    audit_end: int
    replayed: int
    saved_bars: int


def restore(
    reader: TopicReader,
    partition: int,
    committed: Mapping[str, int],
    metadata: str | None,
    *,
    engine: type[Engine] = Engine,
) -> Restored:
    """Bring one partition's engines to the committed state.

    Parameters
    ----------
    reader : TopicReader
    partition : int
    committed : mapping of str to int
        Role -> committed offset; negative where nothing was committed.
    metadata : str, optional
        Of the committed returns offset.
    engine : type of Engine

    Raises
    ------
    RestoreError
        When the regenerated state is not the committed one.
    OffsetsBehind
        When what comes next has been published already: the state is not the last, or nothing is committed
        where there was something.
    """
    first = {role: reader.bounds(role, partition)[0] for role in INPUTS}
    positions = {role: committed[role] if committed[role] >= 0 else first[role] for role in INPUTS}
    last = published(reader, partition)
    if not metadata:
        if any(committed[role] > first[role] for role in INPUTS):
            raise RestoreError(
                f"partition {partition}: offsets are committed without a manifest; use a consumer group that "
                "only stream-allocator workers commit to"
            )
        require_unpublished(reader.topology, last)
        shard = Shard(reader.topology, partition, engine)
        return Restored(shard, positions, Manifest(shard.digest(), first=dict(first)), 0, 0, 0)

    manifest = Manifest.from_metadata(metadata)
    require_latest(reader.topology, positions, last)
    shard, snapshot, notes = _newest_usable(reader, partition, manifest, engine)
    if snapshot is None:
        start = manifest.first or first
        snapshot = SnapshotAt(0, 0, {role: max(start[role], first[role]) for role in INPUTS}, 0)
    saved_bars = shard.bars
    replayed, audit, audit_end = _replay_tail(reader, shard, snapshot, positions)
    if shard.digest() != manifest.digest:
        note = "".join(f"; {n}" for n in notes)
        raise RestoreError(
            f"partition {partition}: the state rebuilt from the log differs from the committed digest "
            f"(rebuilt {shard.digest()[:12]}, committed {manifest.digest[:12]}){note}. Nothing is published. "
            "Run the release and policy that wrote it; stream-allocator replay shows the first difference"
        )
    require_chain_end(shard, audit)
    return Restored(shard, positions, manifest, audit_end, replayed, saved_bars)


def _newest_usable(
    reader: TopicReader, partition: int, manifest: Manifest, engine: type[Engine]
) -> tuple[Shard, SnapshotAt | None, list[str]]:
    """A shard loaded from the newest snapshot that can be used, that one, and why newer ones could not."""
    notes: list[str] = []
    for snapshot in manifest.snapshots:
        shard = Shard(reader.topology, partition, engine)
        try:
            shard.load(_snapshots(reader, partition, snapshot.offset, snapshot.count))
            return shard, snapshot, notes
        except (SnapshotError, CodecError) as error:
            notes.append(f"its snapshot at offset {snapshot.offset} could not be used: {error}")
            log.warning("restore partition=%d %s", partition, notes[-1])
    if notes:
        log.warning("restore partition=%d falls back to the log from its beginning", partition)
    return Shard(reader.topology, partition, engine), None, notes


def _snapshots(reader: TopicReader, partition: int, offset: int, count: int) -> list[Snapshot]:
    codec = Codec(reader.topology.wire.schema_ids)
    low, high = reader.bounds("snapshots", partition)
    if not low <= offset <= offset + count <= high:
        raise SnapshotError(f"snapshots [{partition}]: offsets {offset} to {offset + count} are not there")
    stretch = {("snapshots", partition): (offset, offset + count)}
    return [codec.unframe(Snapshot, r.value, r.headers) for r in reader.read(stretch)]


def _replay_tail(
    reader: TopicReader, shard: Shard, snapshot: SnapshotAt, positions: Mapping[str, int]
) -> tuple[int, list[AuditEntry], int]:
    """Apply the tail in silence.

    Returns
    -------
    replayed : int
        Records applied.
    audit : list of AuditEntry
        All that are committed since the snapshot, which may be more than the tail led to.
    audit_end : int
        After the last of them.
    """
    partition = shard.partition
    stretches = {(role, partition): (snapshot.inputs[role], positions[role]) for role in INPUTS} | {
        ("audit", partition): (snapshot.audit, None)
    }
    records: dict[str, list[Record]] = {role: [] for role in (*INPUTS, "audit")}
    for record in reader.read(stretches):
        records[record.role].append(record)
    codec = Codec(reader.topology.wire.schema_ids)
    audit = [codec.unframe(AuditEntry, r.value, r.headers) for r in records["audit"]]
    applied = [e for e in audit if e.kind not in ROLES or e.offset < positions[ROLES[e.kind]]]
    others = {(r.role, r.offset): r for role in ("positions", "control") for r in records[role]}
    replayed = 0
    for _ in interleave(shard, records["returns"], others, applied):
        replayed += 1
        reader.progress()
    audit_end = max((r.offset + 1 for r in records["audit"][-1:]), default=snapshot.audit)
    return replayed, audit, audit_end
