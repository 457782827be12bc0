"""What a history lacks: names that start late or end early, gaps, and single closes that are missing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coverage", "coverage"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts over a table of returns.

    Attributes
    ----------
    assets : int
    late : int
        Assets without a return at the first bar, but with one later.
    ended : int
        Assets with a return, but none at the last bar: delisted, or silent there.
    never : int
        Assets without any.
    missing : int
        Returns that are missing between an asset's first and last.
    longest_gap : int
        Bars of the longest stretch of these.
    empty_bars : int
        Bars at which no asset has a return.
    """

    assets: int
    late: int
    ended: int
    never: int
    missing: int
    longest_gap: int
    empty_bars: int

    @property
    def whole(self) -> bool:
        """Whether nothing is missing."""
        return not (self.late or self.ended or self.never or self.missing or self.empty_bars)


def coverage(returns: NDArray[np.float64]) -> Coverage:
    """Count what is missing (NaN) from returns of shape (T, n), T at least 1."""
    seen = np.isfinite(returns)
    ever = seen.any(axis=0)
    first = np.where(ever, seen.argmax(axis=0), 0)
    last = np.where(ever, len(seen) - 1 - seen[::-1].argmax(axis=0), -1)
    bars = np.arange(len(seen))[:, None]
    inside = ~seen & (bars > first) & (bars < last)
    longest, stretch = 0, np.zeros(seen.shape[1], dtype=np.int64)
    for row in inside:
        stretch = np.where(row, stretch + 1, 0)
        longest = max(longest, int(stretch.max(initial=0)))
    return Coverage(
        assets=seen.shape[1],
        late=int(np.count_nonzero(ever & ~seen[0])),
        ended=int(np.count_nonzero(ever & ~seen[-1])),
        never=int(np.count_nonzero(~ever)),
        missing=int(inside.sum()),
        longest_gap=longest,
        empty_bars=int(np.count_nonzero(~seen.any(axis=1))),
    )
