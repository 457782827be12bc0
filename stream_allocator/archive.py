"""Recorded topics: read from Kafka or from files, written to files; and the decisions in them.

Files are read without the engine, Kafka's client or a topology; live topics without the engine where only
decisions are wanted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import fastavro

from stream_allocator.codec import Codec, digest, read_published, unframed
from stream_allocator.errors import CodecError, DataError
from stream_allocator.events import Allocation, AuditEntry, Evidence, RegimeUpdate
from stream_allocator.stream.record import INPUTS, Record

if TYPE_CHECKING:
    from stream_allocator.stream.reader import TopicReader
    from stream_allocator.topology import Topology

__all__ = [
    "COMPARED",
    "DECISIONS",
    "ROLES",
    "Log",
    "RecordedDecision",
    "decisions",
    "find_decision",
    "read_archive",
    "read_decision",
    "read_decisions",
    "read_topics",
    "write_archive",
]

Event = TypeVar("Event", Allocation, Evidence)

#: Roles whose bytes a replay must repeat, and what they hold.
COMPARED: dict[str, type[Allocation | Evidence | RegimeUpdate | AuditEntry]] = {
    "audit": AuditEntry,
    "evidence": Evidence,
    "allocations": Allocation,
    "regimes": RegimeUpdate,
}

#: All that a replay needs.
ROLES = (*INPUTS, *COMPARED)

#: All that an archive holds.
ARCHIVED = (*ROLES, "dead_letters")

#: What a decision consists of, and the order in which live topics must be looked at: a transaction publishes
#: both records, so evidence that is looked at later is never missing.
DECISIONS = ("allocations", "evidence")

#: The records of a recorded run, in the order of their offsets: (role, partition) -> records.
Log = Mapping[tuple[str, int], list[Record]]

RECORD_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "RecordedRecord",
        "namespace": "stream_allocator",
        "fields": [
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "key", "type": ["null", "bytes"]},
            {"name": "value", "type": ["null", "bytes"]},
            {
                "name": "headers",
                "type": {
                    "type": "array",
                    "items": {
                        "type": "record",
                        "name": "RecordedHeader",
                        "fields": [{"name": "name", "type": "string"}, {"name": "value", "type": "bytes"}],
                    },
                },
            },
        ],
    }
)


# -- logs ------------------------------------------------------------------------------------------


def read_topics(topology: Topology) -> Log:
    """The log of live topics, up to what their workers have committed by now.

    Topics without commits (another group, the embedded broker) are read to where they end.
    """
    from stream_allocator.stream.cut import cut
    from stream_allocator.stream.reader import TopicReader

    with TopicReader(topology) as reader:
        committed = reader.committed(INPUTS, reader.partitions("returns"))
        log = _read(reader, ROLES)
    return cut(log, committed, Codec(topology.wire.schema_ids))


def read_decisions(topology: Topology) -> Log:
    """The allocations and evidence of live topics, up to where they end: it takes the right to read these."""
    from stream_allocator.stream.reader import TopicReader

    with TopicReader(topology) as reader:
        return _read(reader, DECISIONS)


def _read(reader: TopicReader, roles: Iterable[str]) -> dict[tuple[str, int], list[Record]]:
    stretches = {
        (role, partition): reader.bounds(role, partition)
        for role in roles
        for partition in reader.partitions(role)
    }
    log: dict[tuple[str, int], list[Record]] = {where: [] for where in stretches}
    for record in reader.read(stretches):
        log[record.role, record.partition].append(record)
    return log


def write_archive(log: Log, folder: Path) -> dict[str, int]:
    """Write a log as one Avro container file a topic; the number of records of each."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for role in ARCHIVED:
        records = [
            {
                "partition": r.partition,
                "offset": r.offset,
                "key": r.key,
                "value": r.value,
                "headers": [{"name": k, "value": v} for k, v in r.headers],
            }
            for (name, _), rs in sorted(log.items())
            if name == role
            for r in rs
        ]
        with (folder / f"{role}.avro").open("wb") as file:
            fastavro.writer(file, RECORD_SCHEMA, records, codec="deflate")
        counts[role] = len(records)
    return counts


