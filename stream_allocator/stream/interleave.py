"""Puts recorded positions and control back where they fell among the returns.

They arrive on other topics, so their place is a fact of the run. The audit chain fixed it: an entry of
kind ``position`` or ``control`` holds the record's offset and the offset of the last return record applied
before it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from stream_allocator.errors import DataError
from stream_allocator.events import AuditEntry
from stream_allocator.stream.decoder import RecordBatch
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Outgoing, Shard

__all__ = ["interleave"]

#: Return records that are decoded at once.
BATCH = 1000
ROLES = {"position": "positions", "control": "control"}


def interleave(
    shard: Shard,
    returns: Iterable[Record],
    others: Mapping[tuple[str, int], Record],
    audit: Iterable[AuditEntry],
) -> Iterator[tuple[Record, list[Outgoing]]]:
    """Apply the records of one partition in the order of the recorded run.

    Parameters
    ----------
    shard : Shard
        Moves with every pair that is taken.
    returns : iterable of Record
        In the order of their offsets; those that a universe's loaded state already holds are passed over.
    others : mapping of (role, offset) to Record
        Positions and control.
    audit : iterable of AuditEntry
        The recorded chains in order; entries that the shard's state already holds are passed over.

    Raises
    ------
    DataError
        When the log lacks a record that the audit chain says was applied.
    """
    waiting: dict[str, deque[AuditEntry]] = {}
    for entry in audit:
        engine = shard.engines.get(entry.universe)
        known = engine.audit_entries if engine is not None else 0
        if entry.kind in ROLES and entry.index >= known:
            waiting.setdefault(entry.universe, deque()).append(entry)

    def place(entry: AuditEntry) -> tuple[Record, list[Outgoing]]:
        role = ROLES[entry.kind]
        record = others.get((role, entry.offset))
        if record is None:
            raise DataError(
                f"{role} [{shard.partition}]: offset {entry.offset} is gone, but audit entry {entry.index} "
                f"of {entry.universe} says it was applied; keep the topic at least as long as returns"
            )
        return record, shard.apply(record)

    ahead = iter(returns)
    while batch := list(islice(ahead, BATCH)):
        decoded = shard.decode_returns(RecordBatch(batch))
        for i, record in enumerate(batch):
            universe = decoded.row(i)[0]
            if universe is None:
                event = shard.decode(record)
                if isinstance(event, Outgoing):
                    yield record, [event]
                    continue
                universe = event.universe
            if record.offset < shard.held.get(universe, 0):
                continue
            queue = waiting.get(universe)
            # what a refused return record does commutes with positions and control, so "below" is enough
            while queue and queue[0].returns_offset < record.offset:
                yield place(queue.popleft())
            yield record, shard.step_returns(decoded, i)
    for universe in sorted(waiting):
        for entry in waiting[universe]:
            yield place(entry)
