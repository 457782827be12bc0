"""Small universes and event streams for tests."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from stream_allocator.codec import encode
from stream_allocator.engine import Engine
from stream_allocator.events import Allocation, ControlEvent, Input, Output, PositionEvent, ReturnEvent
from stream_allocator.policy import Policy
from stream_allocator.topology import Portfolio, Universe

DAY = 86_400_000_000
ASSETS = ("AAA", "BBB", "CCC", "DDD")


def policy(**sections: Any) -> Policy:
    """A policy that decides soon and often; sections are merged over its defaults."""
    budget = {"volatility": 0.2, "turnover": 0.4}
    data: dict[str, Any] = {
        "name": "test",
        "regime": {
            "warmup": 20,
            "horizon": 10,
            "mean_run": 100,
            "max_run": 64,
            "evidence": 10,
            "cooldown": 10,
        },
        "schedule": {"every": 10},
        "limits": {"upper": 0.5},
        "budgets": dict.fromkeys(("calm", "normal", "stressed", "transition"), budget),
    }
    for name, section in sections.items():
        data[name] = {**data[name], **section} if isinstance(data.get(name), dict) else section
    return Policy.model_validate(data)


def universe(
    assets: Sequence[str] = ASSETS, portfolios: Sequence[str] = ("core",), **kwargs: Any
) -> Universe:
    """A universe of a few assets; the first two are the group ``first``."""
    books = tuple(Portfolio(name=p, policy="unused.yaml") for p in portfolios)
    return Universe(
        name="u", assets=tuple(assets), groups={"first": tuple(assets[:2])}, portfolios=books, **kwargs
    )


def engine(portfolios: Sequence[str] = ("core",), **sections: Any) -> Engine:
    """An engine over :func:`universe` with :func:`policy` for every portfolio."""
    return Engine(universe(portfolios=portfolios), dict.fromkeys(portfolios, policy(**sections)))


def returns(bars: int, *, seed: int = 0, n: int = len(ASSETS), shift: int | None = None) -> np.ndarray:
    """Daily returns with one common factor; from bar ``shift`` on everything is four times as volatile."""
    rng = np.random.default_rng(seed)
    x = 0.006 * rng.standard_normal((bars, 1)) + 0.006 * rng.standard_normal((bars, n)) + 4e-4
    if shift is not None:
        x[shift:] *= 4.0
    return np.maximum(x, -0.9)


def tick(bar: int, x: Iterable[float], **changes: Any) -> ReturnEvent:
    """The cross-section of one bar."""
    values = tuple(float(v) for v in x)
    fields: dict[str, Any] = {
        "universe": "u",
        "source": "feed",
        "sequence": bar,
        "event_time": (bar + 1) * DAY,
        "assets": ASSETS[: len(values)],
        "returns": values,
    }
    return ReturnEvent(**(fields | changes))


def position(
    bar: int, sequence: int, values: Sequence[float], cash: float = 0.0, **changes: Any
) -> PositionEvent:
    """A snapshot after one bar."""
    fields: dict[str, Any] = {
        "universe": "u",
        "portfolio": "core",
        "source": "broker",
        "sequence": sequence,
        "event_time": (bar + 1) * DAY,
        "nav": float(sum(values)) + cash,
        "cash": cash,
        "assets": ASSETS[: len(values)],
        "market_values": tuple(float(v) for v in values),
    }
    return PositionEvent(**(fields | changes))


def control(bar: int, sequence: int, mode: Any, **changes: Any) -> ControlEvent:
    """An operator's mode change after one bar."""
    fields: dict[str, Any] = {
        "universe": "u",
        "portfolio": "core",
        "source": "cli",
        "sequence": sequence,
        "event_time": (bar + 1) * DAY,
        "mode": mode,
        "operator": "ann",
        "reason": "drill",
    }
    return ControlEvent(**(fields | changes))


def drive(machine: Engine, events: Iterable[Input]) -> list[Output]:
    """Apply events with offsets counted for each kind from where the list starts."""
    counts = {ReturnEvent: 0, PositionEvent: 0, ControlEvent: 0}
    outputs: list[Output] = []
    for event in events:
        outputs.extend(machine.apply(event, counts[type(event)]))
        counts[type(event)] += 1
    return outputs


def allocations(outputs: Iterable[Output]) -> list[Allocation]:
    """The allocations among outputs."""
    return [o for o in outputs if isinstance(o, Allocation)]


def wire(outputs: Iterable[Any]) -> list[bytes]:
    """The Avro bytes of outputs that have a schema."""
    return [encode(o) for o in outputs]
