"""All that is on a partition's topics, against an uninterrupted run of the same log.

The uninterrupted run is the same :class:`~stream_allocator.stream.shard.Shard` in memory, fed with the
records of the input topics; positions and control go where the audit chain says they fell. Then every
record that it puts out must be on its topic once, in its order, with its bytes, and nothing else may be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.chaos.reader import NOTE, OUTPUT_ROLES, note_of
from benchmarks.chaos.segments import Transactions
from benchmarks.chaos.tally import FINDINGS, Verdict
from stream_allocator.audit import first_break
from stream_allocator.codec import Codec
from stream_allocator.errors import CodecError, DataError
from stream_allocator.events import (
    Allocation,
    AuditEntry,
    DeadLetter,
    Evidence,
    PackedReturnEvent,
    RegimeUpdate,
    ReturnEvent,
)
from stream_allocator.stream.interleave import ROLES as AUDITED
from stream_allocator.stream.interleave import interleave
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.shard import Outgoing, Shard
from stream_allocator.topology import Topology

__all__ = ["IDENTITY", "judge"]

Log = Mapping[tuple[str, int], list[Record]]

#: What makes a record of a role the one that it is; its key says whose.
IDENTITY: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "allocations": (Allocation, lambda e: e.decision_id),
    "evidence": (Evidence, lambda e: e.decision_id),
    "regimes": (RegimeUpdate, lambda e: e.bar),
    "audit": (AuditEntry, lambda e: e.index),
    "dead_letters": (DeadLetter, lambda e: (e.topic, e.offset)),
}


def judge(
    topology: Topology,
    log: Log,
    seen: np.ndarray | None = None,
    transactions: Mapping[str, Transactions] | None = None,
) -> Verdict:
    """Judge one partition.

    Parameters
    ----------
    topology : Topology
    log : mapping of (role, partition) to list of Record
        Inputs and outputs as the final read_committed reader saw them, from the first record on.
    seen : array of NOTE, optional
        What the concurrent reader noted of this partition.
    transactions : mapping of str to Transactions, optional
        Role -> how the transactions of that topic's partition ended.
    """
    (partition,) = {p for _, p in log}
    codec = Codec(topology.wire.schema_ids)
    recorded = {role: log.get((role, partition), []) for role in OUTPUT_ROLES}
    entries = [e for r in recorded["audit"] if (e := _event(codec, AuditEntry, r)) is not None]
    expected, verdict = _uninterrupted(topology, partition, log, entries)
    returns_topic = topology.topics.returns
    refused = {
        offset
        for topic, offset in (each.identity for each in expected["dead_letters"])
        if topic == returns_topic
    }
    for role in OUTPUT_ROLES:
        verdict += _compare(codec, role, partition, recorded[role], expected[role])
    verdict += _chains(codec, partition, recorded["audit"])
    for i, role in enumerate(OUTPUT_ROLES):
        final = _notes(i, partition, recorded[role])
        mine = final if seen is None else seen[seen["role"] == i]
        if not np.array_equal(mine, final):
            finding = f"{role} [{partition}]: {_first_disagreement(mine, final)}"
            verdict += Verdict(disagreements=1, findings=(finding,))
        if transactions is not None:
            verdict += _aborted(role, partition, transactions[role], mine["offset"], final["offset"])
    return verdict + Verdict(
        inputs=sum(len(log.get((role, partition), [])) for role in INPUTS),
        ticks=_ticks(codec, log.get(("returns", partition), []), refused),
        decisions=len(recorded["allocations"]),
        records=sum(map(len, recorded.values())),
    )


@dataclass(frozen=True, slots=True)
class _Published:
    """A record that is on a topic or should be: whose it is, which one, and its bytes."""

    group: tuple[Any, ...]
    identity: Any
    value: bytes


def _uninterrupted(
    topology: Topology, partition: int, log: Log, entries: Iterable[AuditEntry]
) -> tuple[dict[str, list[_Published]], Verdict]:
    """What an uninterrupted run puts out, by role; and which inputs never went in."""
    shard = Shard(topology, partition)
    expected: dict[str, list[_Published]] = {role: [] for role in OUTPUT_ROLES}

    def put(out: Outgoing) -> None:
        identity = IDENTITY[out.role][1](out.event)
        expected[out.role].append(_Published(_group(out.role, out.key, identity), identity, out.value))

    others: dict[tuple[str, int], Record] = {}
    for role in AUDITED.values():
        for record in log.get((role, partition), []):
            event = shard.decode(record)
            if isinstance(event, Outgoing):  # a dead letter, of which no audit entry speaks
                put(event)
            else:
                others[role, record.offset] = record
    unapplied, missing = dict(others), ()
    try:
        for record, outputs in interleave(shard, log.get(("returns", partition), []), others, entries):
            unapplied.pop((record.role, record.offset), None)
            for out in outputs:
                put(out)
    except DataError as error:
        missing = (str(error),)
    findings = [f"{role} [{partition}] offset {offset} was never applied" for role, offset in unapplied]
    return expected, Verdict(lost=len(unapplied) + len(missing), findings=(*missing, *findings)[:FINDINGS])


def _group(role: str, key: bytes, identity: Any) -> tuple[Any, ...]:
    """Within it the order is fixed: a universe, and for dead letters the topic that they come from."""
    return (key, identity[0]) if role == "dead_letters" else (key,)


def _compare(
    codec: Codec, role: str, partition: int, recorded: list[Record], expected: list[_Published]
) -> Verdict:
    """Records of one role against those that should be there."""
    if (
        role != "dead_letters"
    ):  # by far the most, and hardly ever different: bytes first, events where they are
        old: dict[bytes, list[bytes | None]] = {}
        new: dict[bytes, list[bytes | None]] = {}
        for record in recorded:
            old.setdefault(record.key or b"", []).append(record.value)
        for each in expected:
            new.setdefault(each.group[0], []).append(each.value)
        if old == new:
            return Verdict()
    published: dict[tuple[Any, ...], list[_Published]] = {}
    wanted: dict[tuple[Any, ...], list[_Published]] = {}
    for record in recorded:
        cls, identity_of = IDENTITY[role]
        event = _event(codec, cls, record)
        identity = ("unreadable", record.offset) if event is None else identity_of(event)
        group = _group(role, record.key or b"", identity)
        published.setdefault(group, []).append(_Published(group, identity, record.value or b""))
    for each in expected:
        wanted.setdefault(each.group, []).append(each)
    return sum(
        (
            _differences(f"{role} [{partition}]", published.get(group, []), wanted.get(group, []))
            for group in sorted(published.keys() | wanted.keys())
        ),
        Verdict(),
    )


def _differences(where: str, published: list[_Published], wanted: list[_Published]) -> Verdict:
    place = {each.identity: i for i, each in enumerate(wanted)}
    counts = Counter(each.identity for each in published)
    findings = []
    lost = [each for each in wanted if each.identity not in counts]
    findings += [f"{where}: {_whose(each)} is lost" for each in lost]
    duplicated = misordered = mismatched = 0
    for identity, count in counts.items():
        extra = count - (identity in place)
        if extra:
            duplicated += extra
            findings.append(f"{where}: {identity} is there {count} times, {count - extra} expected")
    furthest = -1
    for each in published:
        at = place.pop(each.identity, None)
        if at is None:
            continue
        if at < furthest:
            misordered += 1
            findings.append(f"{where}: {_whose(each)} comes too late")
        furthest = max(furthest, at)
        if (bytes_ := _differing(each.value, wanted[at].value)) > 0:
            mismatched += bytes_
            findings.append(f"{where}: {_whose(each)} differs in {bytes_} bytes")
    return Verdict(
        lost=len(lost),
        duplicated=duplicated,
        misordered=misordered,
        mismatched_bytes=mismatched,
        findings=tuple(findings[:FINDINGS]),
    )


def _whose(each: _Published) -> str:
    return f"{each.identity} of {each.group[0].decode('utf-8', 'replace')}"


def _differing(a: bytes, b: bytes) -> int:
    return sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))


def _chains(codec: Codec, partition: int, audit: list[Record]) -> Verdict:
    chains: dict[bytes, list[AuditEntry]] = {}
    unreadable = set()
    for record in audit:
        entry = _event(codec, AuditEntry, record)
        if entry is None:
            unreadable.add(record.key or b"")
        else:
            chains.setdefault(record.key or b"", []).append(entry)
    broken = {key for key, entries in chains.items() if first_break(entries) is not None} | unreadable
    findings = [
        f"audit [{partition}]: the chain of {key.decode('utf-8', 'replace')} is broken" for key in broken
    ]
    return Verdict(chain_breaks=len(broken), findings=tuple(findings))


def _notes(role: int, partition: int, records: list[Record]) -> np.ndarray:
    """What the concurrent reader would have noted of them."""
    return np.array([(role, partition, r.offset, note_of(r.key, r.value)) for r in records], dtype=NOTE)


def _first_disagreement(seen: np.ndarray, final: np.ndarray) -> str:
    both = min(len(seen), len(final))
    at = int(np.argmax(seen[:both] != final[:both])) if (seen[:both] != final[:both]).any() else both
    there = [int(a["offset"][at]) if at < len(a) else None for a in (seen, final)]
    return (
        f"the concurrent reader saw {len(seen)} records, the final one {len(final)}; "
        f"they part at record {at}, offsets {there[0]} and {there[1]}"
    )


def _aborted(
    role: str, partition: int, transactions: Transactions, seen: np.ndarray, final: np.ndarray
) -> Verdict:
    offsets = np.union1d(seen, final)
    visible = offsets[transactions.holds_aborted(offsets)]
    return Verdict(
        aborted_visible=len(visible),
        aborted=transactions.aborted_records,
        transactions=transactions.transactions,
        aborted_transactions=transactions.aborted_transactions,
        slowest_commit=transactions.slowest_commit,
        findings=tuple(
            f"{role} [{partition}] offset {offset} was aborted, and a reader saw it"
            for offset in visible[:FINDINGS]
        ),
    )


def _ticks(codec: Codec, returns: list[Record], refused: Collection[int]) -> int:
    """Asset-ticks of the return events that were taken in: a repeated one counts once."""
    events: dict[tuple[str, str, int], int] = {}
    for record in returns:
        event = None if record.offset in refused else _event(codec, ReturnEvent, record)
        if event is not None:
            packed = isinstance(event, PackedReturnEvent)
            count = len(event.returns) // 8 if packed else len(event.assets)
            events[event.universe, event.source, event.sequence] = count
    return sum(events.values())


def _event(codec: Codec, cls: type, record: Record) -> Any:
    """The event of a record, None where it holds none."""
    try:
        return codec.unframe_form(cls, record.value, record.headers)
    except CodecError:
        return None
