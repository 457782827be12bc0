"""Cuts a log that is still growing at one committed point, so that inputs and outputs fit together."""

from collections.abc import Collection, Mapping

from stream_allocator.codec import Codec
from stream_allocator.events import Allocation, AuditEntry, Evidence, RegimeUpdate
from stream_allocator.stream.interleave import ROLES
from stream_allocator.stream.record import INPUTS, Record

__all__ = ["cut"]


def cut(
    log: Mapping[tuple[str, int], list[Record]], committed: Mapping[tuple[str, int], int], codec: Codec
) -> dict[tuple[str, int], list[Record]]:
    """Keep the inputs below the committed offsets, and the outputs that follow from them.

    A worker commits its inputs and what they led to in one transaction, so the committed offsets are a
    point of its history. Everything that follows from a later input names it: a regime update and an
    allocation the return record, an audit entry the record it is about and the return record before it.

    Parameters
    ----------
    log : mapping of (role, partition) to list of Record
    committed : mapping of (role, partition) to int
        Offsets of the inputs; a partition without them is kept whole.
    codec : Codec
    """
    kept = dict(log)
    for partition in {p for role, p in committed if role == "returns"}:
        ends = {role: committed[role, partition] for role in INPUTS}
        for role, end in ends.items():
            kept[role, partition] = [r for r in log.get((role, partition), []) if r.offset < end]
        later: set[str] = set()
        allocations = []
        for record in log.get(("allocations", partition), []):
            allocation = codec.unframe(Allocation, record.value, record.headers)
            if allocation.inputs.returns < ends["returns"]:
                allocations.append(record)
            else:
                later.add(allocation.decision_id)
        kept["allocations", partition] = allocations
        kept["evidence", partition] = [
            r
            for r in log.get(("evidence", partition), [])
            if codec.unframe(Evidence, r.value, r.headers).decision_id not in later
        ]
        kept["regimes", partition] = [
            r
            for r in log.get(("regimes", partition), [])
            if codec.unframe(RegimeUpdate, r.value, r.headers).returns_offset < ends["returns"]
        ]
        fed = {r.key for r in kept["returns", partition]}
        kept["audit", partition] = _audit(log.get(("audit", partition), []), ends, fed, codec)
    return kept


def _audit(
    records: list[Record], ends: Mapping[str, int], fed: Collection[bytes | None], codec: Codec
) -> list[Record]:
    """Each universe's chain up to its first entry that refers to a later input.

    The entry ``start`` comes with a universe's first return record and names none, so it needs one.
    """
    kept, ended = [], set()
    for record in records:
        entry = codec.unframe(AuditEntry, record.value, record.headers)
        role = ROLES.get(entry.kind)
        early = entry.kind == "start" and entry.universe.encode() not in fed
        later = entry.returns_offset >= ends["returns"] or (role is not None and entry.offset >= ends[role])
        if early or later:
            ended.add(entry.universe)
        if entry.universe not in ended:
            kept.append(record)
    return kept
