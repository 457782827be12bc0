"""The numbers of one decision: everything that is needed to solve it, or to check an answer to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from stream_allocator.remembered import remembered

__all__ = ["Array", "Group", "Program", "ProgramError", "other_objective"]

Array = NDArray[np.float64]


class ProgramError(ValueError):
    """A programme whose numbers cannot be used; names the field, the asset and what is allowed.

    Attributes
    ----------
    field : str
        The field of :class:`Program` that is wrong.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@remembered(64)
def _check_names(assets: tuple[str, ...], groups: tuple[Group, ...]) -> None:
    """Whether assets and groups can be used; they stay as they are for as long as a policy does."""
    n = len(assets)
    if not assets:
        raise ProgramError("assets", "at least one asset is needed")
    if len(set(assets)) != n:
        twice = sorted({a for a in assets if assets.count(a) > 1})
        raise ProgramError("assets", f"names must be unique, repeated: {', '.join(twice)}")
    seen: set[str] = set()
    for group in groups:
        if group.name in seen:
            raise ProgramError("groups", f"{group.name}: the name is used twice")
        seen.add(group.name)
        if len(set(group.members)) != len(group.members) or not group.members:
            raise ProgramError("groups", f"{group.name}: members must be some assets, each once")
        if not all(0 <= i < n for i in group.members):
            raise ProgramError("groups", f"{group.name}: members must be positions below {n}")
        if not group.lower <= group.upper:
            raise ProgramError(
                "groups",
                f"{group.name}: lower must not be above upper, got {group.lower} and {group.upper}",
            )
        if not (group.long >= 0.0 and group.gross >= 0.0):
            raise ProgramError(
                "groups",
                f"{group.name}: long and gross must not be negative, got {group.long} and {group.gross}",
            )


