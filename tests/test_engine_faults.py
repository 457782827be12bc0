"""The engine never stops: moments that are no numbers, spoilt solvers, stale data: records stay valid."""

from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from unittest import mock

import numpy as np
import pytest
import scipy.optimize
import worlds

from stream_allocator import intake
from stream_allocator.allocate import dual
from stream_allocator.audit import first_break
from stream_allocator.engine import Engine
from stream_allocator.events import AuditEntry, Evidence, Rejection
from stream_allocator.evidence import program_of
from stream_allocator.market import Market
from stream_allocator.verify import verify

N = len(worlds.ASSETS)


def decisions(outputs):
    """Each allocation with its evidence, all proven."""
    evidence = {o.decision_id: o for o in outputs if isinstance(o, Evidence)}
    found = [(a, evidence[a.decision_id]) for a in worlds.allocations(outputs)]
    for allocation, its_evidence in found:
        verdict = verify(allocation, its_evidence)
        assert verdict.passed, verdict
    return found


def run(spoil, extra=(), **sections):
    """60 bars; from the 30th to the 50th something is spoilt.  Decisions before, then and after."""
    machine = worlds.engine(**({"schedule": {"every": 2}} | sections))
    outputs = {"before": [], "then": [], "after": []}
    for i, x in enumerate(worlds.returns(60)):
        phase = "before" if i < 30 else "then" if i < 50 else "after"
        with spoil() if phase == "then" else nullcontext():
            for number, event in enumerate([*(e for at, e in extra if at == i), worlds.tick(i, x)]):
                outputs[phase] += machine.apply(event, i + number)
    assert first_break([o for given in outputs.values() for o in given if isinstance(o, AuditEntry)]) is None
    return {phase: decisions(given) for phase, given in outputs.items()}


def returning(name, value):
    return lambda: mock.patch.object(Market, name, return_value=value)


def raising(name, error):
    return lambda: mock.patch.object(Market, name, side_effect=error)


ONE_NAN = np.diag([0.04, 0.04, np.nan, 0.04])
SPOILT = {
    "NaN covariance": (returning("covariance", np.full((N, N), np.nan)), "covariance must be finite"),
    "one NaN": (returning("covariance", ONE_NAN), "covariance must be finite"),
    "infinite covariance": (returning("covariance", np.full((N, N), np.inf)), "covariance must be finite"),
    "negative variance": (returning("covariance", -np.eye(N)), "non-negative diagonal"),
    "huge covariance": (returning("covariance", 1e20 * np.eye(N)), "factors must be finite and not above"),
    "no covariance": (raising("covariance", np.linalg.LinAlgError("Singular matrix")), "Singular matrix"),
    "overflow": (raising("covariance", OverflowError("math range error")), "math range error"),
    "NaN mean": (returning("mean", (np.full(N, np.nan), 50.0)), "mean must be finite"),
    "infinite mean": (returning("mean", (np.array([0.1, np.inf, 0.1, 0.1]), 50.0)), "mean must be finite"),
    "no years": (returning("mean", (np.full(N, 0.08), np.nan)), "years must be finite"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT)
def test_without_moments_it_holds_says_so_and_goes_on_when_they_are_back(spoil, said):
    found = run(spoil)
    assert len(found["then"]) >= 10
    for allocation, evidence in found["then"]:
        assert allocation.rung == "hold"
        assert allocation.reason.startswith("moments unusable: ")
        assert said in allocation.reason
        assert allocation.turnover.traded == 0.0
        assert program_of(evidence).volatility == np.inf
    assert {a.rung for a, _ in found["before"] + found["after"]} == {"robust"}


@pytest.mark.parametrize("mode", ["baseline", "shadow"])
def test_without_moments_no_mode_trades(mode):
    found = run(SPOILT["NaN covariance"][0], extra=[(29, worlds.control(28, 0, mode))])
    assert {a.rung for a, _ in found["then"]} == {"hold"}
    assert {a.mode for a, _ in found["then"]} == {mode}


def test_a_covariance_that_cannot_be_computed_calls_for_no_decision():
    found = run(SPOILT["no covariance"][0], schedule={"every": 1000, "drift_wait": 1, "drift_band": 2.0})
    assert found["then"] == []


def test_without_moments_broken_limits_still_come_back():
    jump = worlds.position(34, 0, [900.0, 100.0, 0.0, 0.0])
    found = run(SPOILT["NaN covariance"][0], extra=[(35, jump)], turnover={"capacity": 5.0})
    assert {a.rung for a, _ in found["then"]} == {"hold", "restore"}  # drift breaks them again a little
    restored = next(a for a, _ in found["then"] if a.rung == "restore")
    assert restored.reason.startswith("moments unusable: ")
    assert restored.weights[0].current > 0.8
    assert max(w.target for w in restored.weights) <= 0.5 + 1e-12


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: mock.patch.object(dual, "solve_cold", side_effect=FloatingPointError("spoilt")),
        lambda: mock.patch.object(
            import_module("stream_allocator.allocate.solve"),
            "solve_quadratic",
            side_effect=RuntimeError("spoilt"),
        ),
    ],
    ids=["newton", "osqp"],
)
def test_with_a_spoilt_solver_the_baseline_decides_and_the_audit_knows_why(spoil):
    found = run(spoil)
    for allocation, _ in found["then"]:
        assert allocation.rung == "baseline"
        assert "spoilt" in allocation.reason
        assert sum(abs(w.trade) for w in allocation.weights) <= allocation.turnover.granted + 1e-12
    assert {a.rung for a, _ in found["after"]} == {"robust"}


