"""The durable state of a universe, one value of bytes: each asset's number, and how far the bar has come."""

from __future__ import annotations

import numpy as np

from benchmarks.stream.kernel import step
from benchmarks.stream.wire import SIDE, decode, encode_update

__all__ = ["POSITIONS", "START", "advance"]

POSITIONS = {f"A{i:04d}": i for i in range(SIDE)}
#: Numbers of the assets; bars, assets seen in this bar, their sum.
START = np.zeros(SIDE + 3).tobytes()


def advance(record: bytes, state: bytes, turns: int) -> tuple[bytes, bytes | None]:
    """The state after a record, and the update where it closes a bar."""
    event = decode(record)
    numbers = np.frombuffer(state).copy()
    total = step(numbers, POSITIONS, event["assets"], event["returns"], turns)
    bar, seen, before = numbers[SIDE:].tolist()
    seen, total = seen + len(event["assets"]), before + total
    update = None
    if seen == SIDE:
        update = encode_update(event, int(bar), total)
        bar, seen, total = bar + 1, 0, 0.0
    numbers[SIDE:] = bar, seen, total
    return numbers.tobytes(), update
