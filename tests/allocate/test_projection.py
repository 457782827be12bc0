"""The nearest weights, and the safe trade towards a target."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import project, total_violation, towards, violations, volatility
from stream_allocator.allocate.limits import rows_of
from stream_allocator.allocate.projection import _Row

kinds, seeds = st.sampled_from(KINDS), st.integers(0, 200)
SOFT = ("lower", "upper", "cash", "group")


def broken(p, w):
    return {name: x for name, x in violations(p, w).items() if name.startswith(SOFT) and x > 1e-12}


@given(kinds, seeds)
def test_no_feasible_weights_are_nearer_than_the_projection(kind, seed):
    p = programme(kind, seed)
    rng = np.random.default_rng(seed)
    target = p.current + rng.normal(size=len(p.assets)) * 0.3
    nearest = project(p, target)
    if broken(p, nearest):  # the limits contradict each other
        return
    for _ in range(10):  # the variational inequality of a projection
        other = project(p, p.current + rng.normal(size=len(p.assets)) * 0.3)
        assert (target - nearest) @ (other - nearest) <= 1e-10


@given(kinds, seeds)
def test_feasible_weights_are_their_own_projection(kind, seed):
    p = programme(kind, seed)
    w = project(p, p.current)
    if not broken(p, w):
        np.testing.assert_allclose(project(p, w), w, atol=1e-12)


@given(
    st.integers(0, 2000),
    st.sampled_from([(-1.0, 0.0), (1.0, 0.0), (1.0, 0.5), (1.0, 1.0)]),  # lower, upper, long, gross
    st.floats(-1.0, 1.0),
)
def test_a_rows_price_is_the_root_that_bisection_finds(seed, row, bound):
    sign, kind = row
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 8))
    normal = np.where(rng.random(n) < 0.7, sign, 0.0)
    x = np.round(rng.normal(size=n), int(rng.integers(0, 3)))  # ties now and then
    lower = x * 0 - rng.uniform(0, 1, n)
    upper = lower + rng.uniform(0, 1.5, n) * (rng.random(n) < 0.9)
    magnitude = np.where(normal == 0.0, 0.0, kind)
    normal = normal * (1.0 - kind)
    shrink = np.where(rng.random(n) < 0.5, rng.uniform(0.0, 0.5, n), 0.0)
    price = _Row(x, shrink, lower, upper, normal, magnitude).price(bound)

    def total(p):
        pulled = x - p * normal
        v = np.clip(np.sign(pulled) * np.maximum(np.abs(pulled) - shrink - p * magnitude, 0.0), lower, upper)
        return normal @ v + magnitude @ np.abs(v)

    assert price >= 0.0
    if total(0.0) <= bound:
        assert price == 0.0
    elif total(1e6) > bound + 1e-12:  # out of reach: as far as it goes
        assert total(price) <= total(1e6) + 1e-12
    else:
        assert abs(total(price) - bound) <= 1e-12


@given(kinds, seeds, st.floats(0.0, 2.0))
def test_a_trade_towards_any_target_keeps_every_promise(kind, seed, far):
    p = programme(kind, seed)
    target = p.current + far * np.random.default_rng(seed).normal(size=len(p.assets))
    w = towards(p, target)
    trade = np.abs(w - p.current)
    assert trade.sum() <= p.turnover + 1e-12
    assert (trade <= p.trade + 1e-12).all()
    before, after = violations(p, p.current), violations(p, w)
    for name, excess in after.items():  # limit by limit, not only in total
        assert excess <= before.get(name, 0.0) + 1e-12
    assert total_violation(p, w) <= total_violation(p, p.current) + 1e-12


def test_a_target_within_reach_is_reached():
    p = programme("cash", 0, n=4, turnover=np.inf, trade=np.full(4, np.inf), volatility=np.inf)
    target = np.array([0.1, 0.2, 0.0, 0.05])
    assert towards(p, target).tobytes() == target.tobytes()
    half = programme("cash", 0, n=4, trade=np.full(4, np.inf), volatility=np.inf, cash_upper=1.0)
    asked = np.abs(target - half.current).sum()
    short = towards(programme("cash", 0, n=4, turnover=asked / 2, trade=np.full(4, np.inf)), target)
    np.testing.assert_allclose(short, half.current + (target - half.current) / 2, atol=1e-15)


def test_the_volatility_cap_stops_the_trade_where_it_is_met():
    p = programme("cash", 0, n=4, turnover=np.inf, trade=np.full(4, np.inf), current=np.zeros(4))
    target = np.full(4, 0.25)
    free = volatility(p, target)
    capped = programme(
        "cash", 0, n=4, turnover=np.inf, trade=np.full(4, np.inf), current=np.zeros(4), volatility=free / 2
    )
    w = towards(capped, target)
    np.testing.assert_allclose(w, target / 2, rtol=1e-12)


def test_rows_of_the_projection_are_those_of_the_programme():
    p = programme("everything_binds", 5, n=9)
    rows = rows_of(p)
    w = project(p, np.ones(9))
    assert (rows.normals @ w <= rows.bounds + 1e-12).all()
