"""What comes in and what goes out: one frozen class for each Avro schema in ``schemas/``.

Event times are microseconds since the epoch (UTC). Weights are in units of NAV, moments and
volatilities are annual, offsets of -1 mean "none yet". Field for field the classes mirror the schemas;
a test holds them together.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from stream_allocator.evidence_record import Evidence as Evidence
from stream_allocator.evidence_record import GroupLimit as GroupLimit
from stream_allocator.evidence_record import GrowthEvidence as GrowthEvidence
from stream_allocator.evidence_record import Matrix as Matrix

Mode: TypeAlias = Literal["active", "shadow", "baseline", "halted"]
Trigger: TypeAlias = Literal["start", "schedule", "regime_switch", "drift", "control"]
Rung: TypeAlias = Literal["robust", "restore", "baseline", "hold"]
RegimeLabel: TypeAlias = Literal["calm", "normal", "stressed", "transition"]
AuditKind: TypeAlias = Literal["start", "position", "control", "regime_switch", "decision"]
RejectionCode: TypeAlias = Literal[
    "malformed",
    "unknown_schema",
    "unknown_universe",
    "wrong_key",
    "unknown_portfolio",
    "unknown_asset",
    "invalid",
    "late",
    "ahead",
]


@dataclass(frozen=True, slots=True)
class ReturnEvent:
    """Simple returns of the bar that ends at ``event_time``; NaN says "no return for this bar"."""

    universe: str
    source: str
    sequence: int
    event_time: int
    assets: tuple[str, ...]
    returns: tuple[float, ...]
    dollar_volumes: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class PackedReturnEvent:
    """Returns of a universe's whole cross-section in the order of its assets, as little-endian float64.

    ``asset_order`` is the fingerprint of that order (:func:`stream_allocator.packed.asset_order`).
    """

    universe: str
    source: str
    sequence: int
    event_time: int
    asset_order: bytes
    returns: bytes
    dollar_volumes: bytes | None = None


@dataclass(frozen=True, slots=True)
class PositionEvent:
    """A full snapshot of one portfolio's holdings; applying it twice changes nothing."""

    universe: str
    portfolio: str
    source: str
    sequence: int
    event_time: int
    nav: float
    cash: float
    assets: tuple[str, ...]
    market_values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ControlEvent:
    """An operator's change of a portfolio's mode."""

    universe: str
    portfolio: str
    source: str
    sequence: int
    event_time: int
    mode: Mode
    operator: str
    reason: str


@dataclass(frozen=True, slots=True)
class Weight:
    """One asset's weight before and after, in units of NAV."""

    asset: str
    current: float
    target: float
    trade: float


@dataclass(frozen=True, slots=True)
class AssetEvidence:
    """How strongly one asset's own posterior speaks for a recent change."""

    asset: str
    switch_probability: float
    map_run_length: int


@dataclass(frozen=True, slots=True)
class RegimeView:
    """The regime as the decision saw it."""

    label: RegimeLabel
    switched: bool
    switch_probability: float
    map_run_length: int
    effective_sample_size: float
    segment_volatility: float
    reference_volatility: float
    top_assets: tuple[AssetEvidence, ...]


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A number with its name."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Confidence:
    """Confidence in [0, 1] and the factors whose product it is."""

    value: float
    factors: tuple[NamedValue, ...]


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """The ambiguity that the programme guarded against and what it cost."""

    radius: float
    effective_sample_size: float
    budget: float
    penalty: float
    mean_share: float = 0.0
    mean_penalty: float = 0.0
    covariance_penalty: float = 0.0


@dataclass(frozen=True, slots=True)
class Objective:
    """The objective and the terms that add up to it."""

    value: float
    terms: tuple[NamedValue, ...]


@dataclass(frozen=True, slots=True)
class TurnoverGrant:
    """Turnover asked for, granted, traded, and what is left in the bucket."""

    asked: float
    granted: float
    traded: float
    bucket: float


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit at the chosen weights; the shadow price is the objective's fall per unit of relaxation."""

    name: str
    kind: str
    scope: str
    bound: float
    value: float
    shadow_price: float
    binding: bool


@dataclass(frozen=True, slots=True)
class CertificateValues:
    """The proof: worst violation, stationarity residual, and the gap to a proven lower bound."""

    primal: float
    dual: float
    gap: float
    objective: float
    bound: float


@dataclass(frozen=True, slots=True)
class SolverReport:
    """How the answer was found."""

    status: str
    programmes: int
    iterations: int
    polished: bool
    finish_steps: int
    agreed: bool
    newton_programmes: int = 0
    newton_converged: bool = False


@dataclass(frozen=True, slots=True)
class InputOffsets:
    """The last record of each input topic that the decision had seen."""

    returns: int
    positions: int
    control: int


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Counts since the universe started, and the assets that the last closed bar lacked."""

    duplicates: int
    late: int
    gaps: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Allocation:
    """Target weights of one portfolio with the explanation and the proof of the decision."""

    decision_id: str
    universe: str
    portfolio: str
    index: int
    event_time: int
    valid_until: int
    mode: Mode
    executable: bool
    trigger: Trigger
    allocator: str
    rung: Rung
    reason: str
    weights: tuple[Weight, ...]
    cash: float
    regime: RegimeView
    confidence: Confidence
    uncertainty: Uncertainty
    objective: Objective
    turnover: TurnoverGrant
    limits: tuple[LimitState, ...]
    certificate: CertificateValues
    solver: SolverReport
    policy_digest: str
    evidence_digest: str
    inputs: InputOffsets
    data_quality: DataQuality
    previous_decision: str | None = None


@dataclass(frozen=True, slots=True)
class RegimeUpdate:
    """The regime after one closed bar."""

    universe: str
    event_time: int
    bar: int
    label: RegimeLabel
    switched: bool
    switch_probability: float
    map_run_length: int
    expected_run_length: float
    effective_sample_size: float
    segment_volatility: float
    reference_volatility: float
    confidence: float
    assets: tuple[AssetEvidence, ...]
    decisions: tuple[str, ...]
    data_quality: DataQuality
    returns_offset: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One link of a universe's audit chain."""

    universe: str
    index: int
    event_time: int
    kind: AuditKind
    portfolio: str | None
    offset: int
    returns_offset: int
    subject: str
    outcome: str
    operator: str
    reason: str
    digest: str
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Header:
    """A record header."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """What a record was before it was cut to fit into a dead letter; the original stands at its origin."""

    key_bytes: int
    value_bytes: int
    value_digest: str
    headers: int
    header_bytes: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be used, with the reason and where it came from; whole, or with ``cut``."""

    topic: str
    partition: int
    offset: int
    code: RejectionCode
    reason: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    cut: Cut | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One chunk of an engine's state."""

    version: int
    universe: str
    chunk: int
    chunks: int
    event_time: int
    policy_digest: str
    digest: str
    payload: bytes
    returns_end: int = 0


@dataclass(frozen=True, slots=True)
class Rejection:
    """The engine's refusal of one input event: it did not move. Not on the wire; becomes a dead letter."""

    code: RejectionCode
    reason: str


Input: TypeAlias = ReturnEvent | PackedReturnEvent | PositionEvent | ControlEvent
Output: TypeAlias = Allocation | Evidence | RegimeUpdate | AuditEntry | Rejection
WireEvent: TypeAlias = (
    ReturnEvent
    | PackedReturnEvent
    | PositionEvent
    | ControlEvent
    | Allocation
    | Evidence
    | RegimeUpdate
    | AuditEntry
    | DeadLetter
    | Snapshot
)
