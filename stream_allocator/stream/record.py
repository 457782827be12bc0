"""Records as they come from topics, and which event each topic holds. It loads no engine and no Kafka."""

from dataclasses import dataclass

from stream_allocator.events import (
    Allocation,
    AuditEntry,
    ControlEvent,
    DeadLetter,
    Evidence,
    PositionEvent,
    RegimeUpdate,
    ReturnEvent,
    Snapshot,
)

__all__ = ["INPUTS", "OUTPUTS", "UNREADABLE_HEADERS", "WITNESSES", "Record"]

#: Stands for all headers of a record where the name of one is not UTF-8 and none can be had from the client.
#: A header, so that it stays with the record in archives; a record that is sent with it is as unreadable.
UNREADABLE_HEADERS = "stream-allocator-unreadable-headers"

#: Role of an input topic -> the event that its records hold.
INPUTS: dict[str, type[ReturnEvent | PositionEvent | ControlEvent]] = {
    "returns": ReturnEvent,
    "positions": PositionEvent,
    "control": ControlEvent,
}

#: Event -> role of the topic that it goes to.
OUTPUTS: dict[type, str] = {
    Allocation: "allocations",
    Evidence: "evidence",
    RegimeUpdate: "regimes",
    AuditEntry: "audit",
    DeadLetter: "dead_letters",
    Snapshot: "snapshots",
}

#: Roles of output topics of which one or another gets a record from everything that is published: with each
#: allocation and its evidence goes an audit entry, and a snapshot is taken of what led to others.
WITNESSES: dict[str, type[AuditEntry | RegimeUpdate | DeadLetter]] = {
    "audit": AuditEntry,
    "regimes": RegimeUpdate,
    "dead_letters": DeadLetter,
}


@dataclass(frozen=True, slots=True)
class Record:
    """A consumed record; ``role`` names its topic in the topology."""

    role: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
