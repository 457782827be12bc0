"""A price file onto the returns topic."""

import logging
import threading
import time
from typing import Any

from confluent_kafka import KafkaException, Producer

from stream_allocator.backtest.prices import Prices, return_events
from stream_allocator.codec import Codec
from stream_allocator.errors import BusError, DataError
from stream_allocator.packed import pack
from stream_allocator.stream.clients import producer_settings
from stream_allocator.topology import Topology

__all__ = ["feed"]

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 30.0
LOG_SECONDS = 10.0


def feed(
    topology: Topology,
    prices: Prices,
    *,
    bars: int | None = None,
    rate: float | None = None,
    stop: threading.Event | None = None,
    source: str = "prices",
    packed: bool = False,
) -> int:
    """Publish one cross-section of returns a bar for every universe that the prices cover.

    Sequences count from 0, so feeding the same file twice is harmless: the second time every record is
    a duplicate.

    Parameters
    ----------
    topology : Topology
    prices : Prices
    bars : int, optional
        Only the last so many.
    rate : float, optional
        Bars a second; as fast as the broker takes them when not given.
    stop : threading.Event, optional
        Ends the feed after the present bar.
    source : str
        Of the return events.
    packed : bool
        Publish them in the packed form.

    Returns
    -------
    int
        Bars that the broker has confirmed.

    Raises
    ------
    DataError
        When the prices cover no universe of the topology.
    ConfigurationError
        When a registry is used that has no id for the packed form.
    BusError
        When the broker refuses a record or does not confirm in time.
    """
    chosen = prices.tail(bars)
    universes = [u for u in topology.universes if set(u.assets) <= set(prices.assets)]
    if not universes:
        lacking = sorted(set(topology.universes[0].assets) - set(prices.assets))
        raise DataError(
            f"{prices.source}: covers no universe of topology {topology.name}; "
            f"{topology.universes[0].name} also needs {', '.join(lacking)}"
        )
    stop = stop or threading.Event()
    codec = Codec(topology.wire.schema_ids)
    publisher = _Publisher(Producer(producer_settings(topology)), topology.topics.returns)
    streams = [return_events(chosen, u, source) for u in universes]
    begun = logged = time.monotonic()
    published = 0
    for cross_sections in zip(*streams, strict=True):
        if stop.is_set():
            break
        for universe, event in zip(universes, cross_sections, strict=True):
            value, headers = codec.frame(pack(event, universe.assets) if packed else event)
            publisher.publish(event.universe.encode(), value, headers)
        published += 1
        if rate is not None:
            stop.wait(max(0.0, begun + published / rate - time.monotonic()))
        if time.monotonic() - logged > LOG_SECONDS:
            logged = time.monotonic()
            log.info("feed bars=%d of=%d", published, chosen.bars)
    publisher.finish()
    log.info("feed done bars=%d universes=%d", published, len(universes))
    return published


class _Publisher:
    """Produces keyed records and remembers the first delivery that failed."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._failure: str | None = None

    def publish(self, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic, value, key=key, headers=headers, on_delivery=self._delivered
                )
                break
            except BufferError:  # the local queue is full: wait for confirmations
                self._producer.poll(0.1)
            except KafkaException as error:
                raise BusError(f"{self._topic}: {error}") from error
        self._producer.poll(0)
        self._check()

    def finish(self) -> None:
        left = self._producer.flush(DELIVERY_SECONDS)
        self._check()
        if left:
            raise BusError(f"{self._topic}: {left} records not confirmed within {DELIVERY_SECONDS:g} s")

    def _delivered(self, error: Any, _message: Any) -> None:
        if error is not None and self._failure is None:
            self._failure = str(error)

    def _check(self) -> None:
        if self._failure is not None:
            raise BusError(f"{self._topic}: not delivered: {self._failure}")