def test_a_fault_in_what_is_only_told_leaves_the_decision_as_it_is():
    cash = (35, worlds.position(34, 0, [0.0, 0.0, 0.0, 0.0], cash=1000.0))
    answers = import_module("stream_allocator.answer")
    spoilt, sound = (
        run(spoil, extra=[cash])["then"]
        for spoil in (
            lambda: mock.patch.object(answers, "solve", side_effect=np.linalg.LinAlgError("spoilt")),
            nullcontext,
        )
    )
    assert [a.weights for a, _ in spoilt] == [a.weights for a, _ in sound]
    asked = {a.index: a.turnover.asked for a, _ in sound if a.turnover.asked > a.turnover.granted * 1.01}
    assert asked
    assert all(np.isnan(a.turnover.asked) for a, _ in spoilt if a.index in asked)


# -- stale data ------------------------------------------------------------------------------------


def test_after_a_year_without_a_bar_the_first_decision_is_as_proven_and_the_bucket_no_fuller_than_full():
    machine = worlds.engine(schedule={"every": 2})
    x = worlds.returns(60)
    ticks = [worlds.tick(i + (365 if i >= 40 else 0), row, sequence=i) for i, row in enumerate(x)]
    found = decisions(worlds.drive(machine, ticks))
    late = [a for a, _ in found if a.event_time > 400 * worlds.DAY]
    assert late
    assert all(a.turnover.bucket <= worlds.policy().turnover.capacity for a in late)


@pytest.mark.parametrize("silent", [[3], [0, 1, 2, 3]], ids=["one asset", "all"])
def test_assets_that_are_silent_for_long_are_named_and_lower_the_confidence(silent):
    x = worlds.returns(80)
    x[40:, silent] = np.nan
    ticks = [worlds.tick(i, row) for i, row in enumerate(x)]
    found = decisions(worlds.drive(worlds.engine(schedule={"every": 2}), ticks))
    fresh = [a for a, _ in found if a.event_time <= 40 * worlds.DAY]
    stale = [a for a, _ in found if a.event_time > 41 * worlds.DAY]
    assert len(stale) >= 19
    for allocation in stale:
        assert allocation.data_quality.missing == tuple(worlds.ASSETS[i] for i in silent)
        assert allocation.confidence.value <= 1.0 - len(silent) / N + 1e-12
        assert allocation.certificate.primal <= 1e-12
    assert all(a.data_quality.missing == () for a in fresh)


# -- numbers at the end of floating point ----------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("far", [1e3, 1e30, 1e99, 1e150, 1e308])
@pytest.mark.parametrize("at", [10, 30])
@mock.patch.object(intake, "LARGEST_RETURN", np.inf)  # else the intake refuses them
def test_no_return_however_large_stops_it(far, at):
    x = worlds.returns(50)
    x[at, 0] = far
    x[at + 2, 1] = -1.0
    ticks = [worlds.tick(i, row) for i, row in enumerate(x)]
    short = worlds.position(at - 1, 0, [1500.0, -400.0, 100.0, 0.0], cash=-200.0)
    ticks.insert(at, short)
    found = decisions(worlds.drive(worlds.engine(schedule={"every": 2}), ticks))
    assert len(found) >= 10
    for allocation, _ in found:
        assert np.isfinite([w.target for w in allocation.weights]).all()
        assert allocation.turnover.traded <= allocation.turnover.granted + 1e-12


