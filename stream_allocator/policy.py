"""What the user decides: limits, risk budgets per regime, uncertainty, turnover and schedule.

A policy is one YAML file. Everything is checked before the first message is read; an error names the
file, the key, what is wrong and what is allowed.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stream_allocator.errors import ConfigurationError
from stream_allocator.events import RegimeLabel

__all__ = [
    "AssetCostPolicy",
    "BenchmarkPolicy",
    "BoundsPolicy",
    "BudgetPolicy",
    "CostPolicy",
    "GroupPolicy",
    "GrowthPolicy",
    "LimitPolicy",
    "MomentPolicy",
    "Policy",
    "RegimePolicy",
    "SchedulePolicy",
    "TurnoverPolicy",
    "UncertaintyPolicy",
    "load_model",
    "load_policy",
]

#: A topology of 10,000 universes is 8 MB: libyaml reads it in 2 s, plain Python in 16.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of a configuration file: unknown keys are errors, values cannot change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RegimePolicy(Section):
    """The change-point detector and how its posterior becomes a label. Shared by a universe."""

    mean_run: Annotated[
        float, Field(gt=1.0, description="expected bars between changes; hazard = 1/mean_run")
    ] = 250
    max_run: Annotated[int, Field(ge=16, le=4096, description="longest run length kept apart, bars")] = 256
    learn_hazard: Annotated[
        bool, Field(description="learn the universe's hazard among 1/4 to 4 times 1/mean_run")
    ] = False
    factors: Annotated[
        int, Field(ge=1, le=10, description="market factors that decide the universe's regime")
    ] = 2
    warmup: Annotated[int, Field(ge=2, description="observations that set each detector's prior, bars")] = 60
    horizon: Annotated[int, Field(ge=1, description="k of P(run length <= k), bars")] = 60
    threshold: Annotated[float, Field(gt=0.5, lt=1.0, description="P(run length <= horizon) of a switch")] = (
        0.9
    )
    dwell: Annotated[int, Field(ge=1, description="bars above the threshold before a switch")] = 3
    cooldown: Annotated[int, Field(ge=1, description="bars in which at most one switch can fire")] = 21
    evidence: Annotated[float, Field(ge=1.0, description="effective sample size below which: transition")] = (
        20
    )
    reference_half_life: Annotated[
        float, Field(gt=0, description="bars, of the long-run market volatility that labels compare with")
    ] = 1250
    outlier_df: Annotated[
        float | None, Field(gt=0, description="degrees of freedom of the robust weights; null: Gaussian")
    ] = 8
    stressed_enter: Annotated[float, Field(gt=1.0, description="segment over long-run volatility")] = 1.5
    stressed_exit: Positive = 1.25
    calm_enter: Positive = 0.75
    calm_exit: Positive = 0.85

    @property
    def weight_df(self) -> float:
        """`outlier_df` as a number: infinite for the Gaussian model."""
        return math.inf if self.outlier_df is None else self.outlier_df

    @property
    def hazards(self) -> tuple[float, ...]:
        """Candidates for the universe's hazard; one is a constant."""
        candidates = (0.25, 0.5, 1.0, 2.0, 4.0) if self.learn_hazard else (1.0,)
        return tuple(min(candidate / self.mean_run, 0.5) for candidate in candidates)

    @model_validator(mode="after")
    def _bands(self) -> Self:
        if not self.calm_enter < self.calm_exit <= self.stressed_exit < self.stressed_enter:
            raise ValueError(
                "bands must satisfy calm_enter < calm_exit <= stressed_exit < stressed_enter, got "
                f"{self.calm_enter}, {self.calm_exit}, {self.stressed_exit}, {self.stressed_enter}"
            )
        if self.factors >= self.warmup:
            raise ValueError(f"factors must be below warmup, got {self.factors} and {self.warmup}")
        if self.horizon >= self.max_run:
            raise ValueError(f"horizon must be below max_run, got {self.horizon} and {self.max_run}")
        return self


class MomentPolicy(Section):
    """Mean and covariance. Shared by a universe."""

    periods_per_year: Positive = 252
    factors: Annotated[int, Field(ge=1, description="columns of F in Sigma = F F' + diag(d)")] = 10
    premium: Annotated[
        float, Field(allow_inf_nan=False, description="prior mean return of every asset, a year")
    ] = 0.08
    premium_years: Annotated[
        float, Field(gt=0, description="years of evidence that the prior mean counts for")
    ] = 50


class BudgetPolicy(Section):
    """What one regime allows."""

    volatility: Annotated[float, Field(gt=0.0, description="cap on ex-ante volatility, a year")] = 0.12
    turnover: Annotated[float, Field(ge=0.0, description="cap on sum |trade| of one decision")] = 0.3
    risk_aversion: Positive = 5.0


