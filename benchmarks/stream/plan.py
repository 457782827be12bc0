"""How much of everything a run measures: the whole of it, or what fits into 50 seconds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FULL", "QUICK", "Plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run.

    Attributes
    ----------
    bars, single_bars : int
        Cross-sections of 50 assets in the topics of the bus ladder; of the second every asset is a record.
    faust_bars : int
        What Faust drains of single-asset records, in a topic of its own: it is that much slower.
    engine_seconds : float
        That an engine ladder's drain should take, from a pilot.
    paced : int
        Cross-sections at 50 a second of one latency run.
    repeats : int
        Of every throughput and latency figure.
    workers : tuple of int
        Of the scaling table.
    short_restore : bool
        Whether only as many bars lie before the snapshot of the restore as there are after it.
    extras_until : float
        Seconds after which tables without a key are left out.
    """

    bars: int
    single_bars: int
    faust_bars: int
    engine_seconds: float
    paced: int
    repeats: int
    workers: tuple[int, ...]
    short_restore: bool
    extras_until: float


FULL = Plan(24_000, 3_000, 400, 3.0, 500, 3, (1, 2, 4), False, float("inf"))
QUICK = Plan(9_000, 800, 0, 1.0, 120, 1, (), True, 36.0)
