"""Whatever a solver does, a decision comes, inside turnover and liquidity, and says what happened."""

from dataclasses import replace
from importlib import import_module
from unittest import mock

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from programmes import KINDS, programme

from stream_allocator.allocate import (
    GAP,
    PRIMAL,
    RUNGS,
    Group,
    Infeasible,
    SolverSettings,
    certificate,
    decide,
    dual,
    ladder,
    total_violation,
    violations,
)
from stream_allocator.allocate.certificate import allowed_gap
from stream_allocator.allocate.quadratic import solve_quadratic

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NaN and infinity go through NumPy

solving = import_module("stream_allocator.allocate.solve")  # the package has a function of that name
solve, solve_cold, linprog = solving.solve, dual.solve_cold, scipy.optimize.linprog


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def newton(change):
    """Newton's answer, spoilt."""
    return lambda program: change(solve_cold(program))


def osqp(change):
    """OSQP's answer, spoilt."""
    return lambda *args: change(solve_quadratic(*args))


def unsolved(*args, **kwargs):
    found = linprog(*args, **kwargs)
    found.x, found.status, found.message = None, 4, "numerical difficulties"
    return found


NEWTON = {
    "overflow": (
        raising(OverflowError("math range error")),
        "robust failed: OverflowError: math range error",
    ),
    "division": (raising(ZeroDivisionError("division by zero")), "robust failed: ZeroDivisionError"),
    "singular": (raising(np.linalg.LinAlgError("Singular matrix")), "robust failed: LinAlgError: Singular"),
    "gives up": (raising(RuntimeError("no step\nat all")), "robust failed: RuntimeError: no step;"),
    "silent": (raising(ValueError()), "robust failed: ValueError;"),
    "not converged": (newton(lambda a: replace(a, converged=False)), "not proven: osqp not_asked"),
    "NaN": (newton(lambda a: replace(a, weights=np.full_like(a.weights, np.nan))), "osqp refused"),
    "infinity": (newton(lambda a: replace(a, weights=np.full_like(a.weights, np.inf))), "osqp refused"),
    "outside its limits": (newton(lambda a: replace(a, weights=a.weights + 0.7)), "not proven"),
    "prices NaN": (newton(lambda a: replace(a, _eta=np.full_like(a._eta, np.nan))), ""),
    "prices infinite": (newton(lambda a: replace(a, _eta=np.full_like(a._eta, np.inf))), "not proven"),
    "infeasible": (raising(Infeasible(("turnover",), "says so")), "infeasible: says so"),
}
OSQP = {
    "gives up": (raising(RuntimeError("osqp refused the programme: error 4")), "osqp refused the programme"),
    "out of time": (
        osqp(lambda a: replace(a, status="maximum_iterations_reached")),
        "not proven: osqp maximum_iterations_reached, agreed False",
    ),
    "NaN": (osqp(lambda a: replace(a, weights=np.full_like(a.weights, np.nan))), "agreed False"),
    "another answer": (osqp(lambda a: replace(a, weights=0.0 * a.weights)), "osqp solved, agreed False"),
}
HIGHS = {"gives up": (unsolved, "numerical difficulties"), "overflow": (raising(OverflowError()), "Overflow")}


class Faults:
    """Solvers that are spoilt while this is entered."""

    def __init__(self, *, newton=None, osqp=None, highs=None):
        self._patches = [
            mock.patch.object(where, name, fault[0])
            for where, name, fault in (
                (dual, "solve_cold", newton),
                (solving, "solve_quadratic", osqp),
                (scipy.optimize, "linprog", highs),
            )
            if fault is not None
        ]

    def __enter__(self):
        for patch in self._patches:
            patch.start()

    def __exit__(self, *exception):
        for patch in self._patches:
            patch.stop()


def fine():
    """Nothing is broken, and something is to be gained."""
    return programme("smooth", 3, n=6, turnover=0.4, cash_upper=0.5, volatility=np.inf)


def broken(trade=np.inf):
    """A0 is too large, and a group too small."""
    p = programme("cash", 5, n=5, current=np.array([0.5, 0.1, 0.1, 0.1, 0.1]), upper=np.full(5, 0.3))
    groups = (Group("g", (1, 2), 0.25, 1.0),)
    return replace(p, trade=np.full(5, trade), turnover=0.5, volatility=np.inf, cash_upper=1.0, groups=groups)


def keeps_its_promises(p, decision):
    w, trade = decision.weights, np.abs(decision.weights - p.current)
    assert np.isfinite(w).all()
    assert trade.sum() <= p.turnover + 1e-12
    assert (trade <= p.trade + 1e-12).all()
    assert total_violation(p, w) <= total_violation(p, p.current) + 1e-12
    assert decision.reason
    return True


