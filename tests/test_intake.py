"""What no engine takes in, and that its refusal leaves no trace but what is said of it."""

from dataclasses import replace

import pytest
import worlds

from stream_allocator import engine as engines
from stream_allocator.codec import encode
from stream_allocator.events import AuditEntry, Rejection
from stream_allocator.intake import LAST_TIME, LONGEST_NAME, LONGEST_REASON
from stream_allocator.packed import pack

TICK = worlds.tick(30, [0.01, 0.0, 0.0, 0.0])
HELD = worlds.position(30, 0, [250.0] * 4)
ASKED = worlds.control(30, 0, "baseline")


@pytest.fixture
def machine():
    made = worlds.engine(schedule={"every": 2})
    worlds.drive(made, [worlds.tick(i, x) for i, x in enumerate(worlds.returns(30))])
    return made


def bare(machine):
    """The engine's state without what counts refusals: the audit chain and the counters of data quality."""
    state = engines.unpack(machine.snapshot())
    return engines.pack({k: v for k, v in state.items() if k not in {"chain", "quality"}})


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (replace(TICK, returns=(1000.1, 0.0, 0.0, 0.0)), "return of AAA"),
        (replace(TICK, returns=(1e300, 0.0, 0.0, 0.0)), "return of AAA"),
        (replace(TICK, returns=(-2.0, 0.0, 0.0, 0.0)), "return of AAA"),
        (replace(TICK, dollar_volumes=(1e300, 0.0, 0.0, 0.0)), "dollar volume of AAA"),
        (replace(TICK, event_time=LAST_TIME + 1), "after 9999"),
        (replace(TICK, event_time=2**63 - 1), "after 9999"),
        (replace(TICK, event_time=-1), "before 1970"),
        (replace(TICK, source="x" * (LONGEST_NAME + 1)), "source has 201 characters"),
        (replace(TICK, assets=tuple(f"no-{i}" for i in range(100_000))), "and 99990 more"),
        (replace(pack(TICK, worlds.ASSETS), event_time=LAST_TIME + 1), "after 9999"),
        (pack(replace(TICK, returns=(1e300, 0.0, 0.0, 0.0)), worlds.ASSETS), "return of AAA"),
        (replace(HELD, nav=-1000.0), "nav is -1000.0"),
        (replace(HELD, nav=1e300), "nav is 1e+300"),
        (replace(HELD, nav=1e-300), "nav is 1e-300"),
        (replace(HELD, portfolio="x" * 100_000), "no portfolio"),
        (replace(HELD, event_time=2**63 - 1), "after 9999"),
        (replace(ASKED, operator="x" * (LONGEST_NAME + 1)), "too long"),
        (replace(ASKED, reason="x" * (LONGEST_REASON + 1)), "too long"),
        (replace(ASKED, event_time=-1), "before 1970"),
    ],
)
def test_the_absurd_is_refused_and_the_engine_does_not_move(machine, event, said):
    before = bare(machine)
    *audit, refusal = machine.apply(event, 30)
    assert isinstance(refusal, Rejection)
    assert said in refusal.reason
    assert all(isinstance(a, AuditEntry) and len(encode(a)) < 20_000 for a in audit)
    assert bare(machine) == before


def test_what_is_just_allowed_is_taken(machine):
    event = replace(TICK, returns=(1000.0, -1.0, 0.0, 0.0), source="x" * LONGEST_NAME)
    assert not any(isinstance(o, Rejection) for o in machine.apply(event, 30))


def test_a_source_that_is_named_anew_at_every_start_cannot_fill_the_memory(machine, monkeypatch):
    monkeypatch.setattr(engines, "MOST_SOURCES", 3)
    for i in range(2):
        assert len(machine.apply(replace(HELD, source=f"oms-{i}"), i)) == 1
    for event in (replace(HELD, source="oms-2"), replace(TICK, source="feed-2"), replace(ASKED, source="x")):
        assert "3 sources are known already" in machine.apply(event, 30)[-1].reason
    assert not any(isinstance(o, Rejection) for o in machine.apply(TICK, 31))  # known ones go on


def test_gaps_however_wide_stay_a_number_that_the_wire_can_carry(machine):
    for i, source in enumerate(("a", "b", "c")):
        machine.apply(replace(HELD, source=source, sequence=-(2**63)), 2 * i)
        machine.apply(replace(HELD, source=source, sequence=2**63 - 1), 2 * i + 1)
    outputs = machine.apply(TICK, 40)
    assert worlds.wire(outputs)
    assert outputs[-1].data_quality.gaps == 2**63 - 1
