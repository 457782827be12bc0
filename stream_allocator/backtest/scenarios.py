"""What may go wrong with prices, as tapes that can be replayed: each a pure function of a seed and a policy.

The policy only sets the time scale: how long the warm-up is, when scheduled decisions fall, how fast the
detector is. What happens on a tape does not depend on what the policy does.

Synthetic tapes share one quiet world, from which each departs in one respect. Daily, on weekdays, after the
warm-up and a year:

    r_it = beta_i m_t + s_i e_it,   beta_i in [.6, 1.4],  s_i in [.9%, 1.8%],  sd(m) = .9% a day

with market m and own noise e Student-t of 5 degrees of freedom and a drift of 8% a year. The two crises are
cut from the bundled history and are the same at every seed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stream_allocator.backtest.periods import Period
from stream_allocator.backtest.prices import Prices, bundled
from stream_allocator.events import Rung
from stream_allocator.market import universe_detector
from stream_allocator.policy import Policy

__all__ = ["SCENARIOS", "Scenario", "Tape", "detection_delay"]

Array = NDArray[np.float64]

#: Bars of quiet after the warm-up, and bars that are watched after the shock.
YEAR, HALF_YEAR = 252, 126
MARKET_VOLATILITY, DRIFT, TAILS = 0.009, 0.08 / 252, 5.0
STORM = 3.0
"""How much more volatile everything is where volatility jumps."""

#: Rungs that solve something.
SOLVED: frozenset[Rung] = frozenset({"robust", "restore"})

_FIRST_DAY = np.datetime64("2001-01-01")


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Prices with what is known of them beforehand.

    Attributes
    ----------
    prices : Prices
    shocks : tuple of int
        Bars of the run (rows of ``prices.returns()``) whose returns are the shock; empty where the whole tape
        is.
    lost : int or None
        The asset that goes to zero at the shock.
    flash : bool
        The shocks are a fall, days without a move, and the exact way back.
    gaps : tuple of int
        Bars whose returns span days for which there is no bar.
    """

    prices: Prices
    shocks: tuple[int, ...] = ()
    lost: int | None = None
    flash: bool = False
    gaps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named tape.

    Attributes
    ----------
    name : str
    story : str
        How the tape is made, in a sentence.
    build : callable
        ``(seed, policy, assets) -> Tape``.
    rungs : frozenset of str
        Of the ladder that may answer while there is a grant to trade with: a solver has no excuse but data
        that say nothing.
    """

    name: str
    story: str
    build: Callable[[int, Policy, tuple[str, ...]], Tape]
    rungs: frozenset[Rung] = SOLVED


@dataclass(slots=True, eq=False)
class _World:
    """The quiet world in its parts; bar ``lead`` is the first after the warm-up and a year."""

    lead: int
    market: Array
    beta: Array
    own: Array

    def returns(self) -> Array:
        """Shape (T, n); never a fall of more than 90%."""
        return np.maximum(self.market[:, None] * self.beta + self.own, -0.9)


def _quiet(seed: int, policy: Policy, assets: int, bars: int = HALF_YEAR) -> _World:
    rng = np.random.Generator(np.random.PCG64(seed))
    lead = policy.regime.warmup + YEAR
    beta, noise = rng.uniform(0.6, 1.4, assets), rng.uniform(0.009, 0.018, assets)
    # one row a bar, so that a longer world begins as a shorter one; variance one
    shocks = rng.standard_t(TAILS, (lead + bars, 1 + assets)) * np.sqrt((TAILS - 2.0) / TAILS)
    market, own = DRIFT + MARKET_VOLATILITY * shocks[:, 0], noise * shocks[:, 1:]
    return _World(lead, market, beta, own)


def _tape(
    name: str,
    assets: tuple[str, ...],
    returns: Array,
    *,
    shocks: tuple[int, ...] = (),
    lost: int | None = None,
    flash: bool = False,
) -> Tape:
    """Closes of 100 and what the returns make of them, on consecutive weekdays."""
    growth = np.cumprod(1.0 + np.nan_to_num(returns), axis=0)
    closes = 100.0 * np.vstack((np.ones(len(assets)), growth))
    closes[1:][~np.isfinite(returns)] = np.nan
    days = np.busday_offset(_FIRST_DAY, np.arange(len(closes)))
    times = days.astype("datetime64[us]").astype(np.int64)
    return Tape(Prices(name, assets, times, closes), shocks, lost, flash)


def gap_1987(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """Everything loses 20% at once; then volatility is four times as high and halves every month."""
    world = _quiet(seed, policy, len(assets))
    returns, lead = world.returns(), world.lead
    returns[lead + 1 :] *= 1.0 + STORM * 0.5 ** (np.arange(HALF_YEAR - 1)[:, None] / 21.0)
    returns = np.maximum(returns, -0.9)
    returns[lead] = -0.20
    return _tape("gap-1987", assets, returns, shocks=(lead,))


def flash_crash(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """Everything falls by 12%, stands still for a day, and is back at the close after that."""
    world = _quiet(seed, policy, len(assets))
    returns, lead = world.returns(), world.lead
    returns[lead : lead + 3] = np.array([[-0.12], [0.0], [1.0 / 0.88 - 1.0]])
    return _tape("flash-crash", assets, returns, shocks=(lead, lead + 1, lead + 2), flash=True)


def correlated_jump(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """Everything jumps together by beta times -10%, and a month later by +6%; for two months correlation is
    near 1: the market moves 2.5 times as much, what is an asset's own a fifth as much."""
    world = _quiet(seed, policy, len(assets))
    lead = world.lead
    world.market[lead : lead + 42] *= 2.5
    world.own[lead : lead + 42] *= 0.2
    world.market[lead], world.market[lead + 21] = -0.10, 0.06
    return _tape("correlated-jump", assets, world.returns(), shocks=(lead, lead + 21))


