"""The verdict on a campaign: all that is on the topics, against an uninterrupted run of the same log.

The uninterrupted run is the same :class:`~stream_allocator.stream.shard.Shard` in memory, fed with the
records of the input topics; positions and control go where the audit chain says they fell. Then every
record that it puts out must be on its topic once, in its order, with its bytes, and nothing else may be.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks.chaos.reader import NOTE, OUTPUT_ROLES, note_of, notes
from benchmarks.chaos.segments import Transactions, read_transactions
from benchmarks.harness import show
from stream_allocator.audit import first_break
from stream_allocator.codec import Codec
from stream_allocator.errors import CodecError, DataError
from stream_allocator.events import Allocation, AuditEntry, DeadLetter, Evidence, RegimeUpdate, ReturnEvent
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.stream.interleave import ROLES as AUDITED
from stream_allocator.stream.interleave import interleave
from stream_allocator.stream.reader import TopicReader
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.shard import Outgoing, Shard
from stream_allocator.topology import Topology

__all__ = ["Verdict", "judge", "verdict_of"]

Log = Mapping[tuple[str, int], list[Record]]

#: What makes a record of a role the one that it is; its key says whose.
IDENTITY: dict[str, tuple[type, Callable[[Any], Any]]] = {
    "allocations": (Allocation, lambda e: e.decision_id),
    "evidence": (Evidence, lambda e: e.decision_id),
    "regimes": (RegimeUpdate, lambda e: e.bar),
    "audit": (AuditEntry, lambda e: e.index),
    "dead_letters": (DeadLetter, lambda e: (e.topic, e.offset)),
}
FINDINGS = 20
REQUEST_SECONDS = 15.0


@dataclass(frozen=True)
class Verdict:
    """What was found; verdicts on several partitions add up.

    Attributes
    ----------
    inputs : int
        Records on the input topics.
    ticks : int
        Asset-ticks among them, each counted once.
    decisions : int
        Allocations on their topic.
    records : int
        Records on all output topics.
    lost : int
        Records that the uninterrupted run has and the topics lack, and positions and control that no
        audit entry speaks of.
    duplicated : int
        Records that are there once more, or that the uninterrupted run does not have at all.
    misordered : int
        Records that stand before one that should come first.
    aborted_visible : int
        Records of aborted transactions that a read_committed reader saw.
    mismatched_bytes : int
        Bytes in which published records differ from the uninterrupted run's.
    chain_breaks : int
        Universes whose audit chain does not hold together.
    disagreements : int
        Partitions of output topics of which the concurrent reader saw another sequence than the final one.
    aborted : int
        Records that were aborted, and that only a read_uncommitted reader sees.
    transactions, aborted_transactions : int
        Summed over output topics and partitions: one that spans several counts in each.
    slowest_commit : float
        Seconds from the first record of a transaction to its commit: the slowest.
    findings : tuple of str
        The first ones in words.
    """

    inputs: int = 0
    ticks: int = 0
    decisions: int = 0
    records: int = 0
    lost: int = 0
    duplicated: int = 0
    misordered: int = 0
    aborted_visible: int = 0
    mismatched_bytes: int = 0
    chain_breaks: int = 0
    disagreements: int = 0
    aborted: int = 0
    transactions: int = 0
    aborted_transactions: int = 0
    slowest_commit: float = 0.0
    findings: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled, shown too soon, or different."""
        return not any(
            (
                self.lost,
                self.duplicated,
                self.misordered,
                self.aborted_visible,
                self.mismatched_bytes,
                self.chain_breaks,
                self.disagreements,
            )
        )

    def __add__(self, other: Verdict) -> Verdict:
        sums: dict[str, Any] = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name not in ("slowest_commit", "findings")
        }
        return Verdict(
            **sums,
            slowest_commit=max(self.slowest_commit, other.slowest_commit),
            findings=(self.findings + other.findings)[:FINDINGS],
        )

    def show(self, title: str) -> None:
        """Print it for people."""
        words = {
            "inputs": "input records",
            "ticks": "asset-ticks",
            "decisions": "decisions",
            "records": "output records compared",
            "lost": "lost",
            "duplicated": "doubled or invented",
            "misordered": "out of order",
            "aborted_visible": "aborted, yet visible",
            "mismatched_bytes": "bytes that differ",
            "chain_breaks": "broken audit chains",
            "disagreements": "partitions on which the two readers disagree",
            "aborted": "aborted records (read_uncommitted sees them)",
            "transactions": "transactions committed, a partition and topic",
            "aborted_transactions": "transactions aborted, a partition and topic",
            "slowest_commit": "slowest commit after its first record, s",
        }
        rows = [[text, getattr(self, name)] for name, text in words.items()]
        show(title, ("", "count"), rows, note="holds" if self.holds else "DOES NOT HOLD")
        for finding in self.findings:
            print(f"  {finding}")


