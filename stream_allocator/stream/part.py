"""One assigned partition: its shard, how far everything has come, and the snapshot under way."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from confluent_kafka import TopicPartition

from stream_allocator.stream.record import INPUTS
from stream_allocator.stream.restore import Manifest, Restored, SnapshotAt
from stream_allocator.stream.shard import Outgoing

__all__ = ["Part"]


class Part:
    """What a session knows of a partition.

    A snapshot goes through the universes one after another, over as many transactions as it takes: each
    universe is saved as it stands, with the offset that it has come to. The manifest names the snapshot in
    the transaction that completes it.

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
        self._saved_bars = back.saved_bars
        self._left: deque[str] = deque()
        self._begun = SnapshotAt(-1, 0, {}, 0)  # -1: nothing of it has been committed

    @property
    def unsaved_bars(self) -> int:
        """Bars since the last snapshot began."""
        return self.shard.bars - self._saved_bars

    @property
    def saving(self) -> bool:
        """Whether a snapshot is under way."""
        return bool(self._left)

    def is_due(self, every: int) -> bool:
        """Whether a universe has closed ``every`` bars, on average, since the last snapshot began."""
        return self.unsaved_bars >= every * max(1, len(self.shard.engines))

    def is_at(self, committed: Mapping[str, TopicPartition]) -> bool:
        """Whether the committed state is this one: the same offsets with the same manifest.

        Whoever had the partition in the meantime has committed nothing, then: every record that is taken
        in moves an offset.
        """
        return (
            all(committed[role].offset == self.positions[role] for role in INPUTS)
            and committed["returns"].metadata == self.manifest.to_metadata()
        )

    def begin_snapshot(self) -> None:
        """From here on :meth:`save` gives a new snapshot; one that is under way is given up."""
        self._left = deque(sorted(self.shard.engines))
        self._begun = SnapshotAt(-1, 0, dict(self.positions), self.audit_end)
        self._saved_bars = self.shard.bars

    def save(self, room: int) -> list[Outgoing]:
        """The next universes of the snapshot under way, until they fill ``room`` bytes.

        Keys alternate from snapshot to snapshot, so that compaction leaves the one before alone.
        """
        slot, records = self.manifest.taken % 2, list[Outgoing]()
        while self._left and room > 0:
            states = self.shard.snapshot(self._left.popleft(), slot, self.positions["returns"])
            room -= sum(len(r.value) for r in states)
            records += states
        return records

    def next_manifest(self, offsets: Sequence[int] = ()) -> Manifest:
        """The manifest of the commit under way.

        Parameters
        ----------
        offsets : sequence of int
            Of the snapshot's records in the same transaction.
        """
        manifest = replace(self.manifest, digest=self.shard.digest())
        return manifest.after(self._grown(offsets)) if offsets and not self._left else manifest

    def committed(self, manifest: Manifest, offsets: Sequence[int] = ()) -> None:
        """What :meth:`next_manifest` was asked about has been committed."""
        self.manifest = manifest
        if offsets:
            self._begun = self._grown(offsets)

    def _grown(self, offsets: Sequence[int]) -> SnapshotAt:
        first = self._begun.offset if self._begun.offset >= 0 else min(offsets)
        return replace(self._begun, offset=first, count=max(offsets) + 1 - first)

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
