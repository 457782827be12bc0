"""Verified restore: a partition's state from commit metadata, snapshot and tail.

The metadata of the committed returns offset says where the last snapshot stands, from where the tail of
each topic must be read, and the digest over the audit chains that the tail must lead to. It is written in
the same transaction as the offset, so it can be neither ahead nor behind.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from stream_allocator.codec import Codec
from stream_allocator.errors import CodecError, RestoreError, SnapshotError
from stream_allocator.events import AuditEntry, Snapshot
from stream_allocator.stream.interleave import interleave
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.shard import Shard

__all__ = ["Manifest", "Restored", "restore"]

log = logging.getLogger(__name__)

#: Kafka's own limit is 4,096 bytes (offset.metadata.max.bytes).
METADATA_BYTES = 4000


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the commit metadata says.

    Attributes
    ----------
    digest : str
        :meth:`Shard.digest` of the committed state.
    snapshot : tuple of (int, int), optional
        Offset of the snapshot's first record, and how many records it has.
    inputs : dict of str to int
        Role -> offset from which the tail of that input begins.
    audit : int
        Offset from which the tail of the audit topic begins.
    """

    digest: str
    snapshot: tuple[int, int] | None = None
    inputs: dict[str, int] = field(default_factory=dict)
    audit: int = 0

    def to_metadata(self) -> str:
        """The metadata string of a commit."""
        text = json.dumps({"version": 1, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        assert len(text) <= METADATA_BYTES
        return text

    @classmethod
    def from_metadata(cls, text: str) -> "Manifest":
        """The inverse of :meth:`to_metadata`.

        Raises
        ------
        RestoreError
            For metadata that this release did not write.
        """
        try:
            data = json.loads(text)
            if data.pop("version") != 1:
                raise ValueError("another version")
            if data["snapshot"] is not None:
                data["snapshot"] = tuple(data["snapshot"])
            return cls(**data)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RestoreError(
                f"the committed offset's metadata is not a manifest of this release ({error}): "
                f"{text[:200]!r}; use a consumer group that only stream-allocator workers commit to"
            ) from error


@dataclass(frozen=True, slots=True)
class Restored:
    """A partition that is back: its shard, where to go on, and where its snapshot stands."""

    shard: Shard
    positions: dict[str, int]
    manifest: Manifest
    audit_end: int
    replayed: int


def restore(
    reader: TopicReader, partition: int, committed: Mapping[str, int], metadata: str | None
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

    Raises
    ------
    RestoreError
        When the regenerated state is not the committed one.
    """
    first = {role: reader.bounds(role, partition)[0] for role in INPUTS}
    positions = {role: committed[role] if committed[role] >= 0 else first[role] for role in INPUTS}
    if not metadata:
        if any(committed[role] > first[role] for role in INPUTS):
            raise RestoreError(
                f"partition {partition}: offsets are committed without a manifest; use a consumer group that "
                "only stream-allocator workers commit to"
            )
        shard = Shard(reader.topology, partition)
        return Restored(shard, positions, Manifest(shard.digest(), inputs=dict(first)), 0, 0)

    manifest = Manifest.from_metadata(metadata)
    shard, note = Shard(reader.topology, partition), ""
    if manifest.snapshot is not None:
        try:
            shard.load(_snapshots(reader, partition, *manifest.snapshot))
        except (SnapshotError, CodecError) as error:
            note = f"; its snapshot could not be used: {error}"
            log.warning("restore partition=%d falls back to the log from its beginning: %s", partition, error)
            manifest = Manifest(manifest.digest, inputs=dict(first))
    replayed, audit_end = _replay_tail(reader, shard, manifest, positions)
    if shard.digest() != manifest.digest:
        raise RestoreError(
            f"partition {partition}: the state rebuilt from the log differs from the committed digest "
            f"(rebuilt {shard.digest()[:12]}, committed {manifest.digest[:12]}){note}. Nothing is published. "
            "Run the release and policy that wrote it; stream-allocator replay shows the first difference"
        )
    return Restored(shard, positions, manifest, audit_end, replayed)


def _snapshots(reader: TopicReader, partition: int, offset: int, count: int) -> list[Snapshot]:
    codec = Codec(reader.topology.wire.schema_ids)
    low, high = reader.bounds("snapshots", partition)
    if not low <= offset <= offset + count <= high:
        raise SnapshotError(f"snapshots [{partition}]: offsets {offset} to {offset + count} are not there")
    stretch = {("snapshots", partition): (offset, offset + count)}
    return [codec.unframe(Snapshot, r.value, r.headers) for r in reader.read(stretch)]


def _replay_tail(
    reader: TopicReader, shard: Shard, manifest: Manifest, positions: Mapping[str, int]
) -> tuple[int, int]:
    """Apply the tail in silence; the number of records applied, and the end of the audit topic."""
    partition = shard.partition
    audit_end = reader.bounds("audit", partition)[1]
    stretches = {(role, partition): (manifest.inputs.get(role, 0), positions[role]) for role in INPUTS} | {
        ("audit", partition): (manifest.audit, audit_end)
    }
    records: dict[str, list[Record]] = {role: [] for role in (*INPUTS, "audit")}
    for record in reader.read(stretches):
        records[record.role].append(record)
    codec = Codec(reader.topology.wire.schema_ids)
    audit = [codec.unframe(AuditEntry, r.value, r.headers) for r in records["audit"]]
    others = {(r.role, r.offset): r for role in ("positions", "control") for r in records[role]}
    replayed = 0
    for _ in interleave(shard, records["returns"], others, audit):
        replayed += 1
        reader.progress()
    return replayed, audit_end