def _one_zero(value: float) -> float:
    """``value``, and 0 for -0: what is made once for equal numbers must not depend on which came first."""
    return value + 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """Bounds on some assets together; infinite where there is none.

    Attributes
    ----------
    name : str
        Unique among the programme's groups.
    members : tuple of int
        Positions in ``Program.assets``, each at most once.
    lower, upper : float
        Of the net weight: lower <= sum w_i <= upper.
    long : float
        Cap on what is held long: sum max(w_i, 0) <= long.
    gross : float
        Cap on the gross weight: sum |w_i| <= gross.
    """

    name: str
    members: tuple[int, ...]
    lower: float = -math.inf
    upper: float = math.inf
    long: float = math.inf
    gross: float = math.inf

    def __post_init__(self) -> None:
        for name in ("lower", "upper", "long", "gross"):
            object.__setattr__(self, name, _one_zero(getattr(self, name)))


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    r"""One decision's data.  All quantities are annual, all weights in units of NAV.

    .. math::
        \min_w\; -\mu'w + \kappa\sqrt{w'\Omega w}
        + \frac{\gamma}{2}\bigl(\sqrt{w'\Sigma w} + \sqrt{\delta}\,\|w\|_2\bigr)^2
        + \alpha\sqrt{w'\Sigma w} + \sqrt{\delta}\sqrt{1 + \alpha^2}\,\|w\|_2
        + \sum_i c_i |w_i - w^0_i| + \sum_i q_i (w_i - w^0_i)^2

    with :math:`\Sigma = FF' + \mathrm{diag}(d)`, :math:`\Omega = \Sigma/\text{mean\_evidence}` and the second
    line only where :math:`\alpha > 0`.  The limits are defined in :mod:`stream_allocator.allocate.limits`.

    Attributes
    ----------
    assets : tuple of str
        Unique names, n of them.
    mean : (n,) array
        Expected excess returns.
    factors : (n, k) array
        F; k may be 0.
    idiosyncratic : (n,) array
        d >= 0.
    current : (n,) array
        The weights held, w0.
    risk_aversion : float
        gamma >= 0: the price of the worst variance over a Wasserstein-2 ball.  0 only where
        ``deviation_aversion`` is positive.
    radius : float
        delta >= 0, the squared radius of the ball: its root multiplies the norm of w.
    mean_ambiguity : float
        kappa >= 0, in standard errors of the mean.
    mean_evidence : float
        Years of evidence behind the mean, > 0.
    linear_cost, quadratic_cost : (n,) arrays
        c >= 0 and q >= 0, amortised to a year.
    lower, upper : (n,) arrays
        The box; finite.
    cash_lower, cash_upper : float
        Bounds of 1 - sum(w).
    groups : tuple of Group
        May overlap.
    turnover : float
        tau >= 0, or infinity.
    trade : (n,) array
        Largest trade that liquidity allows, >= 0, infinity where volume is unknown.
    volatility : float
        Cap on sqrt(w' Sigma w), > 0, or infinity.
    gross : float
        Cap on sum |w_i|, >= 0, or infinity.
    holding : (n,) array, optional
        Largest holding that liquidity lets one leave in time: |w_i| <= holding_i; infinite by default.
    benchmark : (n,) array, optional
        b, the weights that are tracked; zero by default.
    active : (n,) array, optional
        Cap on |w_i - b_i|; infinite by default.
    tracking : float
        Cap on the tracking error sqrt((w - b)' Sigma (w - b)), > 0, or infinity.
    deviation_aversion : float
        alpha >= 0: the price of the worst standard deviation and mean over a Gelbrich ball, the set of all
        distributions whose mean and covariance are that near to the estimates (Nguyen, Shafieezadeh-Abadeh,
        Filipovic & Kuhn 2021).
    resting : tuple of int
        Positions of assets that are not traded since their trade would be too small: their ``trade`` is 0.

    Raises
    ------
    ProgramError
        For a wrong shape, a number that is not finite where it must be, a negative or crossed bound.

    Notes
    -----
    Arrays are copied to read-only float64, so a programme never changes under its certificate.
    """

    assets: tuple[str, ...]
    mean: Array
    factors: Array
    idiosyncratic: Array
    current: Array
    risk_aversion: float
    radius: float
    mean_ambiguity: float
    mean_evidence: float
    linear_cost: Array
    quadratic_cost: Array
    lower: Array
    upper: Array
    cash_lower: float
    cash_upper: float
    groups: tuple[Group, ...]
    turnover: float
    trade: Array
    volatility: float
    gross: float = math.inf
    holding: Array = None  # type: ignore[assignment]  # an array once made
    benchmark: Array = None  # type: ignore[assignment]
    active: Array = None  # type: ignore[assignment]
    tracking: float = math.inf
    deviation_aversion: float = 0.0
    resting: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        assets, groups = tuple(self.assets), tuple(self.groups)
        object.__setattr__(self, "assets", assets)
        object.__setattr__(self, "groups", groups)
        _check_names(assets, groups)
        for name, value in (("holding", math.inf), ("benchmark", 0.0), ("active", math.inf)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.full(len(assets), value))
        self._rest(len(assets))
        self._arrays(len(assets))
        self._scalars()
        crossed = self.lower > self.upper
        if crossed.any():
            i = int(crossed.argmax())
            raise ProgramError(
                "lower", f"{assets[i]}: must not be above upper, got {self.lower[i]} and {self.upper[i]}"
            )
        if self.cash_lower > self.cash_upper:
            raise ProgramError(
                "cash_lower", f"must not be above cash_upper, got {self.cash_lower} and {self.cash_upper}"
            )

    def _rest(self, n: int) -> None:
        resting = tuple(sorted({int(i) for i in self.resting}))
        object.__setattr__(self, "resting", resting)
        if resting:
            if resting[0] < 0 or resting[-1] >= n:
                raise ProgramError("resting", f"must be positions below {n}")
            trade = np.array(self.trade, dtype=np.float64)
            if trade.shape == (n,):  # another shape is refused with the other arrays
                trade[list(resting)] = 0.0
                object.__setattr__(self, "trade", trade)

    def _arrays(self, n: int) -> None:
        vectors = [np.asarray(getattr(self, name), dtype=np.float64) for name in _VECTORS]
        for name, vector in zip(_VECTORS, vectors, strict=True):
            if vector.shape != (n,):
                raise ProgramError(name, f"must have shape ({n},), got {vector.shape}")
        factors = np.array(self.factors, dtype=np.float64, order="C")
        if factors.ndim != 2 or len(factors) != n:
            raise ProgramError("factors", f"must have shape ({n}, k), got {factors.shape}")
        rows = np.array(vectors)  # all in one, since NumPy takes its time for each call
        # NaN is the least and the largest of whatever it is among
        sound = np.minimum.reduce(rows, axis=1) >= _LEAST
        sound &= np.maximum.reduce(rows, axis=1) <= _LARGEST
        for name, vector in zip(_VECTORS, vectors, strict=True) if not sound.all() else ():
            self._check(name, vector)
        if not np.isfinite(factors).all():
            self._check("factors", factors)
        for array in (rows, factors):
            array.setflags(write=False)
        for name, row in zip(_VECTORS, rows, strict=True):
            object.__setattr__(self, name, row)
        object.__setattr__(self, "factors", factors)

    def _check(self, name: str, value: Array) -> None:
        """Tell an array's first bad number, where it has one."""
        bad = np.isnan(value) if name in _UNBOUNDED else ~np.isfinite(value)
        if name in _NONNEGATIVE:
            bad |= value < 0.0
        if bad.any():
            where = np.argwhere(bad)[0]
            kind = "not NaN" if name in _UNBOUNDED else "finite"
            sign = " and not negative" if name in _NONNEGATIVE else ""
            raise ProgramError(
                name, f"{self.assets[int(where[0])]}: must be {kind}{sign}, got {value[tuple(where)]}"
            )

    def _scalars(self) -> None:
        for name, (words, holds) in _ALLOWED.items():
            value = float(getattr(self, name))
            if not holds(value):
                raise ProgramError(name, f"must be {words}, got {value}")
            object.__setattr__(self, name, _one_zero(value))
        if self.risk_aversion == 0.0 and self.deviation_aversion == 0.0:
            raise ProgramError("risk_aversion", "must be positive where deviation_aversion is 0")