class SchedulePolicy(Section):
    """When to decide."""

    every: Annotated[int, Field(ge=1, description="bars between scheduled decisions")] = 21
    grace_seconds: Annotated[
        float, Field(ge=0, description="event time that an incomplete bar is waited for")
    ] = 0
    drift_band: Annotated[float, Field(gt=0, description="sum |held - target| that calls for a decision")] = (
        0.2
    )
    risk_band: Annotated[
        float, Field(ge=0, description="relative excess over the volatility cap that does")
    ] = 0.1
    drift_wait: Annotated[
        int, Field(ge=1, description="bars after a decision before drift can call again")
    ] = 5
    valid_seconds: Annotated[
        float, Field(gt=0, description="event time for which a decision may be executed")
    ] = 5 * 86400
    stale_bars: Annotated[
        int, Field(ge=1, description="bars without a return after which an asset is not traded")
    ] = 5


class TurnoverPolicy(Section):
    """The token bucket: turnover over time, whatever triggers fire."""

    capacity: Annotated[float, Field(gt=0, description="most that the bucket holds, sum |trade|")] = 1.0
    refill_per_year: Positive = 1.5
    start: Annotated[float, Field(gt=0, description="turnover granted to the first decision")] = 1.0


class BoundsPolicy(Section):
    """Bounds on one weight."""

    lower: float = 0.0
    upper: float = 1.0

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.lower > self.upper:
            raise ValueError(f"lower must not be above upper, got {self.lower} and {self.upper}")
        return self


class GroupPolicy(BoundsPolicy):
    """Bounds on a group's weights; the members are the universe's."""

    long: Annotated[float | None, Field(ge=0.0, description="cap on the sum of what is held long")] = None
    gross: Annotated[float | None, Field(ge=0.0, description="cap on the sum of absolute weights")] = None


class BenchmarkPolicy(Section):
    """What the portfolio is measured against."""

    weights: Annotated[dict[str, float], Field(min_length=1, description="of NAV; others are 0")]
    active: Annotated[
        float | None, Field(ge=0.0, description="cap on |weight - benchmark's| of an asset")
    ] = None
    tracking_error: Annotated[
        float | None, Field(gt=0.0, description="cap on the volatility of the difference, a year")
    ] = None


class LimitPolicy(Section):
    """Hard limits, in units of NAV."""

    lower: Annotated[float, Field(ge=-1.0, le=1.0, description="of every weight")] = 0.0
    upper: Annotated[float, Field(ge=-1.0, le=1.0, description="of every weight")] = 0.15
    assets: dict[str, BoundsPolicy] = Field(default_factory=dict, description="own bounds of single assets")
    groups: dict[str, GroupPolicy] = Field(default_factory=dict)
    gross: Annotated[float | None, Field(gt=0.0, description="cap on the sum of absolute weights")] = None
    cash_lower: Annotated[
        float, Field(ge=-1.0, le=2.0, description="1 - net exposure; negative where money may be borrowed")
    ] = 0.0
    cash_upper: Annotated[
        float, Field(ge=-1.0, le=2.0, description="above 1 where the portfolio may be net short")
    ] = 1.0
    benchmark: BenchmarkPolicy | None = None
    participation: Annotated[
        float, Field(gt=0, le=1, description="share of average daily volume of one trade")
    ] = 0.1
    exit_days: Annotated[float, Field(gt=0, description="days at that participation to leave a holding")] = 20
    volume_half_life: Annotated[float, Field(gt=0, description="bars")] = 21
    minimum_trade: Annotated[float, Field(ge=0, le=1, description="a smaller trade is not made")] = 0.0

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.lower > self.upper:
            raise ValueError(f"lower must not be above upper, got {self.lower} and {self.upper}")
        if self.cash_lower > self.cash_upper:
            raise ValueError(
                f"cash_lower must not be above cash_upper, got {self.cash_lower}, {self.cash_upper}"
            )
        return self


class AssetCostPolicy(Section):
    """What trading one asset costs; what is not said is as for all."""

    linear_bps: Annotated[float | None, Field(ge=0, description="of the traded value")] = None
    quadratic_bps: Annotated[
        float | None, Field(ge=0, description="of the traded value, per unit of NAV traded")
    ] = None


class CostPolicy(Section):
    """What trading costs, and how long a trade is thought to be held."""

    linear_bps: Annotated[float, Field(ge=0, description="of the traded value")] = 10
    quadratic_bps: Annotated[
        float, Field(ge=0, description="of the traded value, per unit of NAV traded")
    ] = 0
    assets: dict[str, AssetCostPolicy] = Field(default_factory=dict, description="own costs of single assets")
    horizon_days: Annotated[
        float, Field(gt=0, description="bars over which the objective spreads the cost of a trade")
    ] = 5