@pytest.mark.parametrize("fault", NEWTON.values(), ids=NEWTON)
def test_where_newton_fails_the_baseline_answers_and_the_reason_says_how(fault):
    p = fine()
    with Faults(newton=fault):
        decision = decide(p)
    assert keeps_its_promises(p, decision)
    assert fault[1] in decision.reason
    assert decision.rung == ("baseline" if "infeasible" not in fault[1] else decision.rung)
    assert violations(p, decision.weights) == {}


@pytest.mark.parametrize("fault", OSQP.values(), ids=OSQP)
def test_where_osqp_fails_or_disagrees_the_baseline_answers_and_the_reason_says_how(fault):
    p = fine()
    with Faults(osqp=fault):
        decision = decide(p)
    assert keeps_its_promises(p, decision)
    assert decision.rung == "baseline"
    assert fault[1] in decision.reason
    assert "nothing to restore" in decision.reason


@pytest.mark.parametrize(
    ("solver", "fault"),
    # OSQP's wrong answer may break so much that its lower objective is no disagreement
    [("newton", f) for f in NEWTON] + [("osqp", f) for f in OSQP if f != "another answer"],
)
def test_broken_limits_come_back_in_as_few_bars_without_newton_and_osqp(solver, fault):
    p, bars = broken(trade=0.08), 0
    with Faults(**{solver: (NEWTON if solver == "newton" else OSQP)[fault]}):
        while total_violation(p, p.current) > 1e-9:
            decision = decide(p)
            assert decision.rung == "restore"
            assert keeps_its_promises(p, decision)
            p, bars = replace(p, current=decision.weights), bars + 1
    assert bars == 3  # 0.2 too much, 0.08 at a time


@pytest.mark.parametrize("fault", HIGHS.values(), ids=HIGHS)
def test_where_highs_fails_as_well_the_baseline_breaks_no_more(fault):
    p = broken(trade=0.08)
    with Faults(highs=fault):
        decision = decide(p)
    assert keeps_its_promises(p, decision)
    assert decision.rung == "baseline"
    assert fault[1] in decision.reason


@pytest.mark.parametrize("call", range(6))
def test_a_fault_of_highs_at_any_one_call_costs_no_bar(call):
    p, bars, calls = broken(trade=0.08), 0, iter(range(1000))

    def now_and_then(*args, **kwargs):
        return (unsolved if next(calls) == call else linprog)(*args, **kwargs)

    with Faults(highs=(now_and_then, "")):
        while total_violation(p, p.current) > 1e-9:
            decision = decide(p)
            assert keeps_its_promises(p, decision)
            p, bars = replace(p, current=decision.weights), bars + 1
    assert bars == 3


def test_where_everything_fails_it_holds():
    p = broken(trade=0.08)
    failing = raising(FloatingPointError("spoilt"))
    with (
        Faults(newton=NEWTON["singular"], highs=HIGHS["overflow"]),
        mock.patch.object(ladder, "static_weights", failing),
    ):
        decision = decide(p)
    assert decision.rung == "hold"
    assert decision.weights.tobytes() == p.current.tobytes()
    assert decision.reason == (
        "robust failed: LinAlgError: Singular matrix; restore failed: OverflowError; "
        "baseline failed: FloatingPointError: spoilt; held"
    )


@pytest.mark.parametrize("spoilt", [np.nan, np.inf, 1e300])
def test_a_baseline_that_is_no_portfolio_is_not_taken(spoilt):
    p = fine()
    with (
        Faults(newton=NEWTON["singular"]),
        mock.patch.object(ladder, "static_weights", return_value=np.full(6, spoilt)),
    ):
        decision = decide(p)
    assert keeps_its_promises(p, decision)
    assert decision.rung in ("baseline", "hold")
    assert violations(p, decision.weights) == {}


@given(
    st.sampled_from(KINDS),
    st.integers(0, 300),
    st.sampled_from([None, *NEWTON]),
    st.sampled_from([None, *OSQP]),
    st.sampled_from([None, *HIGHS]),
    st.sampled_from([None, *RUNGS]),
    st.booleans(),
)
@settings(max_examples=40)
def test_no_mixture_of_faults_trades_or_breaks_too_much(
    kind, seed, by_newton, by_osqp, by_highs, force, drifted
):
    p, rng = programme(kind, seed), np.random.default_rng(seed)
    if drifted:
        p = replace(p, current=p.current * 1.4 + rng.normal(size=len(p.assets)) * 0.04)
    faults = Faults(newton=NEWTON.get(by_newton), osqp=OSQP.get(by_osqp), highs=HIGHS.get(by_highs))
    with faults:
        decision = decide(p, force=force)
        again = decide(p, force=force)
    assert keeps_its_promises(p, decision)
    assert (again.rung, again.reason, again.weights.tobytes()) == (
        decision.rung,
        decision.reason,
        decision.weights.tobytes(),
    )


