"""The bounds that every replay of the stress library must keep.

Each follows from the policy's own limits and the tape, by an argument that is stated with it; none was fitted
to what came out. So they hold for any policy, and a run that breaks one has found a fault.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.run import PortfolioRun, Run
from stream_allocator.backtest.scenarios import Scenario, Tape
from stream_allocator.backtest.stress import Replay
from stream_allocator.backtest.transitions import (
    gross,
    largest,
    levels,
    transitions,
    turnover_of,
    worst_share,
)
from stream_allocator.book import MICROSECONDS_PER_YEAR
from stream_allocator.policy import Policy

__all__ = ["Bound", "judge"]

Array = NDArray[np.float64]

#: Sums of float64 may be off by this; limits themselves hold to 1e-12.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Bound:
    """One promise of a run.

    Attributes
    ----------
    name : str
    value : float
        What happened.
    limit : float
        What may happen.
    why : str
        Where the limit comes from.
    least : bool
        Whether the limit is a lower one.
    """

    name: str
    value: float
    limit: float
    why: str
    least: bool = False

    @property
    def holds(self) -> bool:
        """NaN keeps no promise."""
        return self.value >= self.limit - ROUNDING if self.least else self.value <= self.limit + ROUNDING


def judge(replayed: Replay) -> tuple[Bound, ...]:
    """All bounds of a replay: those of every run, and those of what its tape does."""
    account = _Account(replayed.run, replayed.run.portfolios[0])
    return (
        Bound(
            "decisions not proven", len(replayed.refuted), 0, "each is verified from its two records alone"
        ),
        *_trading(account),
        *_pace(account),
        *_ladder(account, replayed.scenario),
        *_bookkeeping(account),
        *_losses(account, replayed.tape),
    )


class _Account:
    """A run as arrays: what was held, earned, decided and filled, by bar.

    ``bars`` are those of the executable decisions, in order.
    """

    def __init__(self, run: Run, book: PortfolioRun) -> None:
        self.run, self.book, self.policy = run, book, book.policy
        self.decisions = [d for d in book.decisions if d.executable]
        self.bars = run.bars_of(self.decisions)
        self.traded = np.array([turnover_of(d) for d in self.decisions])
        self.moves = np.where(np.isfinite(run.returns), run.returns, 0.0)
        self.gross = gross(book)
        rate = run.cost_bps * 1e-4
        #: Cost of each bar's fill, at most, in units of the NAV before it.
        self.cost = rate * book.traded
        self.loss = np.concatenate(([0.0], 1.0 - book.nav[1:] / book.nav[:-1]))

    @property
    def horizon(self) -> int:
        """Bars after that of the first decision."""
        return len(self.run.times) - 1 - self.bars[0] if self.bars else 0

    def held(self, bar: int) -> Array:
        """Weights with which a bar began."""
        weights: Array = self.book.held[bar - 1] if bar > 0 else np.zeros(self.book.held.shape[1])
        return weights

    def drifted(self, weights: Array, bar: int) -> Array:
        """Weights after a bar's returns."""
        moved: Array = weights * (1.0 + self.moves[bar]) / (1.0 + float(weights @ self.moves[bar]))
        return moved

    def believed(self, i: int) -> Array:
        """What decision i has to start from: what is held, or where the last decision leads to if that was
        one bar before and is being filled at this bar's close; moved by the bar's returns.

        What else the account does at the bar itself, as paying out a delisted holding, is heard after it.
        """
        bar = self.bars[i]
        if i == 0 or self.bars[i - 1] < bar - 1:
            return self.drifted(self.held(bar), bar)
        return self.drifted(np.array([w.target for w in self.decisions[i - 1].weights]), bar)

    def exposed(self, bar: int) -> float:
        """Most that a bar could lose: exposure times the worst move against a holding, and the cost."""
        held = self.held(bar)
        against = float(np.max(-np.sign(held) * self.moves[bar], initial=0.0))
        return float(np.abs(held).sum()) * against + float(self.cost[bar])


