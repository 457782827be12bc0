"""Records, good and bad, each with what must become of it; all chance comes from one seed.

Universes ``u0`` and ``u1`` get records whose fate is known when they are made. ``u2`` gets bit-flipped ones:
a flip may be an event like any other, and may move time and sequences, so nothing is foretold there.
"""

from __future__ import annotations

import math
import random
import struct
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.workload import DAY, START
from stream_allocator.codec import FINGERPRINT_HEADER, Codec
from stream_allocator.events import ControlEvent, Input, PositionEvent, ReturnEvent
from stream_allocator.packed import pack
from stream_allocator.stream.record import INPUTS, UNREADABLE_HEADERS
from stream_allocator.topology import Topology

__all__ = ["FATES", "Feed", "Maker", "Sent"]

#: What can become of a record: the first two, or a dead letter with a code.
FATES = ("applied", "duplicate")

ROLES = {cls: role for role, cls in INPUTS.items()}
Headers = tuple[tuple[str, bytes], ...]
#: Ready-made records of each kind whose fate does not depend on what came before.
POOL = 64
OVERSIZED_BYTES = 1_040_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A record to send.

    Attributes
    ----------
    kind : str
    role : str
    key, value : bytes or None
    headers : tuple of (str, bytes)
    fate : str or None
        ``applied``, ``duplicate``, or the code of its dead letter; None where nobody can tell beforehand.
    """

    kind: str
    role: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    fate: str | None


@dataclass(slots=True)
class Feed:
    """Where the good records of one universe stand."""

    name: str
    assets: tuple[str, ...]
    time: int = START
    sequences: dict[str, int] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    last: dict[str, Sent] = field(default_factory=dict)

    def next(self, role: str, step: int = 1) -> int:
        self.sequences[role] = self.sequences.get(role, -1) + step
        return self.sequences[role]


class Maker:
    """Makes records; all its chance comes from one seed."""

    def __init__(self, topology: Topology, seed: int) -> None:
        self.chance = random.Random(seed)
        self.codec = Codec()
        self.feeds = [Feed(u.name, u.assets) for u in topology.universes]
        self._pool: dict[str, list[Sent]] = {}

    # -- good ones -------------------------------------------------------------------------------

    def framed(self, kind: str, event: Any, fate: str | None = "applied", **changes: Any) -> Sent:
        value, headers = self.codec.frame(event)
        role = ROLES.get(type(event), "returns")
        return replace(Sent(kind, role, event.universe.encode(), value, tuple(headers), fate), **changes)

    def returns(self, feed: Feed, **changes: Any) -> ReturnEvent:
        common = self.chance.gauss(0.0005, 0.009)
        x = tuple(max(-0.9, common + self.chance.gauss(0.0, 0.015)) for _ in feed.assets)
        event = ReturnEvent(feed.name, "feed", 0, feed.time, feed.assets, x)
        return replace(event, **changes)

    def cross_section(self, feed: Feed, kind: str = "cross-section", step: int = 1, **changes: Any) -> Sent:
        if feed.waiting:
            return self.tick(feed)
        feed.time += DAY
        event = self.returns(feed, sequence=feed.next("returns", step), **changes)
        sent = self.framed(kind, pack(event, feed.assets) if kind == "packed" else event)
        feed.last["returns"] = sent
        return sent

    def tick(self, feed: Feed) -> Sent:
        if not feed.waiting:
            feed.time += DAY
            feed.waiting = list(range(len(feed.assets)))
        asset = feed.assets[feed.waiting.pop()]
        event = ReturnEvent(
            feed.name, "feed", feed.next("returns"), feed.time, (asset,), (self.chance.gauss(0.0, 0.015),)
        )
        sent = self.framed("tick", event)
        feed.last["returns"] = sent
        return sent

    def gap(self, feed: Feed) -> Sent:
        return self.cross_section(feed, "sequence gap", step=self.chance.randint(2, 1000))

    def silent(self, feed: Feed) -> Sent:
        if feed.waiting:
            return self.tick(feed)
        feed.time += DAY
        event = self.returns(feed, sequence=feed.next("returns"))
        x = tuple(math.nan if self.chance.random() < 0.3 else r for r in event.returns)
        return self.framed("NaN return", replace(event, returns=x))

    def bare(self, feed: Feed) -> Sent:
        return replace(self.cross_section(feed), kind="no headers", headers=())

    def decorated(self, feed: Feed) -> Sent:
        sent = self.cross_section(feed)
        extra = self.chance.choice(
            (
                ((FINGERPRINT_HEADER, b"\0" * 8), ("traceparent", b"\xff" * 400), ("", b"")),
                tuple((f"h{i}", b"") for i in range(50)),
                (("é" * 200, b"\0" * 1000), ("traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00")),
            )
        )
        return replace(sent, kind="harmless headers", headers=(*sent.headers, *extra))

    def held(self, feed: Feed, **changes: Any) -> PositionEvent:
        values = tuple(self.chance.uniform(50.0, 100.0) for _ in feed.assets)
        cash = self.chance.uniform(0.0, 100.0)
        nav = cash + sum(values)
        event = PositionEvent(feed.name, "core", "oms", 0, feed.time, nav, cash, feed.assets, values)
        return replace(event, **changes)

    def position(self, feed: Feed) -> Sent:
        sent = self.framed("position", self.held(feed, sequence=feed.next("positions")))
        feed.last["positions"] = sent
        return sent

    def asked(self, feed: Feed, **changes: Any) -> ControlEvent:
        mode = self.chance.choice(("active", "active", "shadow", "baseline", "halted"))
        event = ControlEvent(feed.name, "core", "ops", 0, feed.time, mode, "ann", "drill")
        return replace(event, **changes)

    def control(self, feed: Feed) -> Sent:
        sent = self.framed("control", self.asked(feed, sequence=feed.next("control")))
        feed.last["control"] = sent
        return sent

    # -- those that depend on what came before ---------------------------------------------------

    def repeat(self, feed: Feed) -> Sent:
        role = self.chance.choice(sorted(feed.last))
        return replace(feed.last[role], kind="repeat", fate="duplicate")

    def older(self, feed: Feed) -> Sent:
        back = feed.sequences["returns"] - self.chance.randint(0, 10**6)
        return self.framed("old sequence", self.returns(feed, sequence=back), "duplicate")

    def late(self, feed: Feed) -> Sent:
        time = feed.time - DAY * self.chance.randint(1, 5)
        event = self.returns(feed, sequence=feed.sequences["returns"] + 1, event_time=time)
        return self.framed("time going back", event, "late")

    def ahead(self, feed: Feed) -> Sent:
        time = feed.time + self.chance.randint(402 * DAY, 10**17)
        event = self.returns(feed, sequence=feed.sequences["returns"] + 1, event_time=time)
        return self.framed("time far ahead", event, "ahead")

    def truncated(self, feed: Feed) -> Sent:
        whole = feed.last[self.chance.choice(sorted(feed.last))]
        assert whole.value is not None
        cut = whole.value[: self.chance.randrange(1, len(whole.value))]
        return replace(whole, kind="truncated", value=cut, fate="malformed")

    def left_over(self, feed: Feed) -> Sent:
        whole = feed.last[self.chance.choice(sorted(feed.last))]
        assert whole.value is not None
        return replace(
            whole, kind="bytes left over", value=whole.value + self.chance.randbytes(3), fate="malformed"
        )

    def flipped(self, _: Feed) -> Sent:
        feed = self.feeds[-1]
        make = self.chance.choice((self.cross_section, self.tick, self.position, self.control))
        whole = make(feed)
        assert whole.value is not None
        if self.chance.random() < 0.15:
            return replace(whole, kind="between flips", fate=None)
        value = bytearray(whole.value)
        for _ in range(self.chance.choice((1, 1, 1, 2, 8))):
            value[self.chance.randrange(len(value))] ^= 1 << self.chance.randrange(8)
        return replace(whole, kind="bit-flipped", value=bytes(value), fate=None)

    # -- those that are wrong whenever they come -------------------------------------------------

    def wrong(self, kind: str, method: str, code: str | None) -> Sent:
        """One of the ready-made records of a kind, which a method makes and which must get a code."""
        if kind not in self._pool:
            make = getattr(self, "_" + method)
            feeds = self.feeds[:-1]
            self._pool[kind] = [
                replace(made, kind=kind, fate=code if made.fate == "applied" else made.fate)
                for i in range(POOL)
                for made in [make(feeds[i % len(feeds)])]
            ]
        return self.chance.choice(self._pool[kind])

    def _any(self, feed: Feed) -> Sent:
        event: Input = self.chance.choice((self.returns, self.held, self.asked))(feed, sequence=10**9)
        return self.framed("", event)

    def _junk(self, feed: Feed) -> Sent:
        return replace(self._any(feed), value=b"\xff" + self.chance.randbytes(self.chance.randint(1, 300)))

    def _empty(self, feed: Feed) -> Sent:
        return replace(self._any(feed), value=b"")

    def _null(self, feed: Feed) -> Sent:
        return replace(self._any(feed), value=None)

    def _fingerprint(self, feed: Feed) -> Sent:
        content = self.chance.choice((self.chance.randbytes(8), b"", b"\0" * 50_000))
        sent = self._any(feed)
        return replace(sent, headers=((FINGERPRINT_HEADER, content), *sent.headers))

    def _other_schema(self, feed: Feed) -> Sent:
        sent = self._any(feed)
        other = self.held(feed) if sent.role != "positions" else self.asked(feed)
        return replace(sent, headers=tuple(self.codec.frame(other)[1]))

    def _confluent(self, feed: Feed) -> Sent:
        sent = self._any(feed)
        assert sent.value is not None
        return replace(sent, value=struct.pack(">bI", 0, self.chance.randrange(2**32)) + sent.value)

    def _number(self, feed: Feed) -> Sent:
        event = self.returns(feed, sequence=10**9)
        spoilt = self.chance.choice((math.inf, -math.inf, -2.0, -1.0000001, 1e300, 1.7e308, 1001.0))
        x = list(event.returns)
        x[self.chance.randrange(len(x))] = spoilt
        event = replace(event, returns=tuple(x))
        return self.framed("", pack(event, feed.assets) if self.chance.random() < 0.3 else event)

    def _volume(self, feed: Feed) -> Sent:
        volumes = tuple(self.chance.choice((1e6, -1.0, math.inf, 1e300)) for _ in feed.assets[1:])
        return self.framed("", self.returns(feed, sequence=10**9, dollar_volumes=(-1.0, *volumes)))

    def _nav(self, feed: Feed) -> Sent:
        nav = self.chance.choice((-1000.0, 0.0, math.nan, math.inf, 1e300, 1e-300, 5e-324))
        return self.framed("", self.held(feed, sequence=10**9, nav=nav))

    def _money(self, feed: Feed) -> Sent:
        event = self.held(feed, sequence=10**9)
        spoilt = self.chance.choice((math.nan, math.inf, 1e300, -1e300, 5.0))
        if self.chance.random() < 0.5:
            return self.framed("", replace(event, cash=event.cash + spoilt))
        return self.framed("", replace(event, market_values=(spoilt, *event.market_values[1:])))

    def _shape(self, feed: Feed) -> Sent:
        event = self.returns(feed, sequence=10**9)
        return self.framed(
            "",
            self.chance.choice(
                (
                    replace(event, returns=event.returns[1:]),
                    replace(event, assets=(), returns=()),
                    replace(event, dollar_volumes=(1.0,)),
                    replace(event, assets=(event.assets[0], *event.assets[:-1])),
                    self.held(feed, sequence=10**9, market_values=()),
                    replace(pack(event, feed.assets), asset_order=self.chance.randbytes(8)),
                    replace(pack(event, feed.assets), returns=b"\0" * 79),
                )
            ),
        )

    def _asset(self, feed: Feed) -> Sent:
        assets = ("ZZZ", *feed.assets[1:])
        event = self.chance.choice((self.returns, self.held))(feed, sequence=10**9, assets=assets)
        return self.framed("", event)

    def _universe(self, feed: Feed) -> Sent:
        name = self.chance.choice(("u9", "", "U0", "u0 ", "é", "x" * 5000))
        event: Input = self.chance.choice((self.returns, self.held, self.asked))(
            feed, sequence=10**9, universe=name
        )
        return self.framed("", event)

    def _portfolio(self, feed: Feed) -> Sent:
        name = self.chance.choice(("edge", "", "x" * 5000))
        event: Input = self.chance.choice((self.held, self.asked))(feed, sequence=10**9, portfolio=name)
        return self.framed("", event)

    def _key(self, feed: Feed) -> Sent:
        other = "u1" if feed.name == "u0" else "u0"
        key = self.chance.choice(
            (None, b"", other.encode(), b"\xff", feed.name.encode() + b"\0", b"k" * 9000)
        )
        return replace(self._any(feed), key=key)

    def _time(self, feed: Feed) -> Sent:
        time = self.chance.choice((-1, -(2**63), 2**63 - 1, 6_248_000_000_000_000_000))
        event: Input = self.chance.choice((self.held, self.asked))(feed, sequence=10**9, event_time=time)
        return self.framed("", event)

    def _words(self, feed: Feed) -> Sent:
        return self.framed(
            "",
            self.chance.choice(
                (
                    self.returns(feed, sequence=10**9, source="s" * 5000),
                    self.held(feed, sequence=10**9, source="s" * 201),
                    self.asked(feed, sequence=10**9, operator="é" * 201),
                    self.asked(feed, sequence=10**9, reason="r" * 20_000),
                )
            ),
        )

    def oversized(self, feed: Feed) -> Sent:
        kind = "oversized"
        if self.chance.random() < 0.5:
            junk = b"\xff" + self.chance.randbytes(OVERSIZED_BYTES)
            return replace(self._any(feed), kind=kind, value=junk, fate="malformed")
        assets = tuple(f"{i:06d}" for i in range(OVERSIZED_BYTES // 15))
        event = self.returns(feed, sequence=10**9, assets=assets, returns=(0.0,) * len(assets))
        return self.framed(kind, event, "unknown_asset")

    def unreadable(self, feed: Feed) -> Sent:
        sent = self.framed("header names no text", self.returns(feed, sequence=10**9), "malformed")
        return replace(sent, headers=((UNREADABLE_HEADERS, b""),))