@given(st.integers(0, 200), st.integers(0, 12), st.sampled_from(list(NEWTON)))
@settings(max_examples=30)
def test_a_fault_at_any_one_call_of_newton_does_no_harm(seed, call, fault):
    p = programme("two_caps", seed)
    p = replace(p, current=p.current * 1.3, turnover=0.1)
    calls = iter(range(1000))

    def now_and_then(program):
        return NEWTON[fault][0](program) if next(calls) == call else solve_cold(program)

    with Faults(newton=(now_and_then, "")):
        assert keeps_its_promises(p, decide(p))


def test_the_iteration_limit_is_a_number_and_no_clock():
    p = fine()
    first, second = (decide(p, settings=SolverSettings(max_iter=1)) for _ in range(2))
    assert first.rung == "baseline"
    assert "maximum_iterations_reached" in first.reason
    assert (first.reason, first.weights.tobytes()) == (second.reason, second.weights.tobytes())


@pytest.mark.parametrize("error", [TypeError("a bug"), KeyError("a bug"), MemoryError()])
def test_what_is_no_fault_of_numbers_is_not_swallowed(error):
    with Faults(newton=(raising(error), "")), pytest.raises(type(error)):
        decide(fine())


def test_osqp_refusing_a_programme_is_a_fault_like_others():
    p = fine()
    with pytest.raises(RuntimeError, match="refused"):
        solve_quadratic(p, np.nan, np.zeros(6), p.mean, SolverSettings())


# -- the gates of the robust rung ------------------------------------------------------------------


def with_weights(p, weights):
    """What the ladder makes of a solution that is all right but for its weights."""
    found = solve(p)
    with mock.patch.object(ladder, "solve", return_value=replace(found, weights=weights)):
        return decide(p)


@pytest.mark.parametrize("limit", ["upper", "turnover", "cash_lower"])
@pytest.mark.parametrize(("excess", "allowed"), [(0.5 * PRIMAL, True), (3.0 * PRIMAL, False)])
def test_no_limit_may_be_broken_by_more_than_1e_12(limit, excess, allowed):
    p = programme("smooth", 3, n=6, volatility=np.inf, cash_upper=1.0, trade=np.full(6, np.inf))
    w = solve(p).weights
    tight = {
        "upper": lambda: {"upper": np.where(np.arange(6) == w.argmax(), w.max() - excess, p.upper)},
        "turnover": lambda: {"turnover": float(np.abs(w - p.current).sum()) - excess},
        "cash_lower": lambda: {"cash_lower": 1.0 - float(w.sum()) + excess},
    }
    p = replace(p, **tight[limit]())
    name = f"upper[A{w.argmax()}]" if limit == "upper" else limit
    assert violations(p, w) == {name: pytest.approx(excess, rel=0.3)}
    decision = with_weights(p, w)
    assert (decision.rung == "robust") == allowed
    assert ("primal 3.0e-12" in decision.reason) != allowed


@pytest.mark.parametrize(("share", "rung"), [(0.5, "robust"), (2.0, "baseline")])
def test_no_gap_may_be_larger_than_1e_9_of_the_terms(share, rung):
    p = fine()
    found = solve(p)
    worse = 0.9 * found.weights + 0.1 * p.current  # inside all limits, which are convex
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        w = found.weights + middle * (worse - found.weights)
        gap = certificate(p, w, found.multipliers).gap
        low, high = (middle, high) if gap < share * allowed_gap(p, w) else (low, middle)
    w = found.weights + low * (worse - found.weights)
    assert 0.9 * share < certificate(p, w, found.multipliers).gap / allowed_gap(p, w) <= share
    assert allowed_gap(p, w) < 10.0 * GAP
    decision = with_weights(p, w)
    assert decision.rung == rung
    assert ("gap" in decision.reason) == (rung == "baseline")


# -- moments that cannot be used -------------------------------------------------------------------


def blank(p):
    n = len(p.assets)
    nothing = np.zeros(n)
    return replace(p, mean=nothing, factors=np.zeros((n, 0)), idiosyncratic=nothing, radius=0.0)


def test_without_moments_nothing_is_traded_where_nothing_is_broken():
    p = blank(fine())
    decision = decide(p, unusable="mean is NaN")
    assert decision.rung == "hold"
    assert decision.reason == "mean is NaN; nothing to restore; held"


@pytest.mark.parametrize("force", [None, "baseline"])
def test_without_moments_the_baseline_is_not_taken_either(force):
    p = blank(fine())
    assert decide(p, unusable="mean is NaN", force=force).rung == "hold"


def test_without_moments_broken_limits_still_come_back_in_the_fewest_bars():
    p, bars = blank(broken(trade=0.08)), 0
    while total_violation(p, p.current) > 1e-9:
        decision = decide(p, unusable="covariance is NaN")
        assert decision.rung == "restore"
        assert decision.reason.startswith("covariance is NaN; ")
        assert decision.solution is None
        assert keeps_its_promises(p, decision)
        p, bars = replace(p, current=decision.weights), bars + 1
    assert bars == 3
    assert decide(p, unusable="covariance is NaN").rung == "hold"