def _trading(a: _Account) -> Iterator[Bound]:
    """What was traded, of what might be."""
    policy = a.policy
    grants = np.array([d.turnover.granted for d in a.decisions])
    times = np.array([d.event_time for d in a.decisions], dtype=np.int64)
    caps = [
        max(policy.budgets[d.regime.label].turnover, policy.turnover.start if d.trigger == "start" else 0.0)
        for d in a.decisions
    ]
    allowed = np.minimum(caps, levels(a.book, times)) if a.decisions else np.zeros(0)
    yield Bound(
        "trade above its grant",
        largest(a.traded - grants),
        0.0,
        "sum |target - current| of every decision, whatever rung",
    )
    yield Bound(
        "grant above the policy's",
        largest(grants - allowed),
        0.0,
        "the regime's turnover cap and the token bucket's level, recomputed from the policy and the trades",
    )
    yield Bound(
        "turnover of any stretch",
        _worst_stretch(policy, times, a.traded),
        1.0,
        "share of capacity + refill * time, and start with the first decision: the token bucket's law",
    )
    yield Bound(
        "switch's share of its budget",
        worst_share(transitions(a.run, a.book)),
        1.0,
        "traded / granted, and all that follows / (level + refill * time)",
    )
    yield Bound(
        "fill above trade and drift",
        largest(_fills_above(a)),
        0.0,
        "the triangle inequality: a fill goes from where a bar's returns have moved the holdings",
    )


def _worst_stretch(policy: Policy, times: NDArray[np.int64], traded: Array) -> float:
    """The largest share that the trades from one decision to another are of the budget of that time."""
    bucket = policy.turnover
    total = np.concatenate(([0.0], np.cumsum(traded)))
    worst = []
    for first in range(len(traded)):
        elapsed = (times[first:] - times[first]) / MICROSECONDS_PER_YEAR
        budget = bucket.capacity + bucket.refill_per_year * elapsed + (bucket.start if first == 0 else 0.0)
        worst.append(np.max((total[first + 1 :] - total[first]) / budget))
    return largest(np.array(worst))


def _fills_above(a: _Account) -> Array:
    """What each decision's fill traded beyond the decision, the drift until then and the cost paid."""
    beyond = []
    for i, (decision, bar, traded) in enumerate(zip(a.decisions, a.bars, a.traded, strict=True)):
        if bar + 1 < len(a.run.times):
            target = np.array([w.target for w in decision.weights])
            away = float(np.abs(a.drifted(a.book.held[bar], bar + 1) - a.believed(i)).sum())
            paid = float(a.cost[bar + 1]) * float(np.abs(target).sum())
            beyond.append(float(a.book.traded[bar + 1]) - traded - away - paid)
    return np.array(beyond)


def _pace(a: _Account) -> Iterator[Bound]:
    """How often it switched and decided."""
    schedule, cooldown = a.policy.schedule, a.policy.regime.cooldown
    switches = np.flatnonzero(a.run.regimes.switched)
    yield Bound(
        "bars between switches",
        float(np.diff(switches).min()) if len(switches) > 1 else math.inf,
        cooldown,
        "regime.cooldown",
        least=True,
    )
    waits = [
        bar - before
        for before, bar, d in zip(a.bars, a.bars[1:], a.decisions[1:], strict=False)
        if d.trigger == "drift"
    ]
    yield Bound(
        "bars before a drift decision",
        min(waits, default=math.inf),
        schedule.drift_wait,
        "drift_wait",
        least=True,
    )
    most = 1 + a.horizon // schedule.every + a.horizon // schedule.drift_wait
    most += a.horizon // cooldown + 1
    yield Bound(
        "decisions",
        len(a.decisions),
        most,
        "the start, one each `every` bars, one each `drift_wait` by drift, one each `cooldown` by a switch",
    )


def _ladder(a: _Account, scenario: Scenario) -> Iterator[Bound]:
    """By which rungs it answered, and that no trade limit was broken on any."""
    allowed = ", ".join(sorted(scenario.rungs))
    yield Bound(
        "decisions by other rungs",
        sum(d.rung not in scenario.rungs and d.turnover.granted > ROUNDING for d in a.decisions),
        0,
        f"{allowed}; holding is right where nothing is granted",
    )
    measured = [(d, b) for d, b in zip(a.book.decisions, a.book.breaches, strict=True) if d.executable]
    yield Bound(
        "trade limits broken",
        largest(np.array([b.trade for _, b in measured])),
        0.0,
        "turnover and liquidity hold on every rung",
    )
    yield Bound(
        "limits broken by the robust rung",
        largest(np.array([b.worst for d, b in measured if d.rung == "robust"])),
        0.0,
        "what can hold does; on other rungs verification shows that nothing is broken by more than before",
    )


