"""Our worker's session with the kernel in place of the engine, so that what is measured is the bus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stream.kernel import spin, step
from benchmarks.stream.wire import SIDE
from stream_allocator.events import DataQuality, Output, PackedReturnEvent, RegimeUpdate
from stream_allocator.packed import asset_order, unpacked
from stream_allocator.policy import Policy
from stream_allocator.topology import Universe

__all__ = ["BareEngine"]

QUALITY = DataQuality(0, 0, 0, ())


class BareEngine:
    """The engine's interface around the kernel; its turns are set on the class before a session makes one."""

    turns = 1

    def __init__(self, universe: Universe, policies: Mapping[str, Policy]) -> None:
        self.universe = universe
        self.positions = {asset: i for i, asset in enumerate(universe.assets)}
        self.state = np.zeros(len(universe.assets))
        self.every = np.arange(len(universe.assets))
        self.seen, self.total = 0, 0.0
        self.bars, self.event_time = 0, -1
        self.audit_entries = 0
        self.chain = "0" * 64
        self.configuration = universe.name

    def apply(self, event: Any, offset: int) -> list[Output]:
        """Step the kernel; an update when every asset has reported."""
        if isinstance(event, PackedReturnEvent):
            assert event.asset_order == asset_order(self.universe.assets)
            total = float(spin(self.state, self.every, unpacked(event.returns), self.turns))
            return self._reported(total, SIDE, event.sequence, event.event_time)
        total = step(self.state, self.positions, event.assets, event.returns, self.turns)
        return self._reported(total, len(event.assets), event.sequence, event.event_time)

    def apply_returns(
        self,
        source: str,
        sequence: int,
        event_time: int,
        index: NDArray[np.int64],
        returns: NDArray[np.float64],
        dollar_volumes: NDArray[np.float64] | None,
        offset: int,
    ) -> list[Output]:
        """The same for arrays, as the engine has it."""
        total = float(spin(self.state, index, returns, self.turns))
        return self._reported(total, len(index), sequence, event_time)

    def _reported(self, total: float, assets: int, sequence: int, event_time: int) -> list[Output]:
        self.total += total
        self.seen += assets
        if self.seen < SIDE:
            return []
        update = RegimeUpdate(
            universe=self.universe.name,
            event_time=event_time,
            bar=self.bars,
            label="normal",
            switched=False,
            switch_probability=0.0,
            map_run_length=0,
            expected_run_length=self.total,
            effective_sample_size=0.0,
            segment_volatility=0.0,
            reference_volatility=0.0,
            confidence=0.0,
            assets=(),
            decisions=(),
            data_quality=QUALITY,
            returns_offset=sequence,
        )
        self.event_time = event_time
        self.seen, self.total = 0, 0.0
        self.bars += 1
        return [update]

    def snapshot(self) -> bytes:
        """The whole state."""
        head = np.array([self.bars, self.event_time, self.seen, self.total], dtype=np.float64)
        return head.tobytes() + self.state.tobytes()

    @classmethod
    def restore(cls, universe: Universe, policies: Mapping[str, Policy], blob: bytes) -> BareEngine:
        """The engine that wrote it."""
        self = cls(universe, policies)
        numbers = np.frombuffer(blob)
        self.bars, self.event_time, self.seen = (int(x) for x in numbers[:3])
        self.total, self.state = float(numbers[3]), numbers[4:].copy()
        return self
