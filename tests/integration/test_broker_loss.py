"""A worker outlives its broker: paused past the transaction timeout, killed and started again."""

import time

import pytest
import worlds
from cluster import Feeder, Outputs, WorkerProcess, events, local_kafka, log_of, make_topology

from stream_allocator.audit import first_break
from stream_allocator.replay import replay

pytestmark = pytest.mark.kafka

PROMPT = {"session_timeout_seconds": 3, "transaction_timeout_seconds": 2, "batch_records": 10}


@pytest.fixture
def local():
    with local_kafka() as broker:
        yield broker


def test_a_broker_that_sleeps_or_dies_changes_no_byte(local, tmp_path):
    path, topology = make_topology(tmp_path, local.bootstrap_servers, worker=PROMPT)
    feeder, regimes = Feeder(topology), Outputs(topology, "regimes")
    ticks = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(300, shift=150))]
    with WorkerProcess(path) as worker:
        feeder.send(ticks[:150])
        regimes.until(20, worker)
        local.pause()
        time.sleep(4)
        local.resume()
        regimes.until(150, worker)
        feeder.send(ticks[150:])
        regimes.until(170, worker)
        local.kill()
        local.start()
        regimes.until(300, worker, timeout=180)  # a request that was under way may take its whole 30 s, twice
        assert worker.stop() == 0
    log = log_of(topology)
    assert [u.bar for u in events(log, "regimes")] == list(range(300))
    assert first_break(events(log, "audit")) is None
    result = replay(topology, log)
    assert result.identical, result.text()
