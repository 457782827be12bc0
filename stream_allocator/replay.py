"""The same engine over recorded topics: is every decision repeatable, byte for byte?

Replay reads outside any group, commits nothing and has no producer. Positions and control are put where
the recorded audit chain says they fell. With another policy it tells what that policy would have done.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from stream_allocator.archive import COMPARED, Log
from stream_allocator.audit import first_break
from stream_allocator.codec import Codec
from stream_allocator.errors import CodecError
from stream_allocator.events import Allocation, AuditEntry
from stream_allocator.policy import Policy
from stream_allocator.stream.interleave import interleave
from stream_allocator.stream.record import Record
from stream_allocator.stream.shard import Outgoing, Shard
from stream_allocator.topology import Topology

__all__ = ["Difference", "Replay", "replay"]

Event = TypeVar("Event")


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
