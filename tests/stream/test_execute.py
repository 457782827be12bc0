"""The paper execution fills once, at the next bar, and goes on where its last snapshot left it."""

import time
from dataclasses import replace

import decisions
import numpy as np
import pytest
import worlds
from confluent_kafka import Producer

from stream_allocator import events
from stream_allocator.codec import Codec
from stream_allocator.errors import BusError
from stream_allocator.packed import pack
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.stream.execute import SOURCE, PaperExecution, UniverseExecution
from stream_allocator.topology import Topology

ASSETS = ("A0", "A1")


def machine(snapshots=None):
    return UniverseExecution(
        worlds.universe(ASSETS), {"core": worlds.policy()}, snapshots or {}, nav=1000.0, cost_bps=0.0
    )


def bar(number, *values):
    return worlds.tick(number, values or (0.0, 0.0), assets=ASSETS)


def decision(number, index, *targets):
    return decisions.allocation(targets, index=index, event_time=(number + 1) * worlds.DAY)


def test_a_decision_is_filled_at_the_next_bar_that_closes():
    paper = machine()
    assert [e.sequence for e in paper.returns(bar(0))] == [0]
    assert paper.allocation(decision(0, 0, 0.6, 0.4))
    (snapshot,) = paper.returns(bar(1, 0.5, 0.5))
    assert snapshot.market_values == pytest.approx((600.0, 400.0))
    assert snapshot.source == SOURCE
    assert paper.returns(bar(2, 0.1, 0.1)) == []
    assert paper.accounts["core"].ledger.nav == pytest.approx(1100.0)


def test_single_ticks_close_a_bar_when_all_have_reported():
    paper = machine()
    paper.returns(bar(0))
    paper.allocation(decision(0, 0, 0.5, 0.5))
    assert paper.returns(worlds.tick(1, (0.1,), assets=("A0",))) == []
    assert len(paper.returns(worlds.tick(1, (0.1,), assets=("A1",)))) == 1


def test_packed_returns_are_taken_as_the_plain_ones_are():
    paper = machine()
    paper.returns(pack(bar(0), ASSETS))
    paper.allocation(decision(0, 0, 0.6, 0.4))
    (snapshot,) = paper.returns(pack(bar(1, 0.5, 0.5), ASSETS))
    assert snapshot.market_values == pytest.approx((600.0, 400.0))
    assert paper.returns(replace(pack(bar(2), ASSETS), asset_order=bytes(8))) == []


def test_a_decision_that_came_too_late_is_counted_as_stale_and_what_is_held_is_published():
    paper = machine()
    paper.returns(bar(0))
    paper.allocation(decision(0, 0, 0.5, 0.5))
    (snapshot,) = paper.returns(bar(9))
    assert snapshot.market_values == (0.0, 0.0)
    assert paper.stale == 1


def test_what_comes_late_or_names_strangers_changes_nothing():
    paper = machine()
    paper.returns(bar(5))
    before = paper.accounts["core"].ledger.nav
    assert paper.returns(bar(5, 0.5, 0.5)) == []
    assert paper.returns(bar(3, 0.5, 0.5)) == []
    assert paper.returns(worlds.tick(6, (0.5,), assets=("ZZZ",))) == []
    assert paper.returns(worlds.tick(6, (), assets=())) == []
    assert not paper.allocation(decisions.allocation([0.5, 0.5], portfolio="other"))
    assert paper.accounts["core"].ledger.nav == before


def test_after_a_restart_holdings_are_marked_and_nothing_old_is_filled_again():
    first = machine()
    first.returns(bar(0))
    first.allocation(decision(0, 0, 0.6, 0.4))
    (snapshot,) = first.returns(bar(1))
    first.returns(bar(2, 0.1, -0.1))

    second = machine({"core": snapshot})
    assert not second.allocation(decision(0, 0, 0.6, 0.4))  # it was filled before the snapshot
    for number, values in ((0, (0.7, 0.7)), (1, (0.7, 0.7)), (2, (0.1, -0.1))):
        assert second.returns(bar(number, *values), live=False) == []
    np.testing.assert_array_equal(second.accounts["core"].ledger.values, first.accounts["core"].ledger.values)
    assert second.allocation(decision(2, 1, 0.5, 0.5))
    (resumed,) = second.returns(bar(3))
    assert resumed.sequence == snapshot.sequence + 1


