"""An operator's mode change, as a record on the control topic."""

import time
from typing import get_args

from confluent_kafka import KafkaError, Producer

from stream_allocator.codec import Codec
from stream_allocator.errors import BusError, ConfigurationError
from stream_allocator.events import ControlEvent, Mode
from stream_allocator.stream.clients import producer_settings
from stream_allocator.topology import Topology

__all__ = ["publish_control"]

DELIVERY_SECONDS = 10.0


def publish_control(
    topology: Topology, universe: str, portfolio: str, mode: str, operator: str, reason: str
) -> None:
    """Ask for a portfolio's mode; the worker applies it at the next bar and audits it.

    The sequence is the time of the request in microseconds, so a later request always wins, whichever
    machine it comes from.

    Raises
    ------
    ConfigurationError
        For a universe, portfolio or mode that the topology does not know.
    BusError
        When the broker did not take the record in time.
    """
    known = topology.universe(universe)
    if known is None or portfolio not in {p.name for p in known.portfolios}:
        names = ", ".join(f"{u.name}/{p.name}" for u in topology.universes for p in u.portfolios)
        raise ConfigurationError(
            f"no portfolio {universe}/{portfolio} in topology {topology.name}; known: {names}"
        )
    if mode not in get_args(Mode):
        raise ConfigurationError(f"mode {mode} is not one of {', '.join(get_args(Mode))}")
    now = time.time_ns() // 1000
    event = ControlEvent(
        universe=universe,
        portfolio=portfolio,
        source="control",
        sequence=now,
        event_time=now,
        mode=next(m for m in get_args(Mode) if m == mode),
        operator=operator,
        reason=reason,
    )
    value, headers = Codec(topology.wire.schema_ids).frame(event)
    producer = Producer(producer_settings(topology))
    failures: list[KafkaError] = []
    producer.produce(
        topology.topics.control,
        value,
        key=universe.encode(),
        headers=headers,
        on_delivery=lambda error, _: failures.append(error) if error is not None else None,
    )
    waiting = producer.flush(DELIVERY_SECONDS)
    if failures:
        raise BusError(f"{topology.topics.control}: not delivered: {failures[0].str()}")
    if waiting:
        raise BusError(f"{topology.topics.control}: not delivered within {DELIVERY_SECONDS:g} s; try again")