def test_a_market_value_of_a_million_times_nav_is_refused():
    machine = worlds.engine()
    event = worlds.position(0, 0, [1e9, -1e9, 0.0, 0.0], cash=100.0, nav=100.0)
    _, rejection = machine.apply(event, 0)
    assert isinstance(rejection, Rejection)
    assert rejection.code == "invalid"
    _, *rest = machine.apply(replace(event, sequence=1, market_values=(9e7, -9e7, 0.0, 0.0)), 1)
    assert rest == []


def test_a_restart_in_the_middle_of_a_fault_changes_nothing():
    def play(restart):
        machine, outputs = worlds.engine(schedule={"every": 2}), []
        for i, x in enumerate(worlds.returns(45)):
            if restart and i == 38:
                machine = Engine.restore(machine.universe, machine.policies, machine.snapshot())
            with SPOILT["NaN mean"][0]() if i >= 30 else nullcontext():
                outputs += worlds.wire(machine.apply(worlds.tick(i, x), i))
        return outputs

    assert play(restart=True) == play(restart=False)


def test_without_highs_broken_limits_are_left_to_the_baseline():
    def spoilt():
        return mock.patch.object(scipy.optimize, "linprog", side_effect=RuntimeError("no linear programme"))

    found = run(spoilt, extra=[(35, worlds.position(34, 0, [1000.0, 0.0, 0.0, 0.0]))])
    broken = next(a for a, _ in found["then"] if a.rung != "robust")
    assert broken.rung == "baseline"
    assert "restore failed: RuntimeError: no linear programme" in broken.reason


# -- stale data ------------------------------------------------------------------------------------


def quiet(first, last, *, asset=1, seed=0, extra=(), **sections):
    """80 bars in which one asset does not report from ``first`` to ``last``: decisions by bar."""
    machine = worlds.engine(**({"schedule": {"every": 1}, "turnover": {"capacity": 5.0}} | sections))
    found = {}
    for i, x in enumerate(worlds.returns(80, seed=seed)):
        x = x.copy()
        if first <= i <= last:
            x[asset] = np.nan
        outputs = []
        for number, event in enumerate([*(e for at, e in extra if at == i), worlds.tick(i, x)]):
            outputs += machine.apply(event, i + number)
        for pair in decisions(outputs):
            found[i] = pair
    return found


def test_an_asset_that_is_silent_for_long_is_not_traded_until_it_reports():
    wild = {"regime": {"reference_half_life": 5.0}, "costs": {"linear_bps": 0.1}}
    found = quiet(40, 59, **wild)
    assert len(found) > 40
    traded = {i: abs(a.weights[1].trade) for i, (a, _) in found.items()}
    for i, (allocation, evidence) in found.items():
        stale = 44 <= i <= 59  # the fifth bar in a row
        assert ("not traded, silent for 5 bars: BBB" in allocation.reason) == stale
        assert (evidence.trade[1] == 0.0) == stale
        if stale:
            assert traded[i] == 0.0
    assert max(x for i, x in traded.items() if i < 44 or i > 59) > 0.0
    assert {a.rung for a, _ in found.values()} == {"robust"}


def test_a_stale_asset_that_breaks_its_limit_is_left_and_the_others_are_restored():
    jump = worlds.position(49, 0, [600.0, 400.0, 0.0, 0.0])
    bounds = {"upper": 0.5, "assets": {"BBB": {"upper": 0.3}}}
    found = quiet(40, 70, extra=[(50, jump)], limits=bounds)
    allocation, _ = found[50]
    assert allocation.rung == "restore"
    assert "left broken: upper[BBB]" in allocation.reason
    assert "silent for 5 bars: BBB" in allocation.reason
    assert allocation.weights[1].trade == 0.0
    assert allocation.weights[0].target <= 0.5 + 1e-12
    assert found[75][0].weights[1].target <= 0.3 + 1e-12