def _bookkeeping(a: _Account) -> Iterator[Bound]:
    """Whether the engine knew what was held, and nothing was filled that was too old."""
    off, stale = [], []
    for i, (decision, bar) in enumerate(zip(a.decisions, a.bars, strict=True)):
        current = np.array([w.current for w in decision.weights])
        off.append(float(np.abs(current - a.believed(i)).sum()))
        if bar + 1 < len(a.run.times) and a.run.times[bar + 1] > decision.valid_until:
            stale.append(float(a.book.traded[bar + 1]))
    yield Bound(
        "holdings that the engine had wrong",
        largest(np.array(off)),
        0.0,
        "a decision starts from what the account holds, or is about to",
    )
    yield Bound("filled after its validity", largest(np.array(stale)), 0.0, "schedule.valid_seconds")
    if _long_only(a.policy):
        yield Bound(
            "largest exposure", float(a.gross.max()), 1.0, "long only, and neither drift nor costs make debt"
        )


def _long_only(policy: Policy) -> bool:
    limits = policy.limits
    lowest = min([limits.lower, *(b.lower for b in limits.assets.values())])
    return lowest >= 0.0 and limits.cash_lower >= 0.0


def _losses(a: _Account, tape: Tape) -> Iterator[Bound]:
    """That losses are what exposure makes of the moves, and no more."""
    beyond = [a.loss[bar] - a.exposed(bar) for bar in range(1, len(a.loss))]
    yield Bound(
        "loss of a bar beyond its exposure",
        largest(np.array(beyond)),
        0.0,
        "exposure before the bar times its worst move, and the cost of the fill",
    )
    if tape.flash:
        yield _flash(a, tape)
    elif tape.lost is not None:
        yield from _lost(a, tape.shocks[0], tape.lost)
    elif tape.shocks:
        bar = max(tape.shocks, key=lambda t: (a.exposed(t), t))
        yield Bound(
            "loss by the shock",
            float(a.loss[bar]),
            a.exposed(bar),
            f"exposure {a.gross[bar - 1]:.1%} times the worst move, and the cost of the fill",
        )
    if tape.gaps:
        yield _late(a, tape)


def _flash(a: _Account, tape: Tape) -> Bound:
    """What is sold at the bottom is not there for the way back; nothing else is lost."""
    first, last = tape.shocks[0], tape.shocks[-1]
    loss = 1.0 - float(a.book.nav[last] / a.book.nav[first - 1])
    sold = float(a.book.traded[first:last].sum())
    back = float(a.moves[last].max())
    return Bound(
        "loss by the way down and back",
        loss,
        sold * back + float(a.cost[first : last + 1].sum()),
        f"the rebound of {back:.1%} on the {sold:.1%} that was filled at the bottom, and costs",
    )


def _lost(a: _Account, bar: int, asset: int) -> Iterator[Bound]:
    """How much of an asset there was to lose, and that nobody trades what does not report."""
    name = a.run.universe.assets[asset]
    own = a.policy.limits.assets.get(name, a.policy.limits).upper
    filled = [t for t in range(bar) if a.book.traded[t] > 0.0]
    since, before, held = (filled[-1] if filled else 0), bar - 1, a.held(bar)
    growth = float(np.prod(1.0 + a.moves[since + 1 : bar, asset]) * a.book.nav[since] / a.book.nav[before])
    most = max(own, float(a.book.held[since, asset])) * growth
    yield Bound(
        f"held of {name} when it was lost",
        float(held[asset]),
        most,
        f"limits.upper {own:.1%} at the last fill, moved by prices since",
    )
    others = np.arange(len(held)) != asset
    against = float(np.max(-np.sign(held[others]) * a.moves[bar, others], initial=0.0))
    rest = float(np.abs(held[others]).sum())
    yield Bound(
        "loss by the shock",
        float(a.loss[bar]),
        most + rest * against + float(a.cost[bar]),
        f"that much of {name}, and the other {rest:.1%} times their worst move",
    )
    silent = bar + a.policy.schedule.stale_bars
    trades = [abs(d.weights[asset].trade) for d, at in zip(a.decisions, a.bars, strict=True) if at >= silent]
    yield Bound(f"traded of {name} once it is silent", max(trades, default=0.0), 0.0, "schedule.stale_bars")


def _late(a: _Account, tape: Tape) -> Bound:
    """A decision right before a gap that outlasts its validity is dropped."""
    times, valid = a.run.times, round(a.policy.schedule.valid_seconds * 1e6)
    due = [t for t in tape.gaps if t - 1 in a.bars and times[t] - times[t - 1] > valid]
    return Bound("stale decisions dropped", a.book.stale, len(due), "one before each such gap", least=True)
