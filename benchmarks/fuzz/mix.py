"""A seeded stream of records: how many of each kind, in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.fuzz.cases import Feed, Maker, Sent
from stream_allocator.topology import Topology

__all__ = ["GOOD_OR_DEPENDENT", "WRONG", "stream"]

#: One oversized record in so many, and one with header names that are no text.
OVERSIZED_EVERY, UNREADABLE_EVERY = 20_000, 25_000

#: Kind -> its share in a thousand, and the method that makes it.
GOOD_OR_DEPENDENT: dict[str, tuple[int, Callable[[Maker, Feed], Sent]]] = {
    "cross-section": (22, Maker.cross_section),
    "tick": (50, Maker.tick),
    "packed": (10, lambda maker, feed: maker.cross_section(feed, "packed")),
    "position": (15, Maker.position),
    "control": (1, Maker.control),
    "sequence gap": (5, Maker.gap),
    "NaN return": (8, Maker.silent),
    "no headers": (5, Maker.bare),
    "harmless headers": (8, Maker.decorated),
    "repeat": (90, Maker.repeat),
    "old sequence": (40, Maker.older),
    "time going back": (45, Maker.late),
    "time far ahead": (25, Maker.ahead),
    "truncated": (135, Maker.truncated),
    "bytes left over": (30, Maker.left_over),
    "bit-flipped": (100, Maker.flipped),
}

#: Kind -> its share in a thousand, the method of :class:`Maker` that makes it, and the code that it must get.
WRONG: dict[str, tuple[int, str, str | None]] = {
    "junk": (40, "junk", "malformed"),
    "empty": (20, "empty", "malformed"),
    "null payload": (25, "null", "malformed"),
    "wrong fingerprint": (35, "fingerprint", "unknown_schema"),
    "another event's schema": (20, "other_schema", "unknown_schema"),
    "other framing": (15, "confluent", "malformed"),
    "inf, -2, 1e300 returns": (40, "number", "invalid"),
    "absurd volumes": (15, "volume", "invalid"),
    "absurd NAV": (25, "nav", "invalid"),
    "money that does not add up": (20, "money", "invalid"),
    "wrong lengths and orders": (30, "shape", "invalid"),
    "unknown asset": (15, "asset", "unknown_asset"),
    "unknown universe": (15, "universe", "unknown_universe"),
    "unknown portfolio": (10, "portfolio", "unknown_portfolio"),
    "wrong key": (40, "key", "wrong_key"),
    "absurd time": (10, "time", "invalid"),
    "long names": (8, "words", "invalid"),
}


def stream(topology: Topology, count: int, seed: int) -> Iterator[Sent]:
    """So many records; the same ones for the same seed.

    It begins and ends with a whole bar of ``u0`` and ``u1``.
    """
    maker = Maker(topology, seed)
    known = maker.feeds[:-1]
    opening = [make(feed) for feed in known for make in (maker.cross_section, maker.position, maker.control)]
    yield from opening
    kinds = [*GOOD_OR_DEPENDENT, *WRONG]
    shares = [GOOD_OR_DEPENDENT[k][0] if k in GOOD_OR_DEPENDENT else WRONG[k][0] for k in kinds]
    closing = len(known) * (1 + len(known[0].assets))
    left = count - len(opening) - closing
    for i, kind in enumerate(maker.chance.choices(kinds, shares, k=left)):
        feed = known[i % len(known)]
        if i % OVERSIZED_EVERY == 1000:
            yield maker.oversized(feed)
        elif i % UNREADABLE_EVERY == 2000:
            yield maker.unreadable(feed)
        elif kind in GOOD_OR_DEPENDENT:
            yield GOOD_OR_DEPENDENT[kind][1](maker, feed)
        else:
            yield maker.wrong(kind, *WRONG[kind][1:])
    for i in range(closing):
        yield maker.cross_section(known[i % len(known)])
