"""A reader on a real broker: what the broker does not know yet, and what stands last on a topic."""

import contextlib
import threading
import time

import pytest
from cluster import make_topology
from confluent_kafka import Producer

from stream_allocator.errors import BrokerAway
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.reader import TopicReader

pytestmark = pytest.mark.kafka


def patiently(ask):
    """The answer of a broker whose topics are new: its leader may not know them yet."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(BrokerAway):
            return ask()
    return ask()


def test_what_the_broker_does_not_know_yet_is_waited_for(kafka, tmp_path):
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    with TopicReader(topology) as reader:
        assert patiently(lambda: reader.bounds("returns", 0)) == (0, 0)
        with pytest.raises(BrokerAway, match=r"returns-.* \[1\]"):
            reader.bounds("returns", 1)


class Writer:
    """Transactions on the audit topic, by a worker of this name."""

    def __init__(self, topology, name):
        self._name = topology.topics.audit
        self._producer = Producer(producer_settings(topology, f"{topology.worker.group}-{name}"))
        self._producer.init_transactions(20)

    def write(self, *values, end="commit"):
        self._producer.begin_transaction()
        for value in values:
            self._producer.produce(self._name, value, partition=0)
        assert self._producer.flush(20) == 0
        if end == "commit":
            self._producer.commit_transaction(20)
        elif end == "abort":
            self._producer.abort_transaction(20)


def last(topology):
    with TopicReader(topology) as reader:
        found = patiently(lambda: reader.last(["audit", "regimes"], 0))
        return {role: record.value for role, record in found.items()}


@pytest.mark.parametrize("aborted", [0, 1, 7, 8, 20, 300])
def test_the_last_committed_record_is_found_behind_what_was_aborted(kafka, tmp_path, aborted):
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    assert last(topology) == {}
    writer = Writer(topology, "w")
    writer.write(b"never", end="abort")
    assert last(topology) == {}
    writer.write(b"first", b"last")
    for _ in range(min(aborted, 2)):
        writer.write(*[b"never"] * (aborted // min(aborted, 2)), end="abort")
    assert last(topology) == {"audit": b"last"}


def test_what_is_committed_behind_an_open_transaction_is_waited_for(kafka, tmp_path):
    """As when a worker died in a transaction and another went on: what stands last is the other's."""
    _, topology = make_topology(tmp_path, kafka.bootstrap_servers)
    Writer(topology, "before").write(b"before")
    dead = Writer(topology, "dead")
    dead.write(b"never", end="")
    Writer(topology, "after").write(b"after")
    with TopicReader(topology) as reader:
        assert reader.bounds("audit", 0)[1] < 4  # which is where the open transaction begins
        found = {}
        asking = threading.Thread(target=lambda: found.update(reader.last(["audit"], 0)))
        asking.start()
        asking.join(1.0)
        assert not found
        Writer(topology, "dead")  # fences the other, whose transaction ends
        asking.join(20)
    assert found["audit"].value == b"after"
