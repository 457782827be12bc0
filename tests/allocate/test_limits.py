"""One definition of each limit: rows, checker and published list say the same."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import Group, limit_states, limits_of, violations, volatility
from stream_allocator.allocate.limits import rows_of, values, worst_violation

kinds, seeds = st.sampled_from(KINDS), st.integers(0, 200)


def naive_violations(p, w):
    """Every limit written out by hand."""
    found = {}
    for i, a in enumerate(p.assets):
        found[f"lower[{a}]"] = p.lower[i] - w[i]
        found[f"upper[{a}]"] = w[i] - p.upper[i]
        found[f"liquidity[{a}]"] = abs(w[i] - p.current[i]) - p.trade[i]
        found[f"exit[{a}]"] = abs(w[i]) - p.holding[i]
        found[f"active[{a}]"] = abs(w[i] - p.benchmark[i]) - p.active[i]
    cash = 1.0 - sum(w)
    found["cash_lower"] = p.cash_lower - cash
    found["cash_upper"] = cash - p.cash_upper
    for g in p.groups:
        total = sum(w[i] for i in g.members)
        found[f"group_lower[{g.name}]"] = g.lower - total
        found[f"group_upper[{g.name}]"] = total - g.upper
        found[f"group_long[{g.name}]"] = sum(w[i] for i in g.members if w[i] > 0.0) - g.long
        found[f"group_gross[{g.name}]"] = sum(abs(w[i]) for i in g.members) - g.gross
    found["gross"] = sum(abs(w)) - p.gross
    found["turnover"] = sum(abs(w - p.current)) - p.turnover
    sigma = p.factors @ p.factors.T + np.diag(p.idiosyncratic)
    found["volatility"] = np.sqrt(w @ sigma @ w) - p.volatility
    found["tracking"] = np.sqrt((w - p.benchmark) @ sigma @ (w - p.benchmark)) - p.tracking
    return {name: x for name, x in found.items() if x > 0.0}


@given(kinds, seeds)
def test_violations_are_those_written_out_by_hand(kind, seed):
    p = programme(kind, seed)
    w = p.current + np.random.default_rng(seed).normal(size=len(p.assets)) * 0.1
    ours, hand = violations(p, w), naive_violations(p, w)
    rounding = 1e-14
    for name in ours.keys() | hand.keys():
        assert abs(ours.get(name, 0.0) - hand.get(name, 0.0)) <= rounding
    assert abs(worst_violation(p, w) - max(hand.values(), default=0.0)) <= rounding


def test_a_weight_that_is_no_number_does_not_count_as_inside():
    p = programme("plain", 0)
    w = p.current.copy()
    w[0] = np.nan
    assert not worst_violation(p, w) <= 1.0


@given(kinds, seeds)
def test_rows_are_the_cash_and_group_limits(kind, seed):
    p = programme(kind, seed)
    w = p.current + np.random.default_rng(seed).normal(size=len(p.assets)) * 0.1
    rows = rows_of(p)
    excess = dict(zip(rows.names, rows.values(w) - rows.bounds, strict=True))
    for limit, value in zip(limits_of(p), values(p, w), strict=True):
        if limit.name not in excess:
            continue
        assert abs(limit.sense * (value - limit.bound) - excess[limit.name]) <= 1e-14


def test_limits_without_a_bound_do_not_exist():
    p = programme(
        "fully_invested",
        0,
        n=4,
        turnover=np.inf,
        volatility=np.inf,
        groups=(Group("open", (0, 1), -np.inf, 0.7),),
    )
    names = [limit.name for limit in limits_of(p)]
    assert "turnover" not in names
    assert "volatility" not in names
    assert "liquidity[A0]" not in names
    assert "group_lower[open]" not in names
    assert "group_upper[open]" in names
    assert names[:4] == [f"lower[A{i}]" for i in range(4)]


def test_kinds_and_scopes_are_the_published_ones():
    p = programme("everything_binds", 1, n=6)
    kinds_found = {limit.kind for limit in limits_of(p)}
    assert kinds_found <= {
        "box_lower",
        "box_upper",
        "cash_lower",
        "cash_upper",
        "group_lower",
        "group_upper",
        "turnover",
        "liquidity",
        "volatility",
    }
    by_name = {limit.name: limit for limit in limits_of(p)}
    assert by_name["upper[A2]"].scope == "A2"
    assert by_name["group_upper[first]"].scope == "first"
    assert by_name["turnover"].scope == ""


def test_all_that_binds_is_told_and_the_nearest_that_does_not():
    p = programme(
        "fully_invested",
        0,
        n=3,
        current=np.array([0.2, 0.3, 0.5]),
        upper=np.array([0.2, 0.9, 0.55]),
        lower=np.zeros(3),
        volatility=np.inf,
        groups=(),
    )
    w = np.array([0.2, 0.3, 0.5])
    told = limit_states(p, w, {"upper[A0]": 0.07}, nearest=1)
    assert [(s.name, s.binding) for s in told] == [
        ("upper[A0]", True),
        ("upper[A2]", False),  # slack .05 of a width of .55 is the nearest
        ("cash_lower", True),
        ("cash_upper", True),
    ]
    assert told[0].shadow_price == 0.07
    assert told[1].shadow_price == 0.0
    assert told[1].value == 0.5
    assert len(limit_states(p, w, {}, nearest=100)) == len(limits_of(p))


def test_a_broken_limit_is_told_with_its_value():
    p = programme("cash", 0, n=2, volatility=0.01, turnover=np.inf)
    w = np.array([0.3, 0.3])
    state = next(s for s in limit_states(p, w, {}) if s.name == "volatility")
    assert state.binding
    assert state.value == volatility(p, w) > 0.01


@given(kinds, seeds, st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf]))
def test_the_values_of_sums_are_those_of_numpy_bit_for_bit(kind, seed, odd):
    p = programme(kind, seed)
    w = np.random.default_rng(seed).normal(size=len(p.assets)).round(1)  # with ties
    w[seed % len(w)] = odd
    with np.errstate(invalid="ignore"):
        found = dict(zip([limit.name for limit in limits_of(p)], values(p, w), strict=True))
        hand = {"gross": np.abs(w).sum(), "turnover": np.abs(w - p.current).sum()}
        hand |= {name: 1.0 - w.sum() for name in ("cash_lower", "cash_upper")}
        for g in p.groups:
            held = w[list(g.members)]
            hand |= {f"group_{side}[{g.name}]": held.sum() for side in ("lower", "upper")}
            hand[f"group_long[{g.name}]"] = np.maximum(held, 0.0).sum()
            hand[f"group_gross[{g.name}]"] = np.abs(held).sum()
    for name in found.keys() & hand.keys():
        assert np.array_equal(found[name], hand[name], equal_nan=True), name


def test_bounds_that_are_equal_are_the_same_to_the_last_bit():
    one = programme("plain", 0, n=2, cash_lower=-0.0, groups=(Group("g", (0,), -0.0, 0.5),))
    other = programme("plain", 0, n=2, cash_lower=0.0, groups=(Group("g", (0,), 0.0, 0.5),))
    for p in (one, other):  # whichever came first
        assert not any(np.signbit(limit.bound) for limit in limits_of(p))
        assert not np.signbit(p.cash_lower)
        assert not np.signbit(p.groups[0].lower)
