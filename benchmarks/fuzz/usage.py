"""Memory and descriptors of a process over a run (Linux)."""

from __future__ import annotations

import statistics
from pathlib import Path

__all__ = ["Usage"]


class Usage:
    """Samples of one process.

    Parameters
    ----------
    pid : int
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self.rss_mb: list[float] = []
        self.descriptors: list[int] = []

    def look(self) -> None:
        """Take a sample; nothing happens where the system does not tell."""
        try:
            status = (self._folder / "status").read_text()
            count = sum(1 for _ in (self._folder / "fd").iterdir())
        except OSError:
            return
        kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:"))
        self.rss_mb.append(int(kilobytes) / 1024)
        self.descriptors.append(count)

    @staticmethod
    def growth(samples: list[float] | list[int]) -> float:
        """The median of the last fifth less that of the fifth after the first three tenths.

        The first tenths are the start: code is loaded and compiled, queues fill.
        """
        n = len(samples)
        if n < 10:
            return float("nan")
        return statistics.median(samples[-n // 5 :]) - statistics.median(samples[3 * n // 10 : n // 2])

    def rows(self, points: int = 8) -> list[list[object]]:
        """Samples at so many points of the run, for a table."""
        n = len(self.rss_mb)
        at = sorted({round(i * (n - 1) / (points - 1)) for i in range(points)}) if n else []
        last = max(1, n - 1)
        return [[f"{i / last:.0%}", round(self.rss_mb[i], 1), self.descriptors[i]] for i in at]