# -- from a broker ---------------------------------------------------------------------------------


def verdict_of(
    topology: Topology, concurrent: Path | None = None, data: Sequence[Path] = (), processes: int = 1
) -> Verdict:
    """Judge everything that is on a topology's topics, once workers and feeders have ended.

    Parameters
    ----------
    topology : Topology
    concurrent : path, optional
        Notes of the concurrent reader.
    data : sequence of path
        ``log.dirs`` of the brokers: their files tell which records were aborted. Without them it is those
        that a read_uncommitted reader sees and a read_committed one does not.
    processes : int
        Partitions judged at a time; more than one are forked, from a process without a Kafka client.
    """
    one = partial(_judge_partition, topology, concurrent, tuple(data))
    partitions = range(topology.topics.partitions)
    if processes == 1:
        return sum(map(one, partitions), Verdict())
    with multiprocessing.get_context("fork").Pool(processes, maxtasksperchild=1) as pool:
        return sum(pool.imap(one, partitions), Verdict())


def _judge_partition(
    topology: Topology, concurrent: Path | None, data: Sequence[Path], partition: int
) -> Verdict:
    with TopicReader(topology) as reader:
        stretches = {(role, partition): reader.bounds(role, partition) for role in (*INPUTS, *OUTPUT_ROLES)}
        log: dict[tuple[str, int], list[Record]] = {where: [] for where in stretches}
        for record in reader.read(stretches):
            log[record.role, record.partition].append(record)
    names = topology.topics.names
    transactions = (
        {role: read_transactions(data, names[role], partition) for role in OUTPUT_ROLES}
        if data
        else _by_two_readers(topology, partition, stretches, log)
    )
    seen = None
    if concurrent is not None:
        found = notes(concurrent)
        seen = found[found["partition"] == partition]
    return judge(topology, log, seen, transactions)


def _by_two_readers(
    topology: Topology, partition: int, stretches: Mapping[tuple[str, int], tuple[int, int]], log: Log
) -> dict[str, Transactions]:
    """What was aborted, by what read_uncommitted sees beside read_committed."""
    roles = {topology.topics.names[role]: role for role in OUTPUT_ROLES}
    ends = {role: stretches[role, partition][1] for role in OUTPUT_ROLES}
    offsets: dict[str, list[int]] = {role: [] for role in OUTPUT_ROLES}
    at = dict.fromkeys(OUTPUT_ROLES, 0)
    consumer = Consumer(
        consumer_settings(
            topology,
            f"{topology.worker.group}-uncommitted",
            read_committed=False,
            overrides={"enable.partition.eof": True},
        )
    )
    consumer.assign(
        [TopicPartition(name, partition, stretches[r, partition][0]) for name, r in roles.items()]
    )
    while any(at[role] < end for role, end in ends.items()):
        for message in consumer.consume(1000, 0.2):
            role, error = roles.get(str(message.topic())), message.error()
            if role is None or message.offset() is None:
                continue
            if error is None:
                offsets[role].append(message.offset())
                at[role] = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                at[role] = max(at[role], message.offset())
    consumer.close()
    found = {}
    for role in OUTPUT_ROLES:
        committed = {r.offset for r in log[role, partition]}
        hidden = [o for o in offsets[role] if o not in committed]
        ranges = np.array([(o, o) for o in hidden], dtype=np.int64).reshape(-1, 2)
        found[role] = Transactions(ranges, len(hidden), 0, 0, 0.0, ends[role])
    return found


# -- judging ---------------------------------------------------------------------------------------


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
            events[event.universe, event.source, event.sequence] = len(event.assets)
    return sum(events.values())


def _event(codec: Codec, cls: type, record: Record) -> Any:
    """The event of a record, None where it holds none."""
    try:
        return codec.unframe(cls, record.value, record.headers)
    except CodecError:
        return None