def asset_to_zero(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """The calmest asset, which every rule on risk holds much of, is worth nothing at once and has no close
    any more."""
    world = _quiet(seed, policy, len(assets))
    returns, lead = world.returns(), world.lead
    lost = int(np.argmin(returns[:lead].std(axis=0)))
    returns[lead, lost] = -0.9999
    returns[lead + 1 :, lost] = np.nan
    return _tape("asset-to-zero", assets, returns, shocks=(lead,), lost=lost)


def feed_gap(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """No bar for 5 weekdays, twice: right after a scheduled decision, which is then too old to be filled, and
    in between two. The returns of the first bar after a gap span it. Volatility triples a week before the
    first and stays, so that there is something to decide."""
    lead, every = policy.regime.warmup + YEAR, policy.schedule.every
    first = policy.regime.warmup - 1
    decided = first + every * -(-(lead - first) // every)
    world = _quiet(seed, policy, len(assets), decided - lead + every + HALF_YEAR)
    returns = world.returns()
    returns[decided - 4 :] *= STORM
    tape = _tape("feed-gap", assets, np.maximum(returns, -0.9))
    kept = np.ones(len(tape.prices.times), dtype=np.bool_)
    after = []
    for last in (decided, decided + every // 2 + 12):
        kept[last + 2 : last + 7] = False  # close t + 1 ends bar t
        after.append(int(kept[1 : last + 7].sum()))
    cut = Prices("feed-gap", assets, tape.prices.times[kept], tape.prices.closes[kept])
    return Tape(cut, shocks=tuple(after), gaps=tuple(after))


def stuck_prices(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """A vendor repeats the last closes for 20 days; then they are at once where they would have been."""
    world = _quiet(seed, policy, len(assets))
    returns, lead = world.returns(), world.lead
    returns[lead + 20] = np.prod(1.0 + returns[lead : lead + 21], axis=0) - 1.0
    returns[lead : lead + 20] = 0.0
    return _tape("stuck-prices", assets, returns, shocks=(lead + 20,))


def ping_pong_delay(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """Volatility triples and falls back every so many bars as the detector needs to see it triple."""
    return _ping_pong("ping-pong-delay", seed, policy, assets, detection_delay(seed, policy, len(assets)))


def ping_pong_cooldown(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """Volatility triples and falls back as often as the cool-down lets a switch happen."""
    return _ping_pong("ping-pong-cooldown", seed, policy, assets, policy.regime.cooldown)


def _ping_pong(name: str, seed: int, policy: Policy, assets: tuple[str, ...], half: int) -> Tape:
    bars = max(YEAR, 6 * half)
    world = _quiet(seed, policy, len(assets), bars)
    returns = world.returns()
    stormy = np.flatnonzero(np.arange(bars) // half % 2 == 0)
    returns[world.lead + stormy] *= STORM
    return _tape(name, assets, np.maximum(returns, -0.9))


def detection_delay(seed: int, policy: Policy, assets: int) -> int:
    """Bars from a tripling of volatility to the alarm, ``dwell`` included; the horizon without one."""
    world, rule = _quiet(seed, policy, assets), policy.regime
    returns = world.returns()
    returns[world.lead :] *= STORM
    detector, _ = universe_detector(assets, rule)
    above = 0
    for bar, row in enumerate(returns):
        detector.update(row)
        above = above + 1 if detector.posterior.probability_at_most(rule.horizon) >= rule.threshold else 0
        if bar >= world.lead and above >= rule.dwell:
            return bar - world.lead + 1
    return rule.horizon


def crisis_2008(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """The bundled closes from July 2007 to June 2009, after the warm-up and a year."""
    return _history(Period("crisis-2008", date(2007, 7, 1), date(2009, 7, 1)), policy, assets)


def crisis_2020(seed: int, policy: Policy, assets: tuple[str, ...]) -> Tape:
    """The bundled closes of 2020, after the warm-up and a year."""
    return _history(Period("crisis-2020", date(2020, 1, 1), date(2021, 1, 1)), policy, assets)


def _history(period: Period, policy: Policy, assets: tuple[str, ...]) -> Tape:
    prices = bundled().select(assets)
    bars = period.bars(prices.times)
    kept = slice(max(0, bars.start - policy.regime.warmup - YEAR - 1), bars.stop)
    return Tape(Prices(period.name, assets, prices.times[kept], prices.closes[kept]))


def _scenarios() -> dict[str, Scenario]:
    anything: frozenset[Rung] = SOLVED | {"baseline", "hold"}
    tapes = (
        gap_1987,
        crisis_2008,
        crisis_2020,
        flash_crash,
        ping_pong_delay,
        ping_pong_cooldown,
        correlated_jump,
        asset_to_zero,
        feed_gap,
        stuck_prices,
    )
    return {
        name: Scenario(name, " ".join((build.__doc__ or "").split()), build, rungs)
        for build, rungs in ((build, anything if build is stuck_prices else SOLVED) for build in tapes)
        for name in (build.__name__.replace("_", "-"),)
    }


#: The library, by name.
SCENARIOS: Mapping[str, Scenario] = MappingProxyType(_scenarios())
