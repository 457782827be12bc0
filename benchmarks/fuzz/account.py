"""What became of each record, and whether the engine is where the good ones alone would have brought it.

A run hands in dead letters, audit entries and outputs as it meets them. The stream is made a second time from
its seed, and each record must have had one fate: a dead letter that holds it, or a place in the log. A naive
twin (a dict from source to last sequence) says which of those in the log are repeats. The rest, and nothing
else, goes through a fresh shard, at the same offsets and in the order of the audit trail. That clean run must
refuse nothing, count no repeat, and give the same outputs and the same final state.

Compared is all but what counts or chains the refused by design: evidence whole, byte for byte; allocations
and regime updates byte for byte save ``data_quality.duplicates`` and ``.late``; audit entries of starts,
switches, decisions and applied positions and control save index, hashes, and the digest of the allocation
with its two counters; the engines' final state save the chain's head and the same two counters.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.fuzz.cases import Sent
from stream_allocator.codec import Codec, digest, encode
from stream_allocator.events import Allocation, AuditEntry, DeadLetter, Evidence, RegimeUpdate
from stream_allocator.state import pack, unpack
from stream_allocator.stream.interleave import ROLES, interleave
from stream_allocator.stream.record import INPUTS, Record
from stream_allocator.stream.shard import Shard
from stream_allocator.topology import Topology

__all__ = ["Account", "Verdict", "placed"]

DIGEST_BYTES = 12
NONE = 0


def _mark(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> int:
    """Equal for equal records, in one process."""
    return hash((key, value, tuple(headers)))


def comparable(event: Any) -> bytes | None:
    """The bytes of an output that refused records must not change; None where it is about one of them."""
    match event:
        case Evidence():
            return encode(event)
        case Allocation() | RegimeUpdate():
            quality = replace(event.data_quality, duplicates=0, late=0)
            return encode(replace(event, data_quality=quality))
        case AuditEntry():
            if event.kind in ROLES and event.outcome != "applied":
                return None
            return encode(replace(event, index=0, previous="", hash="", digest=""))
    return None


class Outputs:
    """Digests of comparable outputs, by role and universe, in order."""

    def __init__(self) -> None:
        self.digests: dict[tuple[str, str], bytearray] = {}

    def take(self, role: str, event: Any) -> None:
        body = comparable(event)
        if body is not None:
            found = self.digests.setdefault((role, event.universe), bytearray())
            found += hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()

    @property
    def count(self) -> int:
        return sum(map(len, self.digests.values())) // DIGEST_BYTES

    def differences(self, other: Outputs) -> int:
        """Records that differ, or that one side lacks."""
        wrong = 0
        for where in self.digests.keys() | other.digests.keys():
            a, b = self.digests.get(where, bytearray()), other.digests.get(where, bytearray())
            pairs = [(x[i : i + DIGEST_BYTES] for i in range(0, len(x), DIGEST_BYTES)) for x in (a, b)]
            wrong += sum(p != q for p, q in zip(*pairs, strict=False))
            wrong += abs(len(a) - len(b)) // DIGEST_BYTES
        return wrong


@dataclass(slots=True)
class Verdict:
    """The books, closed.

    Attributes
    ----------
    fates : dict of str to Counter
        Kind -> how many had which fate.
    unaccounted : list of str
        What does not add up, in words.
    engine_moved : int
        Outputs and states that the good records alone would not have given.
    moved : list of str
        Which.
    compared : int
        Outputs that were compared.
    """

    fates: dict[str, Counter[str]] = field(default_factory=dict)
    unaccounted: list[str] = field(default_factory=list)
    engine_moved: int = 0
    moved: list[str] = field(default_factory=list)
    compared: int = 0

    def total(self, *fates: str) -> int:
        """Records with these fates; with any but ``applied`` and ``duplicate`` when none is named."""
        counts: Counter[str] = sum(self.fates.values(), Counter())
        if fates:
            return sum(counts[f] for f in fates)
        return sum(n for f, n in counts.items() if f not in {"applied", "duplicate"})


class Account:
    """The books of one partition.

    Parameters
    ----------
    topology : Topology
    records : int
        Most that any input topic can get.
    """

    def __init__(self, topology: Topology, records: int) -> None:
        self._topology = topology
        self._codec = Codec()
        self._codes: list[str] = [""]
        self._fate = {role: array("B", bytes(records)) for role in INPUTS}
        self._marks = {role: array("q", bytes(8 * records)) for role in INPUTS}
        self._roles = {name: role for role, name in topology.topics.names.items()}
        self._cut: dict[tuple[str, int], DeadLetter] = {}
        self._audit: list[AuditEntry] = []
        self._problems: list[str] = []
        self.outputs = Outputs()

    # -- while it runs ---------------------------------------------------------------------------

    def take(self, role: str, event: Any) -> None:
        """Enter one output record."""
        if isinstance(event, DeadLetter):
            self._letter(event)
            return
        if isinstance(event, AuditEntry) and event.kind in ROLES and event.outcome == "applied":
            self._audit.append(event)
        self.outputs.take(role, event)

    def _letter(self, letter: DeadLetter) -> None:
        role, at = self._roles[letter.topic], letter.offset
        if self._fate[role][at] != NONE:
            self._problems.append(f"{role} offset {at} has two dead letters")
        if letter.code not in self._codes:
            self._codes.append(letter.code)
        self._fate[role][at] = self._codes.index(letter.code)
        if letter.cut is not None:
            self._cut[role, at] = replace(letter, value=(letter.value or b"")[:100])
        headers = ((h.name, h.value) for h in letter.headers)
        self._marks[role][at] = _mark(letter.key, letter.value, headers)

    # -- when it is over -------------------------------------------------------------------------

    def close(self, sent: Iterable[Sent], again: Iterable[Sent], states: dict[str, bytes]) -> Verdict:
        """Close the books.

        Parameters
        ----------
        sent, again : iterable of Sent
            The stream, twice.
        states : dict of str to bytes
            Universe -> snapshot of its engine at the end.
        """
        verdict = Verdict(unaccounted=self._problems)
        repeats = {role: bytearray(len(f)) for role, f in self._fate.items()}
        counted: Counter[str] = Counter()
        last: dict[tuple[str, ...], int] = {}
        others: dict[tuple[str, int], Record] = {}
        late: Counter[str] = Counter()
        for record, made in placed(sent):
            code = self._codes[self._fate[record.role][record.offset]]
            if code:
                fate = code
                late[(record.key or b"").decode("utf-8", "replace")] += code == "late"
                self._check_letter(record)
            else:
                universe, fate = self._twin(record, last)
                counted[universe] += fate == "duplicate"
                repeats[record.role][record.offset] = fate == "duplicate"
                if fate == "applied" and record.role != "returns":
                    others[record.role, record.offset] = record
            if made.fate not in (None, fate):
                where = f"{made.kind} at {record.role} offset {record.offset}"
                self._problems.append(f"{where}: {made.fate} was expected, it is {fate}")
            verdict.fates.setdefault(made.kind, Counter())[fate] += 1
        returns = (
            record
            for record, _ in placed(again)
            if record.role == "returns"
            and self._fate["returns"][record.offset] == NONE
            and not repeats["returns"][record.offset]
        )
        self._compare(verdict, returns, others, states, counted, late)
        return verdict

    def _check_letter(self, record: Record) -> None:
        """Whether the letter holds the record: whole, or cut and with its size and digest."""
        letter = self._cut.get((record.role, record.offset))
        if letter is None:
            mark = _mark(record.key, record.value, record.headers)
            same = self._marks[record.role][record.offset] == mark
        else:
            value = record.value or b""
            assert letter.cut is not None
            same = (letter.cut.value_bytes, letter.cut.value_digest) == (len(value), digest(value))
            same = same and value.startswith(letter.value or b"")
        if not same:
            self._problems.append(
                f"{record.role} offset {record.offset}: its dead letter holds another record"
            )

    def _twin(self, record: Record, last: dict[tuple[str, ...], int]) -> tuple[str, str]:
        """Universe and fate of a record without a dead letter."""
        event = self._codec.unframe_form(INPUTS[record.role], record.value, record.headers)
        source = (event.universe, record.role, getattr(event, "portfolio", ""), event.source)
        if event.sequence <= last.get(source, event.sequence - 1):
            return event.universe, "duplicate"
        last[source] = event.sequence
        return event.universe, "applied"

    def _compare(
        self,
        verdict: Verdict,
        returns: Iterable[Record],
        others: dict[tuple[str, int], Record],
        states: dict[str, bytes],
        counted: Counter[str],
        late: Counter[str],
    ) -> None:
        shard, clean = Shard(self._topology, 0), Outputs()
        found = 0
        for record, outputs in interleave(shard, returns, others, self._audit):
            found += record.role != "returns"
            for out in outputs:
                if isinstance(out.event, DeadLetter):
                    self._problems.append(
                        f"{record.role} offset {record.offset}: {out.event.code} without the others"
                    )
                clean.take(out.role, out.event)
        if found != len(others):
            self._problems.append(f"{len(others)} positions and control applied, {found} in the audit trail")
        verdict.compared = clean.count
        verdict.engine_moved = self.outputs.differences(clean)
        if verdict.engine_moved:
            verdict.moved.append(f"{verdict.engine_moved} outputs")
        for name in sorted(shard.engines.keys() | states.keys()):
            engine, state = shard.engines.get(name), states.get(name)
            if engine is None or state is None:
                self._problems.append(f"universe {name} has no engine on one side")
                continue
            fuzzed, bare = unpack(state), unpack(engine.snapshot())
            moved = [k for k in fuzzed if _part(fuzzed, k) != _part(bare, k)]
            verdict.engine_moved += bool(moved)
            verdict.moved += [f"state of {name}: {key}" for key in moved]
            if bare["quality"][:2] != [0, 0]:
                self._problems.append(
                    f"universe {name}: duplicates or late ones among the applied: {bare['quality']}"
                )
            if fuzzed["quality"][:2] != [counted[name], late[name]]:
                self._problems.append(
                    f"universe {name} counts {fuzzed['quality'][:2]} duplicates and late ones, "
                    f"the twin {[counted[name], late[name]]}"
                )


def _part(state: dict[str, Any], key: str) -> bytes:
    """One entry of a state, without what counts or chains the refused."""
    return pack({key: None if key == "chain" else state[key][2:] if key == "quality" else state[key]})


def placed(sent: Iterable[Sent]) -> Iterator[tuple[Record, Sent]]:
    """Each record at the offset that it gets on a topic of one partition."""
    offsets: Counter[str] = Counter()
    for made in sent:
        yield Record(made.role, 0, offsets[made.role], made.key, made.value, made.headers), made
        offsets[made.role] += 1
