"""A reader without its broker: it says so in a way that lets a worker wait."""

import pytest

from benchmarks.brokers.node import HOST, free_ports
from stream_allocator.errors import BrokerAway
from stream_allocator.stream import clients
from stream_allocator.stream import reader as reading
from stream_allocator.stream.reader import TopicReader
from stream_allocator.topology import load_topology


@pytest.mark.parametrize(
    "ask",
    [
        lambda r: r.bounds("returns", 0),
        lambda r: r.partitions("returns"),
        lambda r: r.committed(["returns"], [0]),
    ],
    ids=["bounds", "partitions", "committed"],
)
def test_a_broker_that_does_not_answer_is_away_and_not_wrong(monkeypatch, root, ask):
    monkeypatch.setattr(reading, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 0.3)
    (port,) = free_ports(1)
    with (
        TopicReader(load_topology(root / "topologies/demo.yaml").at(f"{HOST}:{port}")) as reader,
        pytest.raises(BrokerAway),
    ):
        ask(reader)
