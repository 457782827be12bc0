"""The records that everybody drains: the workload's cross-sections, whole, one asset at a time, or packed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from benchmarks.stream.cluster import Cluster
from stream_allocator.codec import Codec
from stream_allocator.events import ReturnEvent
from stream_allocator.packed import pack

__all__ = ["Inputs", "fill", "singles"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """A full topic."""

    topic: str
    records: int
    bars: int
    packed: bool


def singles(events: Iterable[ReturnEvent]) -> Iterator[ReturnEvent]:
    """Each cross-section as one record for each of its assets."""
    sequence = 0
    for event in events:
        for asset, value in zip(event.assets, event.returns, strict=True):
            yield replace(event, sequence=sequence, assets=(asset,), returns=(value,))
            sequence += 1


def fill(
    cluster: Cluster, name: str, events: Iterable[ReturnEvent], bars: int, *, packed: bool = False
) -> Inputs:
    """A topic of its own with these events, as a feeder would publish them."""
    topic = f"{name}-{uuid.uuid4().hex[:8]}"
    cluster.create({topic: {}})
    codec = Codec()
    event = next(iter(events := iter(events)))
    assets = event.assets
    framed = (codec.frame(pack(e, assets) if packed else e) for e in chain([event], events))
    value, headers = next(framed)
    values = chain([value], (v for v, _ in framed))
    records = cluster.fill(topic, values, key=event.universe.encode(), headers=headers)
    return Inputs(topic, records, bars, packed)