class UncertaintyPolicy(Section):
    """How much ambiguity the programme guards against."""

    form: Annotated[
        Literal["wasserstein", "gelbrich"],
        Field(description="ball around the returns; gelbrich prices deviation and covers the mean as well"),
    ] = "wasserstein"

    budget: Annotated[float, Field(ge=0, description="in squared standard errors")] = 1.25
    mean_share: Annotated[
        Fraction,
        Field(
            description="of the budget that guards the mean: kappa^2 = budget * share, the rest the "
            "covariance: delta = budget * (1 - share) * variance / n_eff; gelbrich has one ball for both"
        ),
    ] = 0.2

    @property
    def mean(self) -> float:
        """kappa, in standard errors of the mean; 0 where the ball covers the mean."""
        return 0.0 if self.form == "gelbrich" else math.sqrt(self.budget * self.mean_share)

    @property
    def covariance(self) -> float:
        """The ball's part of the budget, in squared standard errors of the returns."""
        return self.budget if self.form == "gelbrich" else self.budget * (1.0 - self.mean_share)


class GrowthPolicy(Section):
    """The other allocator's view of the returns: samples, and how far from them the truth may be."""

    budget: Annotated[
        float, Field(ge=0, description="radius = budget / sqrt(n_eff), returns of a bar summed over assets")
    ] = 0.02
    window: Annotated[int, Field(ge=2, description="last bars, no more than regime.max_run")] = 252
    minimum_bars: Annotated[int, Field(ge=2, description="with fewer the robust allocator decides")] = 60


class SolverPolicy(Section):
    """How decisions are solved."""

    cross_check: Annotated[
        bool, Field(description="whether OSQP must agree with Newton; the certificate is checked either way")
    ] = True


Budgets = dict[RegimeLabel, BudgetPolicy]


class Policy(Section):
    """Everything that one portfolio's decisions depend on beside the data."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    regime: RegimePolicy = RegimePolicy()
    moments: MomentPolicy = MomentPolicy()
    schedule: SchedulePolicy = SchedulePolicy()
    turnover: TurnoverPolicy = TurnoverPolicy()
    budgets: Annotated[Budgets, Field(description="one for each regime label")]
    limits: LimitPolicy = LimitPolicy()
    costs: CostPolicy = CostPolicy()
    uncertainty: UncertaintyPolicy = UncertaintyPolicy()
    allocator: Annotated[
        Literal["robust", "growth"],
        Field(description="what the first rung solves; growth falls back to robust"),
    ] = "robust"
    growth: GrowthPolicy = GrowthPolicy()
    solver: SolverPolicy = SolverPolicy()
    baseline: Literal["inverse_volatility", "equal_risk_contribution"] = "inverse_volatility"

    @model_validator(mode="after")
    def _every_label(self) -> Self:
        missing = [x for x in ("calm", "normal", "stressed", "transition") if x not in self.budgets]
        if missing:
            raise ValueError(f"budgets must name every regime label; missing: {', '.join(missing)}")
        window, kept, least = self.growth.window, self.regime.max_run, self.growth.minimum_bars
        if self.allocator == "growth" and not least <= window <= kept:
            raise ValueError(
                f"growth.window must not be above regime.max_run, which is {kept}, nor below "
                f"growth.minimum_bars, which is {least}; got {window}"
            )
        if self.uncertainty.form == "gelbrich":
            open_ended = [label for label, b in self.budgets.items() if not math.isfinite(b.volatility)]
            if open_ended:
                raise ValueError(
                    "uncertainty.form gelbrich prices deviation at the volatility cap, which must be finite; "
                    f"it is not for: {', '.join(open_ended)}"
                )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the policy's canonical JSON: equal policies have equal digests."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


Model = TypeVar("Model", bound=BaseModel)


def load_model(model: type[Model], path: str | Path) -> Model:
    """Read and check one YAML file.

    Raises
    ------
    ConfigurationError
        For a missing file, YAML that does not parse, or values that are not allowed: one line for each,
        with the file, the key's path, what is wrong and what was given.
    """
    path = Path(path)
    try:
        data: Any = yaml.load(path.read_text("utf-8"), Loader=_SafeLoader)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except yaml.YAMLError as error:  # its text would show the line, whatever is in it
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
        raise ConfigurationError(f"{path}{where}: not YAML: {problem or 'it cannot be parsed'}") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: must be a mapping of keys to values, got {type(data).__name__}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(_lines(path, error)) from None  # its text would show every value


def _lines(path: Path, error: ValidationError) -> str:
    lines = []
    for e in error.errors():
        key = ".".join(str(part) for part in e["loc"]) or "(whole file)"
        # a password where none belongs is not shown
        hidden = e["loc"][:1] == ("security",) or e["loc"][:2] == ("wire", "registry")
        secret = hidden or e["type"] == "extra_forbidden"
        given = "" if secret or isinstance(e["input"], dict) else f" (got {e['input']!r})"
        lines.append(f"{path}: {key}: {e['msg'].removeprefix('Value error, ')}{given}")
    return "\n".join(lines)


def load_policy(path: str | Path) -> Policy:
    """Read and check a policy file; see :func:`load_model`."""
    return load_model(Policy, path)
