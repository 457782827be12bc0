"""One assigned partition: its shard, and how far everything has come."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from confluent_kafka import TopicPartition

from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.restore import Manifest, Restored, SnapshotAt
from stream_allocator.stream.shard import Outgoing

__all__ = ["Part"]


class Part:
    """What a session knows of a partition.

    Parameters
    ----------
    back : Restored
        The committed state.
    """

    def __init__(self, back: Restored) -> None:
        self.shard = back.shard
        self.positions = dict(back.positions)
        self.manifest = back.manifest
        self.audit_end = back.audit_end
        self.snapshot_bars = back.shard.bars

    @property
    def unsaved_bars(self) -> int:
        """Bars since the last snapshot."""
        return self.shard.bars - self.snapshot_bars

    def is_at(self, committed: Mapping[str, TopicPartition]) -> bool:
        """Whether the committed state is this one: the same offsets with the same manifest.

        Whoever had the partition in the meantime has committed nothing, then: every record that is taken
        in moves an offset.
        """
        return (
            all(committed[role].offset == self.positions[role] for role in INPUTS)
            and committed["returns"].metadata == self.manifest.to_metadata()
        )

    def snapshots(self) -> list[Outgoing]:
        """The next snapshot; its keys alternate, so that compaction leaves the one before it alone."""
        return self.shard.snapshots(slot=self.manifest.taken % 2)

    def next_manifest(self, snapshot_offsets: Sequence[int] | None) -> Manifest:
        """The manifest of the commit under way.

        Parameters
        ----------
        snapshot_offsets : sequence of int, optional
            Of the records of the snapshot in the same transaction, where there is one.
        """
        manifest = replace(self.manifest, digest=self.shard.digest())
        if not snapshot_offsets:
            return manifest
        at = SnapshotAt(min(snapshot_offsets), len(snapshot_offsets), dict(self.positions), self.audit_end)
        return manifest.after(at)

    def offsets(self, names: Mapping[str, str], manifest: Manifest) -> list[TopicPartition]:
        """What is committed: the positions, the manifest beside that of the returns."""
        partition = self.shard.partition
        return [
            TopicPartition(
                names[role],
                partition,
                self.positions[role],
                **({"metadata": manifest.to_metadata()} if role == "returns" else {}),
            )
            for role in INPUTS
        ]
