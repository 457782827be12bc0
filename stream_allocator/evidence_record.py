"""The evidence of a decision: the numbers that it was made of, as they are published.

Part of :mod:`stream_allocator.events`, whose conventions hold here.
"""

from dataclasses import dataclass

__all__ = ["Evidence", "GroupLimit", "GrowthEvidence", "Matrix"]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A dense matrix, row by row."""

    rows: int
    columns: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GroupLimit:
    """Bounds on some assets' weights: their sum, what is long of it, and its gross size; None: no bound."""

    name: str
    members: tuple[int, ...]
    lower: float
    upper: float
    long: float | None = None
    gross: float | None = None


@dataclass(frozen=True, slots=True)
class GrowthEvidence:
    """The samples behind a growth decision, and what proves it."""

    samples: Matrix
    radius: float
    probabilities: tuple[float, ...]
    lowest: tuple[float, ...]
    highest: tuple[float, ...]
    bars_per_year: float
    survival: float
    cut_sample: tuple[int, ...]
    cut_point: tuple[float, ...]
    cut_weight: tuple[float, ...]
    loss_point: tuple[float, ...]
    loss_asset: tuple[int, ...]
    loss_side: tuple[float, ...]
    loss_weight: tuple[float, ...]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Evidence:
    """The numbers of the programme that a decision solved; see :class:`stream_allocator.allocate.Program`."""

    decision_id: str
    universe: str
    portfolio: str
    event_time: int
    assets: tuple[str, ...]
    mean: tuple[float, ...]
    factors: Matrix
    idiosyncratic: tuple[float, ...]
    current: tuple[float, ...]
    risk_aversion: float
    radius: float
    mean_ambiguity: float
    mean_evidence: float
    linear_cost: tuple[float, ...]
    quadratic_cost: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    cash_lower: float
    cash_upper: float
    groups: tuple[GroupLimit, ...]
    turnover: float
    trade: tuple[float, ...]
    volatility: float
    gross: float | None = None
    holding: tuple[float, ...] | None = None
    benchmark: tuple[float, ...] | None = None
    active: tuple[float, ...] | None = None
    tracking: float | None = None
    deviation_aversion: float = 0.0
    resting: tuple[int, ...] | None = None
    growth: GrowthEvidence | None = None
