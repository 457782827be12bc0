"""The engine repeats bit for bit, never moves on bad input, and keeps every limit."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_allocator.audit import first_break
from stream_allocator.codec import digest, encode
from stream_allocator.engine import Engine
from stream_allocator.errors import ConfigurationError, SnapshotError
from stream_allocator.events import AuditEntry, Evidence, RegimeUpdate, Rejection

BARS = 80


def history(bars=BARS, **kwargs):
    return [worlds.tick(i, x) for i, x in enumerate(worlds.returns(bars, **kwargs))]


@pytest.fixture(scope="module")
def outputs():
    events = history(200, shift=100)
    events.insert(60, worlds.position(58, 0, [300, 300, 200, 100], cash=100))
    events.insert(170, worlds.control(168, 0, "baseline"))
    return worlds.drive(worlds.engine(), events)


def test_the_engine_imports_no_kafka():
    code = "import sys, stream_allocator.engine; sys.exit('confluent_kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_same_events_give_the_same_bytes():
    runs = [worlds.wire(worlds.drive(worlds.engine(), history(shift=50))) for _ in range(2)]
    assert runs[0] == runs[1]


@settings(max_examples=8)
@given(st.integers(0, BARS))
def test_a_restored_snapshot_goes_on_bit_for_bit(cut):
    events = history(shift=40)
    machine = worlds.engine()
    worlds.drive(machine, events[:cut])
    twin = Engine.restore(machine.universe, machine.policies, machine.snapshot())
    assert twin.snapshot() == machine.snapshot()
    for offset, event in enumerate(events[cut:], start=cut):
        assert worlds.wire(twin.apply(event, offset)) == worlds.wire(machine.apply(event, offset))
    assert twin.chain == machine.chain


def test_single_ticks_and_cross_sections_decide_alike():
    x = worlds.returns(60)
    whole = worlds.allocations(worlds.drive(worlds.engine(), history(60)))
    singles = [
        worlds.tick(i, row, assets=(a,), returns=(float(row[j]),), sequence=i * 4 + j)
        for i, row in enumerate(x)
        for j, a in enumerate(worlds.ASSETS)
    ]
    parts = worlds.allocations(worlds.drive(worlds.engine(), singles))
    assert [a.weights for a in parts] == [a.weights for a in whole]


def test_one_regime_update_for_each_bar(outputs):
    updates = [o for o in outputs if isinstance(o, RegimeUpdate)]
    assert [u.bar for u in updates] == list(range(200))
    named = [d for u in updates for d in u.decisions]
    assert named == [a.decision_id for a in worlds.allocations(outputs)]


def test_decisions_come_for_every_reason(outputs):
    triggers = {a.trigger for a in worlds.allocations(outputs)}
    assert triggers >= {"start", "schedule", "regime_switch", "control"}


def test_the_first_decision_waits_for_the_warm_up():
    outputs = worlds.drive(worlds.engine(), history(30))
    first = worlds.allocations(outputs)[0]
    assert first.trigger == "start"
    assert first.event_time == 20 * worlds.DAY


def test_a_drift_decision_follows_a_large_move():
    events = history(28)
    events.append(worlds.tick(28, [0.9, -0.5, -0.5, -0.5]))
    assert worlds.allocations(worlds.drive(worlds.engine(), events))[-1].trigger in {"drift", "regime_switch"}


def test_every_limit_holds_in_every_published_allocation(outputs):
    for a in worlds.allocations(outputs):
        if a.rung != "robust":
            continue
        weights = np.array([w.target for w in a.weights])
        assert a.certificate.primal <= 1e-9
        assert (weights >= -1e-9).all()
        assert (weights <= 0.5 + 1e-9).all()
        assert a.turnover.traded <= a.turnover.granted + 1e-9
        assert abs(weights.sum() + a.cash - 1.0) <= 1e-12


def test_turnover_never_exceeds_the_grant_on_any_rung(outputs):
    for a in worlds.allocations(outputs):
        assert sum(abs(w.trade) for w in a.weights) <= a.turnover.granted + 1e-9


def test_turnover_over_any_stretch_stays_inside_the_bucket_whatever_triggers_meet(outputs):
    turnover = worlds.policy().turnover
    year = 365.25 * worlds.DAY
    traded = [(a.event_time, a.turnover.traded) for a in worlds.allocations(outputs) if a.executable]
    for i in range(1, len(traded)):
        for j in range(i, len(traded)):
            spent = sum(t for _, t in traded[i : j + 1])
            refill = turnover.refill_per_year * (traded[j][0] - traded[i][0]) / year
            assert spent <= turnover.capacity + refill + 1e-9
    assert traded[0][1] <= turnover.start + 1e-9


def test_the_objective_is_the_sum_of_its_terms(outputs):
    for a in worlds.allocations(outputs):
        assert sum(t.value for t in a.objective.terms) == pytest.approx(
            a.objective.value, rel=1e-12, abs=1e-15
        )


def test_evidence_and_allocation_name_each_other(outputs):
    evidence = {o.decision_id: o for o in outputs if isinstance(o, Evidence)}
    decided = worlds.allocations(outputs)
    assert len({a.decision_id for a in decided}) == len(decided) == len(evidence)
    for a in decided:
        assert digest(encode(evidence[a.decision_id])) == a.evidence_digest
    assert [a.previous_decision for a in decided] == [None, *[a.decision_id for a in decided[:-1]]]


def test_the_audit_chain_is_unbroken_and_holds_every_decision(outputs):
    chain = [o for o in outputs if isinstance(o, AuditEntry)]
    assert first_break(chain) is None
    assert chain[0].kind == "start"
    audited = {e.subject: e.digest for e in chain if e.kind == "decision"}
    assert audited == {a.decision_id: digest(encode(a)) for a in worlds.allocations(outputs)}
    assert [e.outcome for e in chain if e.kind in {"position", "control"}] == ["applied", "applied"]


def test_the_chain_marks_the_start_even_where_positions_came_first():
    machine = worlds.engine()
    machine.apply(worlds.position(-1, 0, [100, 100, 100, 100]), 0)
    entry = machine.apply(worlds.tick(0, [0.01, 0.0, 0.0, 0.0]), 0)[0]
    assert isinstance(entry, AuditEntry)
    assert (entry.index, entry.kind) == (1, "start")


# -- bad input -------------------------------------------------------------------------------------

GOOD = worlds.tick(30, [0.01, 0.01, 0.01, 0.01])


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (replace(GOOD, assets=("AAA", "BBB", "CCC", "ZZZ")), "unknown_asset"),
        (replace(GOOD, returns=(0.01,)), "invalid"),
        (replace(GOOD, assets=("AAA",) * 4), "invalid"),
        (replace(GOOD, assets=(), returns=()), "invalid"),
        (replace(GOOD, returns=(0.01, -1.5, 0.0, 0.0)), "invalid"),
        (replace(GOOD, returns=(0.01, float("inf"), 0.0, 0.0)), "invalid"),
        (replace(GOOD, dollar_volumes=(-1.0, 1.0, 1.0, 1.0)), "invalid"),
        (replace(GOOD, dollar_volumes=(1.0,)), "invalid"),
        (replace(GOOD, event_time=-5), "invalid"),
    ],
)
def test_bad_returns_are_rejected_and_the_engine_does_not_move(event, code):
    machine = worlds.engine()
    worlds.drive(machine, history(30))
    before = machine.snapshot()
    (rejection,) = machine.apply(event, 30)
    assert isinstance(rejection, Rejection)
    assert rejection.code == code
    assert machine.snapshot() == before


def test_a_duplicate_is_dropped_and_a_late_event_rejected_and_both_are_counted():
    machine, clean = worlds.engine(), worlds.engine()
    events = history(40)
    worlds.drive(machine, events[:30])
    worlds.drive(clean, events[:30])
    assert machine.apply(events[29], 30) == []
    (late,) = machine.apply(replace(events[29], sequence=30, source="other"), 31)
    assert late.code == "late"
    update = machine.apply(events[30], 32)[-1]
    assert (update.data_quality.duplicates, update.data_quality.late) == (1, 1)
    other = clean.apply(events[30], 30)[-1]
    assert replace(update, data_quality=other.data_quality, returns_offset=30) == other


def test_a_gap_in_the_sequence_is_counted():
    machine = worlds.engine()
    worlds.drive(machine, history(30))
    update = machine.apply(replace(GOOD, sequence=33), 30)[-1]
    assert update.data_quality.gaps == 3


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"portfolio": "other"}, "unknown_portfolio"),
        ({"assets": ("ZZZ",), "market_values": (1.0,)}, "unknown_asset"),
        ({"nav": 0.0}, "invalid"),
        ({"nav": float("nan")}, "invalid"),
        ({"nav": 999.0}, "invalid"),
        ({"cash": float("inf")}, "invalid"),
        ({"market_values": (1.0,)}, "invalid"),
    ],
)
def test_a_bad_position_is_audited_and_rejected_and_holdings_stay(changes, code):
    machine = worlds.engine(schedule={"every": 1})
    worlds.drive(machine, history(30))
    entry, rejection = machine.apply(worlds.position(29, 0, [100, 100, 100, 100], **changes), 0)
    assert (entry.kind, entry.outcome, rejection.code) == ("position", code, code)
    twin = worlds.engine(schedule={"every": 1})
    worlds.drive(twin, history(30))
    machine_after, twin_after = (worlds.allocations(m.apply(GOOD, 30)) for m in (machine, twin))
    assert [a.weights for a in machine_after] == [a.weights for a in twin_after] != []


def test_a_position_snapshot_replaces_the_holdings_and_a_duplicate_does_nothing():
    machine = worlds.engine(schedule={"every": 1})
    worlds.drive(machine, history(30))
    machine.apply(worlds.position(29, 0, [400, 100, 0, 0], cash=500), 0)
    (entry,) = machine.apply(worlds.position(29, 0, [0, 0, 0, 1000]), 1)
    assert entry.outcome == "duplicate"
    (allocation,) = worlds.allocations(machine.apply(worlds.tick(30, [0, 0, 0, 0]), 30))
    assert [w.current for w in allocation.weights] == [0.4, 0.1, 0.0, 0.0]
    assert allocation.inputs.positions == 0


# -- modes -----------------------------------------------------------------------------------------


def after_control(mode):
    machine = worlds.engine()
    worlds.drive(machine, history(35))
    (entry,) = machine.apply(worlds.control(34, 0, mode), 0)
    outputs = []
    for i, x in enumerate(worlds.returns(60)[35:], start=35):
        outputs += machine.apply(worlds.tick(i, x), i)
    return entry, outputs


def test_control_is_audited_with_operator_and_reason():
    entry, _ = after_control("baseline")
    assert (entry.kind, entry.subject, entry.operator, entry.reason) == (
        "control",
        "baseline",
        "ann",
        "drill",
    )


def test_baseline_publishes_static_weights_while_robust_goes_on_for_study():
    _, outputs = after_control("baseline")
    first = worlds.allocations(outputs)[:2]
    assert [(a.allocator, a.executable, a.trigger) for a in first] == [
        ("robust-v4", False, "control"),
        ("baseline-v1", True, "control"),
    ]
    assert first[0].event_time == 36 * worlds.DAY
    assert first[1].rung == "baseline"


def test_shadow_publishes_nothing_executable():
    _, outputs = after_control("shadow")
    shadow = worlds.allocations(outputs)
    assert shadow
    assert not any(a.executable for a in shadow)


def test_halted_publishes_no_allocation_but_diagnostics_go_on():
    _, outputs = after_control("halted")
    assert worlds.allocations(outputs) == []
    assert sum(isinstance(o, RegimeUpdate) for o in outputs) == 25


# -- missing data, liquidity, several portfolios ---------------------------------------------------


def test_missing_assets_are_named_and_do_not_stop_decisions():
    x = worlds.returns(60)
    x[25:, 3] = np.nan
    outputs = worlds.drive(worlds.engine(), [worlds.tick(i, row) for i, row in enumerate(x)])
    assert [o for o in outputs if isinstance(o, RegimeUpdate)][-1].data_quality.missing == ("DDD",)
    assert worlds.allocations(outputs)[-1].event_time > 50 * worlds.DAY


def test_trades_stay_inside_the_participation_in_known_volumes():
    machine = worlds.engine(
        limits={"upper": 0.5, "participation": 0.1, "exit_days": 5}, schedule={"every": 2}
    )
    machine.apply(worlds.position(-1, 0, [0, 0, 0, 0], cash=1000.0), 0)
    volumes = (100.0, 200.0, 1e9, 1e9)
    traded = []
    for i, x in enumerate(worlds.returns(60)):
        traded += worlds.allocations(machine.apply(worlds.tick(i, x, dollar_volumes=volumes), i))
    assert traded
    for a in traded:
        trade = [abs(w.trade) for w in a.weights]
        assert trade[0] <= 0.0101  # 10% of 100 over a NAV near 1000
        assert trade[1] <= 0.0202


def test_a_minimum_weight_that_liquidity_forbids_gives_way_and_decisions_go_on():
    limits = {"lower": 0.05, "upper": 0.5, "participation": 0.1, "exit_days": 2}
    machine = worlds.engine(limits=limits)
    machine.apply(worlds.position(-1, 0, [0, 0, 0, 0], cash=1000.0), 0)
    decided = []
    for i, x in enumerate(worlds.returns(45)):
        event = worlds.tick(i, x, dollar_volumes=(50.0, 1e9, 1e9, 1e9))
        decided += worlds.allocations(machine.apply(event, i))
    assert len(decided) >= 3
    assert all(a.weights[0].target <= 0.0101 for a in decided)  # 2 days of 10% of 50 over a NAV near 1000


def test_two_portfolios_share_the_regime_but_not_the_mode():
    machine = worlds.engine(portfolios=("core", "other"))
    worlds.drive(machine, history(35))
    machine.apply(worlds.control(34, 0, "halted", portfolio="other"), 0)
    outputs = [o for i, e in enumerate(history(60)[35:], start=35) for o in machine.apply(e, i)]
    assert {a.portfolio for a in worlds.allocations(outputs)} == {"core"}


# -- configuration ---------------------------------------------------------------------------------


def test_policies_of_one_universe_must_share_regime_and_moments():
    policies = {"core": worlds.policy(), "other": worlds.policy(regime={"horizon": 5})}
    with pytest.raises(ConfigurationError, match="regime differs"):
        Engine(worlds.universe(portfolios=("core", "other")), policies)


def test_a_snapshot_of_another_policy_or_version_is_refused():
    machine = worlds.engine()
    worlds.drive(machine, history(5))
    blob = machine.snapshot()
    with pytest.raises(SnapshotError, match="other policies"):
        Engine.restore(machine.universe, {"core": worlds.policy(limits={"upper": 0.4})}, blob)
    with pytest.raises(SnapshotError, match="version"):
        Engine.restore(machine.universe, machine.policies, blob.replace(b'"version":2', b'"version":9'))
    with pytest.raises(SnapshotError):
        Engine.restore(machine.universe, machine.policies, blob[:-3])
