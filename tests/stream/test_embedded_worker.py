"""A worker in this process on the embedded broker: what its records carry, and that it ends when told."""

import re
import threading
import time

import pytest
import recorded
import worlds
from confluent_kafka import Consumer, Producer, TopicPartition

from stream_allocator.codec import FINGERPRINT_HEADER, Codec
from stream_allocator.stream.clients import FETCH_WAIT_VARIABLE, consumer_settings, producer_settings
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.stream.worker import HEARTBEAT_VARIABLE, run
from stream_allocator.topology import load_topology

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BARS = 30


@pytest.fixture
def topology(tmp_path, monkeypatch):
    monkeypatch.setenv(FETCH_WAIT_VARIABLE, "1")
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(tmp_path / "heartbeat"))
    topology = load_topology(recorded.write_topology(tmp_path))
    with EmbeddedBroker(tuple(topology.topics.names.values())) as broker:
        yield topology.at(broker.bootstrap_servers)


def feed(topology, **headers):
    producer = Producer(producer_settings(topology))
    for i, x in enumerate(worlds.returns(BARS)):
        value, own = Codec().frame(worlds.tick(i, x))
        sent = [*own, *((k, v.encode()) for k, v in headers.items())]
        producer.produce(topology.topics.returns, value, key=b"u", headers=sent, partition=2)
    assert producer.flush(10) == 0


def read(topology, role, count):
    consumer = Consumer(consumer_settings(topology, f"test-{role}"))
    consumer.assign([TopicPartition(topology.topics.names[role], 2, 0)])
    messages, deadline = [], time.monotonic() + 30
    while len(messages) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} {role}"
        messages += [m for m in consumer.consume(100, 0.1) if m.error() is None]
    consumer.close()
    return messages


def test_outputs_carry_their_trace_and_time_and_the_worker_ends_when_told(topology, tmp_path, capfd):
    feed(topology, traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    stop = threading.Event()
    before = time.time_ns()
    worker = threading.Thread(target=run, args=(topology,), kwargs={"telemetry": "console", "stop": stop})
    worker.start()
    try:
        regimes = read(topology, "regimes", BARS)
        allocations = read(topology, "allocations", 1)
    finally:
        stop.set()
        worker.join(20)
    assert not worker.is_alive()
    for message in [*regimes, *allocations]:
        headers = dict(message.headers())
        assert message.key() == b"u"
        assert len(headers[FINGERPRINT_HEADER]) == 8
        assert before < int(headers["produced-at"]) < time.time_ns()
        assert re.fullmatch(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", headers["traceparent"])
    spans = capfd.readouterr().err
    own = dict(regimes[0].headers())["traceparent"].decode().split("-")[1]
    assert own in spans
    assert TRACE in spans, "the batch links to the trace that fed it"
    assert "stream_allocator.decisions" in spans
    assert time.time() - (tmp_path / "heartbeat").stat().st_mtime < 30
    assert read(topology, "snapshots", 1), "a clean end leaves a snapshot"


def test_nothing_of_tracing_is_in_the_records_when_it_is_off(topology):
    feed(topology)
    stop = threading.Event()
    worker = threading.Thread(target=run, args=(topology,), kwargs={"stop": stop})
    worker.start()
    try:
        names = {name for message in read(topology, "regimes", BARS) for name, _ in message.headers()}
    finally:
        stop.set()
        worker.join(20)
    assert names == {FINGERPRINT_HEADER, "produced-at"}