def read_archive(folder: Path, roles: Iterable[str] = ROLES) -> Log:
    """The log that :func:`write_archive` wrote, or some of its roles.

    Raises
    ------
    DataError
        Naming the file that is missing or damaged.
    """
    log: dict[tuple[str, int], list[Record]] = {}
    for role in roles:
        path = folder / f"{role}.avro"
        try:
            with path.open("rb") as file:
                for data in fastavro.reader(file):
                    headers = tuple((h["name"], h["value"]) for h in data["headers"])
                    record = Record(
                        role, data["partition"], data["offset"], data["key"], data["value"], headers
                    )
                    log.setdefault((role, record.partition), []).append(record)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (ValueError, EOFError, KeyError) as error:
            raise DataError(f"{path}: not an archive of this release: {error}") from error
    return log


# -- decisions -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordedDecision:
    """An allocation and its evidence as they were published.

    Attributes
    ----------
    allocation : Allocation
    evidence : Evidence, optional
        None where there is no record of it.
    evidence_body : bytes
        The evidence's Avro bytes, in the version of its schema that they were written with: the allocation
        holds their digest. Empty without evidence.
    """

    allocation: Allocation
    evidence: Evidence | None
    evidence_body: bytes


def read_decision(allocation: Path, evidence: Path) -> RecordedDecision:
    """One decision from two files, each holding the value of one record, byte for byte as it was published.

    Raises
    ------
    DataError
        Naming the file that cannot be read.
    """
    claimed, _ = _value_file(Allocation, allocation)
    return RecordedDecision(claimed, *_value_file(Evidence, evidence))


def decisions(
    log: Log, decision_id: str | None = None, portfolio: str | None = None
) -> Iterator[RecordedDecision]:
    """The decisions of a log in the order of their allocations: all, one, or those of one portfolio.

    Evidence is looked up by the digest that its allocation names, and by the decision's id where no record
    has that digest.

    Raises
    ------
    DataError
        For a record that cannot be read, naming its topic, partition and offset.
    """
    evidence = _Evidence(log)
    for allocation in _allocations(log, decision_id, portfolio):
        yield evidence.join(allocation)


def find_decision(log: Log, decision_id: str | None = None, portfolio: str | None = None) -> RecordedDecision:
    """One decision of a log; the latest when no id is given.

    Raises
    ------
    DataError
        When there is none such, or a record cannot be read.
    """
    found = list(_allocations(log, decision_id, portfolio))
    if not found:
        what = decision_id or (f"any of portfolio {portfolio}" if portfolio else "any")
        raise DataError(f"no decision found ({what} was asked for)")
    return _Evidence(log).join(max(found, key=lambda a: (a.event_time, a.executable, a.index)))


class _Evidence:
    """The evidence records of a log, by what allocations know of them."""

    def __init__(self, log: Log) -> None:
        self._records = list(_records(log, "evidence"))
        self._by_digest = {digest(unframed(r.value)): r for r in self._records if r.value is not None}
        self._by_id: dict[str, Record] | None = None

    def join(self, allocation: Allocation) -> RecordedDecision:
        record = self._by_digest.get(allocation.evidence_digest) or self._other(allocation.decision_id)
        if record is None:
            return RecordedDecision(allocation, None, b"")
        return RecordedDecision(allocation, *_read_record(Evidence, record))

    def _other(self, decision_id: str) -> Record | None:
        """Evidence that is not what the allocation names, so that it can be said what is wrong with it."""
        if self._by_id is None:  # it takes reading them all, and only an edited or a cut topic needs it
            self._by_id = {}
            for record in self._records:
                with contextlib.suppress(DataError):
                    self._by_id[_read_record(Evidence, record)[0].decision_id] = record
        return self._by_id.get(decision_id)


def _allocations(log: Log, decision_id: str | None, portfolio: str | None) -> Iterator[Allocation]:
    for record in _records(log, "allocations"):
        allocation, _ = _read_record(Allocation, record)
        if decision_id in (None, allocation.decision_id) and portfolio in (None, allocation.portfolio):
            yield allocation


def _records(log: Log, role: str) -> Iterator[Record]:
    for (name, _), records in sorted(log.items()):
        if name == role:
            yield from records


def _read_record(cls: type[Event], record: Record) -> tuple[Event, bytes]:
    try:
        return read_published(cls, record.value, record.headers)
    except CodecError as error:
        raise DataError(f"{record.role} [{record.partition}] offset {record.offset}: {error}") from error


def _value_file(cls: type[Event], path: Path) -> tuple[Event, bytes]:
    try:
        return read_published(cls, path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except CodecError as error:
        raise DataError(f"{path}: {error}") from error