def test_while_catching_up_a_waiting_decision_is_kept_for_the_first_live_bar():
    paper = machine({"core": machine().returns(bar(0))[0]})
    assert paper.allocation(decision(1, 4, 0.5, 0.5))
    assert paper.returns(bar(2), live=False) == []
    (snapshot,) = paper.returns(bar(3), live=True)
    assert snapshot.market_values == pytest.approx((500.0, 500.0))


class Wire:
    """Publishes records of any kind, and reads positions through a fresh execution."""

    def __init__(self, topology):
        self.topology, self.topics, self.codec = topology, topology.topics, Codec()
        self.producer = Producer(producer_settings(topology))

    def send(self, topic, event):
        value, headers = self.codec.frame(event)
        self.producer.produce(topic, value, key=b"u", headers=headers)
        self.producer.flush(10)


@pytest.fixture
def wire():
    made = Topology(name="t", universes=(worlds.universe(ASSETS),))
    made._policies = {("u", "core"): worlds.policy()}
    with EmbeddedBroker(tuple(made.topics.names.values())) as broker:
        yield Wire(made.at(broker.bootstrap_servers))


def settle(execution, until):
    deadline = time.monotonic() + 20
    while not until():
        execution.step()
        assert time.monotonic() < deadline


def test_over_the_broker_it_fills_publishes_and_resumes(wire):
    execution = PaperExecution(wire.topology, nav=1000.0, cost_bps=0.0)
    account = execution.universes["u"].accounts["core"]
    wire.send(wire.topics.returns, bar(0))
    settle(execution, lambda: not account.expecting)
    wire.send(wire.topics.allocations, decision(0, 0, 0.6, 0.4))
    settle(execution, lambda: account.expecting)
    wire.send(wire.topics.returns, bar(1))
    settle(execution, lambda: account.turnover > 0)
    wire.send(wire.topics.returns, bar(2, 0.1, 0.1))
    settle(execution, lambda: account.ledger.nav > 1050)
    execution.close()

    wire.producer.produce(wire.topics.positions, b"noise", key=b"u")
    wire.send(wire.topics.positions, worlds.position(9, 0, [1.0, 1.0], assets=ASSETS))
    again = PaperExecution(wire.topology, nav=5.0, cost_bps=0.0)
    resumed = again.universes["u"].accounts["core"]
    settle(again, lambda: resumed.ledger.nav > 1050)
    np.testing.assert_array_equal(resumed.ledger.values, account.ledger.values)
    assert not resumed.expecting
    again.close()


def test_a_record_that_does_not_parse_is_skipped(wire):
    execution = PaperExecution(wire.topology, nav=1000.0)
    wire.producer.produce(wire.topics.returns, b"noise", key=b"u")
    wire.producer.produce(wire.topics.returns, b"noise", key=b"stranger")
    wire.send(wire.topics.returns, bar(0))
    account = execution.universes["u"].accounts["core"]
    settle(execution, lambda: not account.expecting)
    execution.close()


def test_without_a_broker_it_says_so(monkeypatch):
    monkeypatch.setattr("stream_allocator.stream.execute.METADATA_SECONDS", 0.3)
    lost = Topology(name="t", universes=(worlds.universe(ASSETS),)).at("127.0.0.1:1")
    with pytest.raises(BusError, match="positions"):
        PaperExecution(lost)


def test_positions_carry_every_asset_and_add_up():
    (opening,) = machine().returns(bar(0))
    assert isinstance(opening, events.PositionEvent)
    assert opening.assets == ASSETS
    assert opening.cash == opening.nav == 1000.0
