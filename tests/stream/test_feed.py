"""The feeder puts every bar on the wire once, in order, at the rate it is told."""

import threading
import time

import decisions
import numpy as np
import pytest
import worlds
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from stream_allocator.backtest.prices import Prices, return_events
from stream_allocator.codec import Codec
from stream_allocator.errors import DataError
from stream_allocator.events import ReturnEvent
from stream_allocator.packed import pack
from stream_allocator.stream.clients import consumer_settings
from stream_allocator.stream.embedded import EmbeddedBroker
from stream_allocator.stream.feed import feed
from stream_allocator.topology import Topology

BARS = 60


def history(assets=worlds.ASSETS):
    closes = np.vstack((np.ones(len(assets)), np.cumprod(1.0 + worlds.returns(BARS, n=len(assets)), axis=0)))
    return Prices("made up", assets, np.arange(BARS + 1, dtype=np.int64) * decisions.DAY, closes)


@pytest.fixture
def topology():
    made = Topology(name="t", universes=(worlds.universe(),))
    with EmbeddedBroker(tuple(made.topics.names.values())) as broker:
        yield made.at(broker.bootstrap_servers)


def read(topology, count):
    consumer = Consumer(consumer_settings(topology, "reader", overrides={"fetch.wait.max.ms": 1}))
    consumer.assign([TopicPartition(topology.topics.returns, p, OFFSET_BEGINNING) for p in range(4)])
    messages, deadline = [], time.monotonic() + 20
    while len(messages) < count and time.monotonic() < deadline:
        messages += [m for m in consumer.consume(count, 0.1) if m.error() is None]
    consumer.close()
    return messages


def test_every_bar_arrives_once_in_order_in_one_partition_under_the_universes_key(topology):
    assert feed(topology, history()) == BARS
    messages = read(topology, BARS)
    events = [Codec().unframe(ReturnEvent, m.value(), m.headers()) for m in messages]
    assert events == list(return_events(history(), worlds.universe()))
    assert {m.key() for m in messages} == {b"u"}
    assert len({m.partition() for m in messages}) == 1


def test_the_packed_form_holds_the_same_bars(topology):
    assert feed(topology, history(), bars=10, packed=True) == 10
    events = [Codec().unframe_form(ReturnEvent, m.value(), m.headers()) for m in read(topology, 10)]
    plain = list(return_events(history().tail(10), worlds.universe()))
    assert events == [pack(e, worlds.ASSETS) for e in plain]


def test_only_the_last_bars_and_at_the_rate(topology):
    begun = time.monotonic()
    assert feed(topology, history(), bars=10, rate=50.0) == 10
    assert time.monotonic() - begun >= 0.2
    events = [Codec().unframe(ReturnEvent, m.value(), m.headers()) for m in read(topology, 10)]
    assert events[-1].event_time == BARS * decisions.DAY
    assert len(events) == 10


def test_a_stop_ends_the_feed_and_what_was_published_is_confirmed(topology):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    published = feed(topology, history(), rate=20.0, stop=stop)
    assert 0 < published < BARS
    assert len(read(topology, published)) == published


def test_prices_that_cover_no_universe_are_an_error(topology):
    with pytest.raises(DataError, match="also needs CCC, DDD"):
        feed(topology, history(worlds.ASSETS[:2]))
