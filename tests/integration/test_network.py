"""A worker whose network fails it, while the broker is well: partitions and lost answers change no byte."""

import time
from collections.abc import Iterator

import pytest
import worlds
from absence import skip_unless_ci
from cluster import Feeder, Outputs, WorkerProcess, events, log_of, make_topology

from benchmarks.brokers import BrokerUnavailable
from benchmarks.brokers.cluster import LocalCluster
from stream_allocator.audit import first_break
from stream_allocator.replay import replay

pytestmark = pytest.mark.kafka

PROMPT = {"session_timeout_seconds": 2, "transaction_timeout_seconds": 2}


@pytest.fixture(scope="module")
def behind_proxy() -> Iterator[LocalCluster]:
    """One broker behind a proxy."""
    try:
        broker = LocalCluster(nodes=1)
    except BrokerUnavailable as reason:
        skip_unless_ci(f"no local broker: {reason}")
    with broker:
        yield broker


def test_a_worker_that_hears_no_answer_for_longer_than_its_session_comes_back(behind_proxy, tmp_path):
    # two faults of the client library lie here. The member is not told that it has joined again, asks once
    # more, and is fenced by itself; and the coordinator that the producer knows is given up with its
    # connection, and the next offsets that are sent to it wait for ever
    path, topology = make_topology(tmp_path, behind_proxy.bootstrap_servers, worker=PROMPT)
    direct = topology.model_copy(update={"bootstrap_servers": behind_proxy.direct_servers})
    feeder, regimes = Feeder(direct), Outputs(direct, "regimes")
    ticks = [worlds.tick(i, x) for i, x in enumerate(worlds.returns(120, shift=60))]
    with WorkerProcess(path, "static") as worker:
        feeder.send(ticks[:40])
        regimes.until(40, worker)
        for turn in (1, 2):
            behind_proxy.proxy.hold(1, "from_broker")
            feeder.send(ticks[40 * turn : 40 * turn + 40])
            time.sleep(2.5)
            behind_proxy.proxy.reset()
            behind_proxy.proxy.passing()
            regimes.until(40 * turn + 40, worker)
        assert worker.stop() == 0
    log = log_of(direct)
    assert [u.bar for u in events(log, "regimes")] == list(range(120))
    assert first_break(events(log, "audit")) is None
    assert replay(direct, log).identical
