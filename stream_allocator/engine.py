"""Events in, decisions out: a pure state machine on event time.

It reads no clock, draws no random number and imports no Kafka. The same events at the same offsets in
the same order give the same bytes, and a restored snapshot goes on bit for bit.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
from threadpoolctl import threadpool_limits

from stream_allocator.audit import AuditChain
from stream_allocator.bars import Array, Bar, BarAssembly, Index
from stream_allocator.book import Book
from stream_allocator.codec import digest, encode
from stream_allocator.decision import Context, decide
from stream_allocator.errors import SnapshotError
from stream_allocator.events import (
    Allocation,
    AuditEntry,
    ControlEvent,
    DataQuality,
    Evidence,
    Input,
    Output,
    PackedReturnEvent,
    PositionEvent,
    RegimeUpdate,
    Rejection,
    ReturnEvent,
)
from stream_allocator.intake import (
    LONGEST_NAME,
    LONGEST_REASON,
    numbers,
    refuse_control,
    refuse_positions,
    refuse_returns,
)
from stream_allocator.market import Market, MarketView
from stream_allocator.policy import Policy
from stream_allocator.state import pack, unpack
from stream_allocator.topology import Universe, check_policies
from stream_allocator.upgrade import SNAPSHOT_VERSION, upgraded

__all__ = ["SNAPSHOT_VERSION", "Engine"]

#: Sources that an engine remembers the last sequence of; a source named anew at every start is a leak.
MOST_SOURCES = 10_000
#: Counters are Avro longs.
LARGEST_COUNT = 2**63 - 1


class Engine:
    """The allocator of one universe.

    Parameters
    ----------
    universe : Universe
    policies : mapping of str to Policy
        One for each portfolio of the universe; their regime and moments sections must be equal.

    Raises
    ------
    ConfigurationError
        When the policies do not fit the universe.

    Notes
    -----
    Creating an engine pins BLAS to one thread in this process: a sum that depends on the number of
    threads could not be repeated on another machine.
    """

    def __init__(self, universe: Universe, policies: Mapping[str, Policy]) -> None:
        threadpool_limits(limits=1, user_api="blas")
        self.universe = universe
        self.policies = {p.name: policies[p.name] for p in universe.portfolios}
        check_policies(universe, self.policies, "engine")
        shared = next(iter(self.policies.values()))
        self._index = {asset: i for i, asset in enumerate(universe.assets)}
        self._warmup = shared.regime.warmup
        grace = max(p.schedule.grace_seconds for p in self.policies.values())
        self._grace = round(grace * 1e6)
        self._bars = BarAssembly(len(universe.assets), self._grace)
        self._market = Market(universe.assets, shared.regime, shared.moments, shared.limits.volume_half_life)
        self._books = {
            p.name: Book(p.name, len(universe.assets), self.policies[p.name], p.mode)
            for p in universe.portfolios
        }
        self._chain = AuditChain(universe.name)
        self._sequences: dict[str, int] = {}
        self._duplicates = self._late = self._gaps = 0
        self._returns_offset = -1
        self.bars = 0

    @property
    def chain(self) -> str:
        """Head of the audit chain, 64 hexadecimal digits."""
        return self._chain.head

    @property
    def audit_entries(self) -> int:
        """Length of the audit chain."""
        return self._chain.index

    @property
    def event_time(self) -> int:
        """The last closed bar, microseconds; -1 before the first."""
        return self._bars.closed

    @property
    def configuration(self) -> str:
        """Digest of the universe and its policies: what a snapshot must agree with."""
        parts = [self.universe.model_dump_json(), *(f"{k}={p.digest}" for k, p in self.policies.items())]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def apply(self, event: Input, offset: int) -> list[Output]:
        """Take one event in and give out what follows from it.

        Parameters
        ----------
        event : ReturnEvent, PackedReturnEvent, PositionEvent or ControlEvent
        offset : int
            The record's offset on its topic.

        Returns
        -------
        list of Output
            Audit entries, evidence, allocations and one regime update for each bar that closed; or a
            ``Rejection`` (after its audit entry for positions and control), when the engine did not move.
        """
        match event:
            case ReturnEvent() | PackedReturnEvent():
                return self._apply_returns(event, offset)
            case PositionEvent():
                return self._apply_positions(event, offset)
            case ControlEvent():
                return self._apply_control(event, offset)

    # -- returns ---------------------------------------------------------------------------------

    def _apply_returns(self, event: ReturnEvent | PackedReturnEvent, offset: int) -> list[Output]:
        refusal = refuse_returns(event, self.universe)
        if refusal is not None:
            return [refusal]
        if isinstance(event, PackedReturnEvent):
            index = np.arange(len(self.universe.assets))
        else:
            index = np.array([self._index[a] for a in event.assets], dtype=np.int64)
        returns, volumes = numbers(event)
        return self.apply_returns(
            event.source, event.sequence, event.event_time, index, returns, volumes, offset
        )

    def apply_returns(
        self,
        source: str,
        sequence: int,
        event_time: int,
        index: Index,
        returns: Array,
        dollar_volumes: Array | None,
        offset: int,
    ) -> list[Output]:
        """As :meth:`apply`, for returns that are arrays already and that intake would let pass.

        Parameters
        ----------
        source : str
        sequence, event_time : int
            The latter not negative.
        index : ndarray of int64, shape (k,)
            Places of the assets in the universe's order, each at most once; not empty.
        returns : ndarray, shape (k,)
            In [-1, inf), or NaN.
        dollar_volumes : ndarray, shape (k,), optional
            Finite and not negative, or NaN.
        offset : int
        """
        counted = f"returns/{source}"
        refusal = self._refuse_source(counted)
        if refusal is not None:
            return [refusal]
        if self._is_duplicate(counted, sequence):
            return []
        behind = self._bars.late(event_time, index)
        if behind is not None:
            self._late += 1
            what = (
                "its bar has closed" if behind < 0 else f"{self.universe.assets[behind]} has reported since"
            )
            return [Rejection("late", f"event time {event_time} from {source}: {what}; correct the source")]
        outputs: list[Output] = []
        if self._returns_offset < 0:
            outputs.append(
                self._chain.append(
                    "start", event_time, -1, subject=self.universe.name, digest=self.configuration
                )
            )
        self._enter_sequence(counted, sequence)
        self._bars.add(event_time, index, returns, dollar_volumes)
        self._market.tick(index, returns)
        self._returns_offset = offset
        for bar in self._bars.close():
            outputs.extend(self._close(bar))
        return outputs

    def _close(self, bar: Bar) -> list[Output]:
        view = self._market.close(bar)
        for book in self._books.values():
            book.drift(bar.returns)
            book.bucket.advance(bar.time)
        outputs: list[Output] = []
        if view.segment.switched:
            outputs.append(self._audit_switch(bar, view))
        quality = DataQuality(self._duplicates, self._late, self._gaps, view.missing)
        context = Context(self.universe, bar.time, self._returns_offset, quality)
        decided: list[str] = []
        for book in self._books.values():
            for record in self._decide(context, view, book):
                outputs.extend(record)
                decided.append(record[-1].decision_id)
        outputs.append(
            RegimeUpdate(
                universe=self.universe.name,
                event_time=bar.time,
                bar=self.bars,
                label=view.segment.label,
                switched=view.segment.switched,
                switch_probability=view.segment.switch_probability,
                map_run_length=int(view.segment.map_run_length),
                expected_run_length=view.expected_run_length,
                effective_sample_size=view.effective_sample_size,
                segment_volatility=view.segment_volatility,
                reference_volatility=view.reference_volatility,
                confidence=view.confidence,
                assets=view.top_assets,
                decisions=tuple(decided),
                data_quality=quality,
                returns_offset=self._returns_offset,
            )
        )
        self.bars += 1
        return outputs

    def _audit_switch(self, bar: Bar, view: MarketView) -> Output:
        return self._chain.append(
            "regime_switch",
            bar.time,
            self._returns_offset,
            subject=view.segment.label,
            reason=f"P(run length <= horizon) = {view.segment.switch_probability!r}",
        )

    def _decide(
        self, context: Context, view: MarketView, book: Book
    ) -> list[tuple[AuditEntry, Evidence, Allocation]]:
        ready = self.bars + 1 >= self._warmup
        if not ready or book.mode == "halted":
            return []
        trigger = book.trigger(
            self.bars,
            ready=ready,
            switched=view.segment.switched,
            volatility=lambda: self._market.volatility(book.weights),
            cap=book.policy.budgets[view.segment.label].volatility,
        )
        if trigger is None:
            return []
        records = []
        for evidence, allocation in decide(context, self._market, view, book, self.bars, trigger):
            entry = self._chain.append(
                "decision",
                context.event_time,
                self._returns_offset,
                portfolio=book.name,
                subject=allocation.decision_id,
                outcome=allocation.rung,
                reason=f"{trigger}: {allocation.reason}",
                digest=digest(encode(allocation)),
            )
            records.append((entry, evidence, allocation))
        return records

    # -- positions and control -------------------------------------------------------------------

    def _apply_positions(self, event: PositionEvent, offset: int) -> list[Output]:
        source = f"positions/{event.portfolio}/{event.source}"
        refusal = refuse_positions(event, self.universe) or self._refuse_source(source)
        if refusal is not None:
            return [self._audit_input(event, offset, refusal.code), refusal]
        if self._is_duplicate(source, event.sequence):
            return [self._audit_input(event, offset, "duplicate")]
        self._enter_sequence(source, event.sequence)
        weights = np.zeros(len(self.universe.assets))
        for asset, value in zip(event.assets, event.market_values, strict=True):
            weights[self._index[asset]] = value / event.nav
        book = self._books[event.portfolio]
        book.hold(weights, event.nav)
        book.positions_offset = offset
        return [self._audit_input(event, offset, "applied")]

    def _apply_control(self, event: ControlEvent, offset: int) -> list[Output]:
        source = f"control/{event.portfolio}/{event.source}"
        refusal = refuse_control(event, self.universe) or self._refuse_source(source)
        if refusal is not None:
            return [self._audit_input(event, offset, refusal.code), refusal]
        if self._is_duplicate(source, event.sequence):
            return [self._audit_input(event, offset, "duplicate")]
        self._enter_sequence(source, event.sequence)
        book = self._books[event.portfolio]
        book.control_pending = book.control_pending or event.mode != book.mode
        book.mode = event.mode
        book.control_offset = offset
        return [self._audit_input(event, offset, "applied")]

    def _audit_input(self, event: PositionEvent | ControlEvent, offset: int, outcome: str) -> AuditEntry:
        control = event if isinstance(event, ControlEvent) else None
        return self._chain.append(
            "position" if control is None else "control",
            event.event_time,
            self._returns_offset,
            portfolio=event.portfolio[:LONGEST_NAME],  # what was refused for its length is named all the same
            offset=offset,
            subject="" if control is None else control.mode,
            outcome=outcome,
            operator="" if control is None else control.operator[:LONGEST_NAME],
            reason="" if control is None else control.reason[:LONGEST_REASON],
        )

    # -- sequences -------------------------------------------------------------------------------

    def _refuse_source(self, source: str) -> Rejection | None:
        if source in self._sequences or len(self._sequences) < MOST_SOURCES:
            return None
        return Rejection(
            "invalid",
            f"{source}: {MOST_SOURCES} sources are known already; give a source the same name at every start",
        )

    def _is_duplicate(self, source: str, sequence: int) -> bool:
        if sequence > self._sequences.get(source, sequence - 1):
            return False
        self._duplicates += 1
        return True

    def _enter_sequence(self, source: str, sequence: int) -> None:
        gap = max(0, sequence - self._sequences.get(source, sequence - 1) - 1)
        self._gaps = min(self._gaps + gap, LARGEST_COUNT)
        self._sequences[source] = sequence

    # -- snapshots -------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return pack(
            {
                "version": SNAPSHOT_VERSION,
                "configuration": self.configuration,
                "bars": self.bars,
                "returns_offset": self._returns_offset,
                "sequences": self._sequences,
                "quality": [self._duplicates, self._late, self._gaps],
                "chain": [self._chain.index, self._chain.head],
                "assembly": self._bars.state(),
                "market": self._market.state(),
                "books": {name: book.state() for name, book in self._books.items()},
            }
        )

    @classmethod
    def restore(cls, universe: Universe, policies: Mapping[str, Policy], blob: bytes) -> "Engine":
        """The engine that wrote ``blob``.

        Raises
        ------
        SnapshotError
            For bytes that are not a state, of an unknown version, or of another universe or policy.
        """
        state = upgraded(unpack(blob))
        self = cls(universe, policies)
        if state["configuration"] != self.configuration:
            raise SnapshotError(
                f"snapshot of universe {universe.name} was taken with other policies or assets "
                f"({state['configuration'][:12]}, now {self.configuration[:12]}); start a new group "
                "with topics of its own for them"
            )
        self.bars = state["bars"]
        self._returns_offset = state["returns_offset"]
        self._sequences = dict(state["sequences"])
        self._duplicates, self._late, self._gaps = state["quality"]
        self._chain = AuditChain(universe.name, *state["chain"])
        self._bars = BarAssembly.from_state(len(universe.assets), self._grace, state["assembly"])
        self._market.load(state["market"])
        for name, book in self._books.items():
            book.load(state["books"][name])
        return self
