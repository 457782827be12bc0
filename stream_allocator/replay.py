"""The same engine over recorded topics: is every decision repeatable, byte for byte?

Replay reads outside any group, commits nothing and has no producer. Positions and control are put where
the recorded audit chain says they fell. With another policy it tells what that policy would have done.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import fastavro

from stream_allocator.audit import first_break
from stream_allocator.codec import Codec
from stream_allocator.errors import CodecError, DataError
from stream_allocator.events import Allocation, AuditEntry, Evidence, RegimeUpdate
from stream_allocator.policy import Policy
from stream_allocator.stream.cut import cut
from stream_allocator.stream.interleave import interleave
from stream_allocator.stream.shard import INPUTS, Outgoing, Record, Shard
from stream_allocator.topology import Topology

__all__ = [
    "COMPARED",
    "Difference",
    "Log",
    "Replay",
    "find_decision",
    "read_archive",
    "read_topics",
    "replay",
    "write_archive",
]

Event = TypeVar("Event")

#: Roles whose bytes must repeat, and what they hold.
COMPARED: dict[str, type[Allocation | Evidence | RegimeUpdate | AuditEntry]] = {
    "audit": AuditEntry,
    "evidence": Evidence,
    "allocations": Allocation,
    "regimes": RegimeUpdate,
}
ROLES = (*INPUTS, *COMPARED)

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


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay first left the record.

    Attributes
    ----------
    role : str
    universe : str
    offset : int
        Of the recorded record; -1 when the record ended before the replay did.
    field : str
        Path of the first field that differs; empty when one side has no such record.
    recorded, replayed : str
        The two values, shortened.
    """

    role: str
    universe: str
    offset: int
    field: str
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found.

    Attributes
    ----------
    records : int
        Input records applied.
    compared : dict of str to int
        Role -> recorded records that were compared.
    differences : tuple of Difference
        The first of each universe and role.
    decisions, recorded_decisions : int
    turnover, recorded_turnover : float
        Sum over executable decisions.
    """

    records: int
    compared: dict[str, int]
    differences: tuple[Difference, ...]
    decisions: int
    recorded_decisions: int
    turnover: float
    recorded_turnover: float

    @property
    def identical(self) -> bool:
        """Whether every compared byte repeats."""
        return not self.differences

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return {**dataclasses.asdict(self), "identical": self.identical}

    def text(self) -> str:
        """For people."""
        lines = [
            f"{self.records} input records replayed; compared: "
            + ", ".join(f"{count} {role}" for role, count in self.compared.items())
        ]
        if self.identical:
            return "\n".join([*lines, "identical, byte for byte"])
        lines += [
            f"{d.role} of {d.universe} differ first at offset {d.offset}, {d.field or 'record'}: "
            f"recorded {d.recorded}, replayed {d.replayed}"
            for d in self.differences
        ]
        lines.append(
            f"decisions {self.recorded_decisions} recorded, {self.decisions} replayed; "
            f"turnover {self.recorded_turnover:.3f} recorded, {self.turnover:.3f} replayed"
        )
        return "\n".join(lines)


def replay(topology: Topology, log: Log, policy: Policy | None = None) -> Replay:
    """Run a log through fresh engines and compare.

    Parameters
    ----------
    topology : Topology
    log : Log
        From the topics' beginning.
    policy : Policy, optional
        For every portfolio, instead of the topology's; then differences are expected.

    Raises
    ------
    DataError
        When the log lacks a record that its audit chain refers to.
    """
    chosen = topology if policy is None else topology.with_policy(policy)
    codec = Codec(topology.wire.schema_ids)
    broken = tuple(_chain_breaks(codec, log))
    applied, produced = 0, []
    for partition in sorted({p for _, p in log} if not broken else ()):  # the chain says what comes when
        audit = _readable(codec, AuditEntry, log.get(("audit", partition), []))
        others = {
            (r.role, r.offset): r for role in ("positions", "control") for r in log.get((role, partition), [])
        }
        shard = Shard(chosen, partition)
        for _, outputs in interleave(shard, log.get(("returns", partition), []), others, audit):
            applied += 1
            produced += outputs
    recorded = [r for role in COMPARED for (name, _), rs in log.items() if name == role for r in rs]
    known = _readable(codec, Allocation, [r for r in recorded if r.role == "allocations"])
    made = [o.event for o in produced if isinstance(o.event, Allocation)]
    return Replay(
        records=applied,
        compared={role: sum(r.role == role for r in recorded) for role in COMPARED},
        differences=broken or tuple(_differences(codec, recorded, produced)),
        decisions=len(made),
        recorded_decisions=len(known),
        turnover=_turnover(made),
        recorded_turnover=_turnover(known),
    )


def _chain_breaks(codec: Codec, log: Log) -> Iterator[Difference]:
    """Where a recorded audit chain does not hold together: nothing after that can be trusted."""
    chains: dict[bytes, list[Record]] = {}
    for (role, _), records in sorted(log.items()):
        if role == "audit":
            for record in records:
                chains.setdefault(record.key or b"", []).append(record)
    for key, records in sorted(chains.items()):
        entries = _readable(codec, AuditEntry, records)
        at = first_break(entries)
        if at is None and len(entries) < len(records):
            at = len(entries)
        if at is not None:
            yield Difference(
                "audit",
                key.decode("utf-8", "replace"),
                records[at].offset,
                "hash",
                "an entry that does not follow from the one before",
                "an unbroken chain",
            )


def _readable(codec: Codec, cls: type[Event], records: Iterable[Record]) -> list[Event]:
    """The events of those records that can be read; the comparison reports the others."""
    events = []
    for record in records:
        with contextlib.suppress(CodecError):
            events.append(codec.unframe(cls, record.value, record.headers))
    return events


def _turnover(allocations: list[Allocation]) -> float:
    return sum(a.turnover.traded for a in allocations if a.executable)


def _differences(codec: Codec, recorded: list[Record], produced: list[Outgoing]) -> Iterator[Difference]:
    """The first difference of each role and universe; the key names the universe."""
    for role, cls in COMPARED.items():
        old: dict[bytes, list[Record]] = {}
        new: dict[bytes, list[Outgoing]] = {}
        for record in recorded:
            if record.role == role:
                old.setdefault(record.key or b"", []).append(record)
        for output in produced:
            if output.role == role:
                new.setdefault(output.key, []).append(output)
        for key in sorted(old.keys() | new.keys()):
            universe = key.decode("utf-8", "replace")
            before, after = old.get(key, []), new.get(key, [])
            pairs = zip(before, after, strict=False)
            at = next((i for i, (r, o) in enumerate(pairs) if r.value != o.value), None)
            if at is not None:
                try:
                    was: Any = codec.unframe(cls, before[at].value, before[at].headers)
                except CodecError as error:
                    yield Difference(role, universe, before[at].offset, "", str(error), "a readable record")
                else:
                    path, a, b = first_difference(was, after[at].event)
                    yield Difference(role, universe, before[at].offset, path, a, b)
            elif len(before) != len(after):
                i = min(len(before), len(after))
                offset = before[i].offset if i < len(before) else -1
                yield Difference(
                    role, universe, offset, "", f"{len(before)} records", f"{len(after)} records"
                )


def first_difference(recorded: Any, replayed: Any, path: str = "") -> tuple[str, str, str]:
    """Path and values of the first field in which two events differ."""
    if dataclasses.is_dataclass(recorded) and type(recorded) is type(replayed):
        for field in dataclasses.fields(recorded):
            a, b = getattr(recorded, field.name), getattr(replayed, field.name)
            if repr(a) != repr(b):
                return first_difference(a, b, f"{path}.{field.name}".lstrip("."))
    if isinstance(recorded, tuple) and isinstance(replayed, tuple) and len(recorded) == len(replayed):
        for i, (a, b) in enumerate(zip(recorded, replayed, strict=True)):
            if repr(a) != repr(b):
                return first_difference(a, b, f"{path}[{i}]")
    return path, repr(recorded)[:120], repr(replayed)[:120]


def find_decision(
    topology: Topology, log: Log, decision_id: str | None = None, portfolio: str | None = None
) -> tuple[Allocation, Evidence]:
    """One recorded decision and its evidence; the latest when no id is given.

    Raises
    ------
    DataError
        When there is none such, or its evidence is missing.
    """
    codec = Codec(topology.wire.schema_ids)

    def all_of(role: str, cls: type[Any]) -> list[Any]:
        return [codec.unframe(cls, r.value, r.headers) for (n, _), rs in log.items() if n == role for r in rs]

    found = [
        a
        for a in all_of("allocations", Allocation)
        if (decision_id is None or a.decision_id == decision_id)
        and (portfolio is None or a.portfolio == portfolio)
    ]
    if not found:
        what = decision_id or (f"any of portfolio {portfolio}" if portfolio else "any")
        raise DataError(f"no decision found ({what} was asked for)")
    allocation = max(found, key=lambda a: (a.event_time, a.executable, a.index))
    for evidence in all_of("evidence", Evidence):
        if evidence.decision_id == allocation.decision_id:
            return allocation, evidence
    raise DataError(f"decision {allocation.decision_id} has no evidence record; was the topic cut?")


# -- where logs come from and go to ----------------------------------------------------------------


def read_topics(topology: Topology) -> Log:
    """The log of live topics, up to what their workers have committed by now.

    Topics without commits (another group, the embedded broker) are read to where they end.
    """
    from stream_allocator.stream.reader import TopicReader  # replay of files needs no Kafka

    with TopicReader(topology) as reader:
        committed = reader.committed(INPUTS, reader.partitions("returns"))
        stretches = {
            (role, partition): reader.bounds(role, partition)
            for role in ROLES
            for partition in reader.partitions(role)
        }
        log: dict[tuple[str, int], list[Record]] = {where: [] for where in stretches}
        for record in reader.read(stretches):
            log[record.role, record.partition].append(record)
    return cut(log, committed, Codec(topology.wire.schema_ids))


def write_archive(log: Log, folder: Path) -> dict[str, int]:
    """Write a log as one Avro container file a topic; the number of records of each."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for role in ROLES:
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


def read_archive(folder: Path) -> Log:
    """The log that :func:`write_archive` wrote.

    Raises
    ------
    DataError
        Naming the file that is missing or damaged.
    """
    log: dict[tuple[str, int], list[Record]] = {}
    for role in ROLES:
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
