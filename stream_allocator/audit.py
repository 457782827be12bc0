"""The audit chain: one tamper-evident sequence of entries for each universe.

``hash = SHA-256(previous + Avro bytes of the entry with an empty hash)``, in hexadecimal; the first
entry's ``previous`` is 64 zeros. Whoever changes, drops or inserts an entry breaks every hash after it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from stream_allocator.codec import encode
from stream_allocator.events import AuditEntry, AuditKind

__all__ = ["GENESIS", "AuditChain", "first_break"]

GENESIS = "0" * 64


def _hash(unsealed: AuditEntry) -> str:
    """Of an entry whose own hash is empty yet."""
    return hashlib.sha256(unsealed.previous.encode() + encode(unsealed)).hexdigest()


class AuditChain:
    """Appends entries to one universe's chain.

    Parameters
    ----------
    universe : str
    index : int
        Entries so far.
    head : str
        Hash of the last entry.
    """

    def __init__(self, universe: str, index: int = 0, head: str = GENESIS) -> None:
        self.universe = universe
        self.index = index
        self.head = head

    def append(
        self,
        kind: AuditKind,
        event_time: int,
        returns_offset: int,
        *,
        portfolio: str | None = None,
        offset: int = -1,
        subject: str = "",
        outcome: str = "",
        operator: str = "",
        reason: str = "",
        digest: str = "",
    ) -> AuditEntry:
        """The next entry; the chain's head moves to it."""
        entry = AuditEntry(
            universe=self.universe,
            index=self.index,
            event_time=event_time,
            kind=kind,
            portfolio=portfolio,
            offset=offset,
            returns_offset=returns_offset,
            subject=subject,
            outcome=outcome,
            operator=operator,
            reason=reason,
            digest=digest,
            previous=self.head,
            hash="",
        )
        entry = replace(entry, hash=_hash(entry))
        self.index += 1
        self.head = entry.hash
        return entry


def first_break(entries: Iterable[AuditEntry]) -> int | None:
    """Index of the first entry that does not follow from the one before it; None for an unbroken chain."""
    previous = GENESIS
    for index, entry in enumerate(entries):
        follows = entry.index == index and entry.previous == previous
        if not follows or entry.hash != _hash(replace(entry, hash="")):
            return index
        previous = entry.hash
    return None
