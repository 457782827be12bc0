"""Flow: slow decisions keep the membership, a rebalance moves what must move, a restart moves nothing."""

import logging
import time

import pytest
import worlds
from cluster import Feeder, Outputs, WorkerProcess, log_of, make_topology

from stream_allocator.engine import Engine
from stream_allocator.replay import replay
from stream_allocator.stream import session as sessions
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.stream.session import Session, SessionLost
from stream_allocator.telemetry import Telemetry

pytestmark = pytest.mark.kafka

PROTOCOLS = ["classic", "consumer"]
UNIVERSES, PARTITIONS = 200, 8


class SlowEngine(Engine):
    """An engine whose every step takes as long as a hard solve."""

    def apply_returns(self, *arguments):
        time.sleep(0.25)
        return super().apply_returns(*arguments)


def work(topology, engine, goal):
    """A session until its partition has so many bars: how many it has, and whether the session was lost."""
    telemetry = Telemetry("none", "slow")
    session = Session(
        topology, "slow", static=False, telemetry=telemetry, progress=lambda: None, engine=engine
    )
    lost, bars, deadline = False, 0, time.monotonic() + 90
    while bars < goal and not lost and time.monotonic() < deadline:
        try:
            session.poll()
            bars = max((part.shard.bars for part in session._parts.values()), default=0)
        except SessionLost:
            lost = True
    logging.info("closing")  # which gives the partition back
    session.close()
    return bars, lost


@pytest.mark.parametrize(("step_seconds", "stays"), [(sessions.STEP_SECONDS, True), (60.0, False)])
def test_slow_decisions_do_not_break_the_poll_interval(
    kafka, tmp_path, monkeypatch, caplog, step_seconds, stays
):
    """24 bars of .25 s take twice the poll interval: in shares the member stays, in one piece it is lost."""
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers, worker={"session_timeout_seconds": 3})
    feeder, ticks = Feeder(topology), [worlds.tick(i, x) for i, x in enumerate(worlds.returns(49))]
    feeder.send(ticks[:25])
    assert work(topology, Engine, 25) == (25, False)  # whatever must be compiled is
    feeder.send(ticks[25:])

    def short(*arguments, overrides=(), **options):
        settings = {**dict(overrides), "max.poll.interval.ms": 3000}
        return consumer_settings(*arguments, overrides=settings, **options)

    monkeypatch.setattr(sessions, "consumer_settings", short)
    monkeypatch.setattr(sessions, "STEP_SECONDS", step_seconds)
    caplog.set_level(logging.INFO)
    caplog.clear()
    bars, lost = work(topology, SlowEngine, 49)
    told = caplog.text.partition("closing")[0]
    assert told.count("restored partition") == 1
    assert (bars == 49 and not lost and "revoked partition" not in told) == stays


def feed(feeder, bars):
    """Some bars for every universe, on its partition."""
    for i in range(UNIVERSES):
        ticks = [worlds.tick(bar, worlds.returns(bar + 1, seed=i)[-1], universe=f"u{i}") for bar in bars]
        for tick in ticks:
            value, headers = feeder._codec.frame(tick)
            feeder.raw("returns", value, f"u{i}".encode(), headers, i % PARTITIONS)
    feeder.flush()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_worker_that_joins_two_hundred_universes_moves_only_its_share(kafka, tmp_path, protocol):
    worker = {"group_protocol": protocol, "session_timeout_seconds": 10}
    path, topology = make_topology(
        tmp_path, kafka.bootstrap_servers, universes=UNIVERSES, partitions=PARTITIONS, worker=worker
    )
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    with WorkerProcess(path, None) as first:
        feed(feeder, range(2))
        regimes.until(2 * UNIVERSES, first, timeout=120)
        assert first.text().count("restored partition") == PARTITIONS
        with WorkerProcess(path, None) as second:
            second.until("restored partition", count=PARTITIONS // 2)
            feed(feeder, range(2, 4))
            regimes.until(4 * UNIVERSES, second, timeout=120)
            told = first.text()
            assert told.count("restored partition") == PARTITIONS  # none of its own was built anew
            if protocol == "classic":  # all are taken, and what comes back has been kept
                assert told.count("kept partition") == PARTITIONS // 2
            else:  # the others were never taken
                assert told.count("revoked partition") == PARTITIONS // 2
                assert "kept partition" not in told
            assert second.text().count("restored partition") == PARTITIONS // 2
            assert second.stop() == 0
        assert first.stop() == 0
    result = replay(topology, log_of(topology))
    assert result.identical, result.text()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_rolling_restart_of_static_members_moves_nothing(kafka, tmp_path, protocol):
    worker = {"group_protocol": protocol, "session_timeout_seconds": 45}
    path, topology = make_topology(
        tmp_path, kafka.bootstrap_servers, universes=2, partitions=2, worker=worker
    )
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    ticks = {
        i: [worlds.tick(b, x, universe=f"u{i}") for b, x in enumerate(worlds.returns(9))] for i in (0, 1)
    }

    def bars(first, last):
        for partition, events in ticks.items():
            feeder.send(events[first:last], partition)
        regimes.until(2 * last, timeout=120)

    def moves(worker):
        return [line for line in worker.text().splitlines() if "revoked" in line or "kept" in line]

    with WorkerProcess(path, "w-0") as zero, WorkerProcess(path, "w-1") as one:
        for each in (zero, one):
            each.until("restored partition")
        bars(0, 3)
        moved = moves(zero)
        assert one.stop() == 0
        with WorkerProcess(path, "w-1") as again:
            again.until("restored partition")
            bars(3, 6)
            assert moves(zero) == moved
            moved = moves(again)
            assert zero.stop() == 0
            with WorkerProcess(path, "w-0") as back:
                back.until("restored partition")
                bars(6, 9)
                assert moves(again) == moved == []
                assert back.text().count("restored partition") == 1
                assert back.stop() == 0
            assert again.stop() == 0
    result = replay(topology, log_of(topology))
    assert result.identical, result.text()