# Names of the arrays of a number an asset, and what is allowed: infinity, and nothing below 0.
_VECTORS = tuple(
    [field.name for field in fields(Program) if field.type == "Array" and field.name != "factors"]
)
_UNBOUNDED = frozenset({"trade", "holding", "active"})
_NONNEGATIVE = frozenset({"idiosyncratic", "linear_cost", "quadratic_cost", *_UNBOUNDED})
_MOST = float(np.finfo(np.float64).max)
_LEAST = np.array([0.0 if name in _NONNEGATIVE else -_MOST for name in _VECTORS])
_LARGEST = np.array([math.inf if name in _UNBOUNDED else _MOST for name in _VECTORS])

# What each number must be, in words and as a test.
_ALLOWED: dict[str, tuple[str, Callable[[float], bool]]] = {
    "risk_aversion": ("finite and not negative", lambda x: 0.0 <= x < math.inf),
    "deviation_aversion": ("finite and not negative", lambda x: 0.0 <= x < math.inf),
    "radius": ("finite and not negative", lambda x: 0.0 <= x < math.inf),
    "mean_ambiguity": ("finite and not negative", lambda x: 0.0 <= x < math.inf),
    "mean_evidence": ("finite and positive", lambda x: 0.0 < x < math.inf),
    "cash_lower": ("finite", math.isfinite),
    "cash_upper": ("finite", math.isfinite),
    "turnover": ("not negative, or infinity", lambda x: x >= 0.0),
    "volatility": ("positive, or infinity", lambda x: x > 0.0),
    "gross": ("not negative, or infinity", lambda x: x >= 0.0),
    "tracking": ("positive, or infinity", lambda x: x > 0.0),
}


def other_objective(
    program: Program, *, mean: Array, linear_cost: Array, quadratic_cost: Array, risk_aversion: float
) -> Program:
    """The programme with the same limits and without ambiguity, and this instead of its objective."""
    return replace(
        program,
        mean=mean,
        linear_cost=linear_cost,
        quadratic_cost=quadratic_cost,
        risk_aversion=risk_aversion,
        radius=0.0,
        mean_ambiguity=0.0,
        deviation_aversion=0.0,
    )
